"""Weights of landmarks: long certificates do not count for many, nor what is renewed early."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from certforecast.features import FEATURES
from certforecast.models import OutcomePool
from certforecast.models.classifier import OutcomeClassifier
from certforecast.models.training import fit_rows
from certforecast.models.weighing import landmark_weights, learning_weights
from certforecast.policy import RenewalPolicy


def looks(validity: float = 90.0) -> pd.DataFrame:
    """Give 200 renewals, open together for one look: 160 are on time then, 40 fail and are seen six times."""
    start = pd.Timestamp("2026-01-01", tz="UTC")
    end = start + pd.Timedelta(days=validity)
    rows = [
        (f"{number}-{validity}", start + pd.Timedelta(days=14 * look), number < 160)
        for number in range(200)
        for look in range(1 if number < 160 else 6)
    ]
    frame = pd.DataFrame(rows, columns=["fingerprint", "as_of", "early"])
    on_time = frame["early"]
    return frame.assign(
        not_after=end,
        resolved_at=np.where(on_time, start + pd.Timedelta(days=10), end),
        outcome=np.where(on_time, "on_time", "failed"),
        days_left=(end - frame["as_of"]).dt.days.astype(float),
        validity_days=validity,
    ).astype({"resolved_at": "datetime64[us, UTC]"})


@pytest.mark.parametrize(
    "model",
    [
        OutcomeClassifier("boosted", min_samples_leaf=20, max_iter=200),
        OutcomePool({"boosted": OutcomeClassifier("boosted", max_iter=200)}, prior=None),
    ],
)
def test_what_is_seen_until_the_end_is_not_underestimated(model: Any) -> None:
    """Forty of two hundred that are open at a look fail; that they are looked at again must not count."""
    frame = looks()
    fitted = fit_rows(model, frame, RenewalPolicy())
    first = frame[frame["days_left"] == 90]
    assert len(first) == 200
    asked = first[[name for name in FEATURES if name in first]]
    assert fitted.proba_frame(asked)["p_failed"].mean() == pytest.approx(0.2, abs=0.03)


def test_a_long_lifetime_does_not_count_for_many() -> None:
    frame = pd.concat([looks(45.0), looks(450.0)], ignore_index=True)
    weights = landmark_weights(frame)
    assert weights.mean() == pytest.approx(1.0)
    assert weights[0] == pytest.approx(10 * weights.iloc[-1])
    assert weights.groupby(frame["validity_days"]).nunique().tolist() == [1, 1]
    assert learning_weights(frame).sum() == pytest.approx(400)


def test_unknown_lifetimes_count_as_the_middle_one() -> None:
    frame = pd.DataFrame({"fingerprint": list("abcd"), "validity_days": [90.0, np.nan, 90.0, 90.0]})
    assert landmark_weights(frame).tolist() == [1.0] * 4
    assert landmark_weights(frame.assign(validity_days=np.nan)).tolist() == [1.0] * 4
    assert landmark_weights(frame[["fingerprint"]]).tolist() == [1.0] * 4
    assert learning_weights(frame[:0]).tolist() == []


def test_renewals_count_for_as_many_as_their_weight_says() -> None:
    landmarks = pd.DataFrame({"fingerprint": ["a", "b", "a"], "weight": [3.0, 1.0, 3.0]})
    assert learning_weights(landmarks) == pytest.approx([2.0, 2 / 3, 2.0])
