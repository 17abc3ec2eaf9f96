"""Numbers in few levels: in order, of about equal size, and unknown stays unknown."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from certforecast.models.levels import Levels


@given(st.lists(st.one_of(st.none(), st.integers(-50, 50)), min_size=1, max_size=200), st.integers(2, 40))
def test_levels_keep_the_order_and_what_is_unknown(values: list[int | None], levels: int) -> None:
    X = pd.DataFrame({"x": pd.Series(values, dtype="float64")})
    found = Levels(levels).fit(X).transform(X)[:, 0]
    known = ~np.isnan(X["x"].to_numpy())
    assert (np.isnan(found) == ~known).all()
    order = np.argsort(X["x"].to_numpy()[known], kind="stable")
    assert (np.diff(found[known][order]) >= 0).all()
    assert len(np.unique(found[known])) <= levels


def test_few_values_have_a_level_each_and_many_share_them_evenly() -> None:
    few = pd.DataFrame({"x": [3.0, 1.0, 2.0, 3.0]})
    assert Levels(8).fit(few).transform(few)[:, 0].tolist() == [2.0, 0.0, 1.0, 2.0]
    many = pd.DataFrame({"x": np.random.default_rng(0).normal(size=10_000)})
    counts = np.bincount(Levels(16).fit(many).transform(many)[:, 0].astype(int))
    assert len(counts) == 16
    assert counts.min() > 500


def test_a_rounding_error_changes_no_level() -> None:
    seen = pd.DataFrame({"x": [47.0, 89.99998, 199.0, 397.0] * 5})
    levels = Levels(8).fit(seen)
    asked = pd.DataFrame({"x": [47.00001, 90.0, 198.9999, 397.1]})
    assert levels.transform(asked)[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0]
