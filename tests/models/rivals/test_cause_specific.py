"""Cumulative incidences of hazards whose truth is known."""

from typing import Any

import numpy as np
import pytest

from certforecast.models.rivals.cause_specific import CauseSpecific
from tests.models.rivals.conftest import Renewals


class Constant(CauseSpecific):
    """Constant hazards: events over days, whatever the features."""

    def _model(self, Z: Any, came: Any, days: Any, weights: Any) -> float:
        return float(came.sum() / days.sum())

    def _hazard(self, model: float, Z: Any) -> Any:
        return np.tile(model * np.asarray(self.grid), (len(Z), 1))


def with_causes(**rates: float) -> Constant:
    model = Constant()
    model.causes_ = rates
    return model


def test_causes_share_what_ends_by_their_hazards() -> None:
    curves = with_causes(renewed=0.03, retired=0.01)._curves(np.zeros((2, 1)))
    ended = 1 - np.exp(-0.04 * np.asarray(Constant.grid))
    np.testing.assert_allclose(curves["renewed"][1], 0.75 * ended)
    np.testing.assert_allclose(curves["retired"][1], 0.25 * ended)


def test_hazards_without_bounds_leave_nothing_and_no_nan() -> None:
    curves = with_causes(renewed=1e300, retired=1e299)._curves(np.zeros((1, 1)))
    total = curves["renewed"] + curves["retired"]
    assert np.isfinite(total).all()
    assert total[0, -1] == pytest.approx(1.0)


def test_a_cause_that_hardly_came_has_no_model(renewals: Renewals) -> None:
    """Those retired in the example are so at their expiry only."""
    model = renewals.fitted(Constant())
    assert set(model.causes_) == {"renewed"}


def test_what_is_left_at_the_expiry_fails_or_is_retired(renewals: Renewals) -> None:
    model = renewals.fitted(Constant())
    X = renewals.inputs.head(3)
    p = model.proba_frame(X)
    open_then = np.exp(-model.causes_["renewed"] * X["days_left"])
    np.testing.assert_allclose(p["p_failed"] + p["p_retired"], open_then, rtol=1e-3)
    by_slip = 1 - np.exp(-model.causes_["renewed"] * X["days_to_slip"])
    np.testing.assert_allclose(p["p_on_time"], by_slip, rtol=1e-3)
    past = model.proba_frame(X.assign(days_to_slip=-1.0))
    assert (past["p_on_time"] == 0).all()
