"""The beginning of a certificate of which only the end is known."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import InputError
from certforecast.history.sources.lifetimes import estimated_not_before

MOMENTS = st.integers(0, 200_000_000_000).map(
    lambda seconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(0, seconds)
)


def lifetime(seen: datetime, left: float) -> float:
    """Give the estimated lifetime in days of a certificate seen with so many days left."""
    end = seen + timedelta(days=left)
    return (end - estimated_not_before(seen, end)) / timedelta(days=1)


@pytest.mark.parametrize(
    ("seen", "left", "expected"),
    [
        ("2022-05-01", 89.9, 90),
        ("2022-05-01", 60, 90),
        ("2022-05-01", 3, 90),  # nobody had shorter ones then
        ("2022-05-01", -2, 90),  # found expired
        ("2022-05-01", 90.5, 180),
        ("2022-05-01", 183, 184),
        ("2022-05-01", 190, 365),
        ("2022-05-01", 365.9, 366),
        ("2022-05-01", 395, 397),
        ("2017-05-01", 1000, 1095),
        ("2026-09-01", 6.5, 160 / 24),
        ("2026-09-01", 198, 199),
        ("2027-09-01", 63.5, 64),
        ("2027-09-01", 99, 100),
        ("2030-01-01", 44, 45),
        ("2030-01-01", 46, 47),
        ("2022-05-01", 3650, 3660),
    ],
)
def test_the_shortest_lifetime_usual_then(seen: str, left: float, expected: float) -> None:
    assert lifetime(datetime.fromisoformat(seen).replace(tzinfo=UTC), left) == pytest.approx(expected)


@given(MOMENTS, MOMENTS)
def test_it_reaches_back_to_the_first_sighting(seen: datetime, end: datetime) -> None:
    begin = estimated_not_before(seen, end)
    assert begin <= seen
    assert begin < end


@given(MOMENTS, st.integers(1, 86400 * 80))
def test_who_sees_it_at_once_and_who_later_agree_on_ninety_days(begin: datetime, later: int) -> None:
    """Before shorter lifetimes were usual, every sighting within the lifetime tells the same."""
    begin = begin.replace(year=2000 + begin.year % 25, day=1)
    end = begin + timedelta(days=90)
    assert estimated_not_before(begin + timedelta(seconds=later), end) == begin


def test_naive_times_are_utc() -> None:
    aware = datetime(2022, 1, 2, tzinfo=UTC), datetime(2022, 4, 1, tzinfo=UTC)
    naive = [moment.replace(tzinfo=None) for moment in aware]
    assert estimated_not_before(*naive) == estimated_not_before(*aware) == datetime(2022, 1, 1, tzinfo=UTC)


def test_before_the_calendar_begins() -> None:
    with pytest.raises(InputError, match="too early"):
        estimated_not_before(datetime(2022, 1, 1, tzinfo=UTC), datetime(1, 1, 2, tzinfo=UTC))
