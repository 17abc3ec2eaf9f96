"""No row is learned from whose renewal could still have been open at the cutoff."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certforecast.evaluation import backtest, default_cutoffs
from certforecast.features import FEATURES
from certforecast.models.training import trainable
from certforecast.policy import RenewalPolicy
from tests.evaluation.conftest import START, Constant, days, make_frame

POLICY = RenewalPolicy()
GRACE = timedelta(days=POLICY.grace_days)


def mixed_frame(seed: int, rows: int = 400) -> pd.DataFrame:
    """Renewals of lifetimes from 6 to 398 days, looked at at any time of theirs, ended at any time after."""
    rng = np.random.default_rng(seed)
    lifetime = rng.choice([6.0, 47.0, 90.0, 200.0, 398.0], rows)
    issued, seen = rng.uniform(0, 500, rows), rng.uniform(0, 1, rows) * lifetime
    outcome = rng.choice(["on_time", "slipped", "failed", "retired", "open"], rows)
    ended = seen + rng.uniform(0, 1, rows) * (lifetime + 30 - seen)
    frame = pd.DataFrame(
        {
            "fingerprint": [f"f{row}" for row in range(rows)],
            "as_of": START + days(issued + seen),
            "not_after": START + days(issued + lifetime),
            "outcome": outcome,
            "resolved_at": START + days(issued + ended),
            "intervention": rng.random(rows) < 0.05,
        }
    )
    frame["resolved_at"] = frame["resolved_at"].where(outcome != "open")
    return frame


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), at=st.floats(50, 800))
def test_the_gap_is_as_long_as_a_renewal_may_stay_open(seed: int, at: float) -> None:
    frame, cutoff = mixed_frame(seed), (START + days([at])[0]).to_pydatetime()
    learned = frame[trainable(frame, cutoff, POLICY)]
    longest = learned["not_after"] + GRACE - learned["as_of"]  # how long it could stay open, whatever came
    assert (cutoff - learned["as_of"] >= longest).all()
    assert (learned["resolved_at"] <= cutoff).all()
    # Whatever could still be open at the cutoff is left out, on all of its rows, back to the longest of them.
    could_be_open = frame[frame["not_after"] + GRACE > cutoff]
    assert not set(could_be_open["fingerprint"]) & set(learned["fingerprint"])
    # Which rows are learned from does not depend on what came of those that could still be open.
    changed = frame.copy()
    changed.loc[could_be_open.index, ["outcome", "resolved_at"]] = ["on_time", frame["as_of"].min()]
    pd.testing.assert_series_equal(
        trainable(changed, cutoff, POLICY), trainable(frame, cutoff, POLICY), check_names=False
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_backtest_learns_from_no_renewal_that_it_scores(seed: int) -> None:
    frame, seen = make_frame(seed), []

    class Looking(Constant):
        def fit(self, X, y, sample_weight=None):
            seen.append(X.index)
            return super().fit(X, y, sample_weight)

    frame = frame.assign(**dict.fromkeys(set(FEATURES) - set(frame), 0.0))
    result = backtest(frame, {"looking": Looking}, default_cutoffs(frame, 3))
    assert len(seen) == 3
    for cutoff, index in zip(result.cutoffs, seen, strict=True):
        learned, later = frame.loc[index], frame[frame["as_of"] >= cutoff]
        assert not set(learned["fingerprint"]) & set(later["fingerprint"])
        open_then = frame[(frame["as_of"] < cutoff) & (frame["not_after"] + GRACE > cutoff)]
        longest = (cutoff - open_then["as_of"]).max()
        assert longest > timedelta(days=60)  # the embargo matters here
        assert not set(open_then["fingerprint"]) & set(learned["fingerprint"])
        # It is no longer than need be, either.
        assert learned["not_after"].max() + GRACE > cutoff - timedelta(days=60)
