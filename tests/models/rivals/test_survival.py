"""What the survival rivals are given, and how much of it they take."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from certforecast.models.durations import durations
from certforecast.models.rivals.survival import SurvivalRival
from tests.models.rivals.conftest import Renewals


class Given(SurvivalRival):
    """Keeps what it is given."""

    def _learn(self, Z: Any, event: Any, days: Any, weights: Any) -> None:
        self.given_ = pd.DataFrame({"event": event, "days": days, "weight": weights})
        self.width_ = Z.shape[1]

    def _curves(self, Z: Any) -> dict[str, Any]:
        self.seen_ = Z
        even = np.tile(np.asarray(self.grid) / 2_000, (len(Z), 1))
        return {"renewed": even, "retired": np.zeros_like(even)}


def test_it_is_told_when_and_how_each_row_ended(renewals: Renewals) -> None:
    given = renewals.fitted(Given()).given_
    known = durations(renewals.frame, renewals.frame["not_after"].max())
    assert given["days"].tolist() == known["duration"].tolist()
    assert (given["event"] == "renewed").equals(known["event"] == "renewed")
    others = given.loc[known["event"] != "renewed", "event"]
    assert set(others) == {"reached"}  # they were open at the expiry


class Unweighted(Given):
    weighted = False


def test_of_many_rows_it_takes_a_sample_in_which_weights_count_once(renewals: Renewals) -> None:
    frame = renewals.frame
    ended = durations(frame, frame["not_after"].max())
    weights = np.where(np.arange(len(frame)) < 100, 1.0, 1e-12)
    model = Unweighted(max_rows=80).fit(renewals.inputs, frame["outcome"], weights, durations=ended)
    assert model.rows_seen_ == len(model.given_) == 80
    assert set(model.given_["days"]) <= set(ended["duration"][:100])
    assert (model.given_["weight"] == 1.0).all()
    heavy = np.where(np.arange(len(frame)) % 2, 4.0, 1.0)
    many = Given(max_rows=len(frame) // 2).fit(renewals.inputs, frame["outcome"], heavy, durations=ended)
    assert (many.given_["weight"] == 4.0).mean() == pytest.approx(0.5, abs=0.1)
    some = np.where(np.arange(len(frame)) < 10, 1.0, 0.0)
    few = Given(max_rows=80).fit(renewals.inputs, frame["outcome"], some, durations=ended)
    assert few.rows_seen_ == 10
    assert renewals.fitted(Given()).rows_seen_ == len(frame)


def test_columns_unknown_unseen_or_far_away_are_numbers_within_bounds(renewals: Renewals) -> None:
    model = renewals.fitted(Given())
    odd = renewals.inputs.head(3).assign(
        margin_last=[np.nan, 1e9, -1e9], issuer_org=pd.Series(["New", None, "Slow"], dtype="str")
    )
    p = model.proba_frame(odd)
    assert model.seen_.shape == (3, model.width_)
    assert np.abs(model.seen_).max() <= 6.0
    np.testing.assert_allclose(p.sum(axis=1), 1.0)


@pytest.mark.parametrize("kind", ["failed", "retired"])
def test_one_way_to_end_needs_no_regression(renewals: Renewals, kind: str) -> None:
    frame = renewals.frame
    other = {"failed": "retired", "retired": "failed"}[kind]
    some = Renewals(frame.assign(outcome=frame["outcome"].replace(other, kind)))
    model = some.fitted(Given())
    assert model.last_ == kind
    p = model.proba_frame(some.inputs)
    assert (p[f"p_{other}"] == 0).all()
    assert (p[f"p_{kind}"] > 0.9).all()
