"""Parts of rows are worked on side by side, as if by the caller."""

from contextvars import ContextVar
from typing import Any

import numpy as np
import pytest
from sklearn import config_context, get_config

from certforecast.models import parts
from certforecast.models.parts import by_parts


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_ROWS", 3)


@pytest.mark.parametrize("rows", [0, 1, 3, 4, 100])
def test_parts_are_joined_in_order(rows: int) -> None:
    wanted = np.arange(2 * rows).reshape(rows, 2)
    np.testing.assert_array_equal(by_parts(lambda part: wanted[part], rows), wanted)


def test_the_settings_are_the_caller_s() -> None:
    whose = ContextVar("whose", default="nobody's")
    seen: list[Any] = []

    def work(part: slice) -> Any:
        seen.append((get_config()["assume_finite"], np.geterr()["over"], whose.get()))
        return np.zeros(part.stop - part.start)

    whose.set("the caller's")
    with config_context(assume_finite=True), np.errstate(over="raise"):
        by_parts(work, 9)
    assert seen == [(True, "raise", "the caller's")] * 3


def test_what_goes_wrong_in_a_part_is_told() -> None:
    with pytest.raises(ZeroDivisionError):
        by_parts(lambda part: np.zeros(6 // (6 - part.start)), 9)
