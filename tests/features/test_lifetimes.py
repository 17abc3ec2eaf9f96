"""Lifetimes count to three digits: a second more or less is a habit of the issuer, and no news."""

import ibis
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.features.validity import counted


def to_three_digits(days: list[float]) -> list[float]:
    table = ibis.memtable(pd.DataFrame({"days": days}))
    found: list[float] = counted(table.days).execute().tolist()
    return found


def test_one_second_is_no_news() -> None:
    lifetimes = [0.25, 1.0, 6.0, 7.0, 10.0, 45.0, 47.0, 90.0, 100.0, 199.0, 200.0, 365.0, 397.0, 398.0, 825.0]
    for seconds in (-1, 0, 1):
        assert to_three_digits([days + seconds / 86_400 for days in lifetimes]) == lifetimes


def test_what_differs_more_stays_apart() -> None:
    assert to_three_digits([46.0, 46.5, 47.0, 396.0, 397.0]) == [46.0, 46.5, 47.0, 396.0, 397.0]


@given(st.lists(st.integers(60, 4_000 * 86_400), min_size=1, max_size=20, unique=True))
def test_the_order_stays_and_no_lifetime_moves_far(seconds: list[int]) -> None:
    days = sorted(second / 86_400 for second in seconds)
    found = to_three_digits(days)
    assert found == sorted(found)
    for before, after in zip(days, found, strict=True):
        assert after == pytest.approx(before, rel=0.0051, abs=31 / 86_400)
    assert to_three_digits(found) == found
