"""Discrete-time hazards, with a booster of one's choice for the periods."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator  # noqa: TID253 (an estimator is one by inheritance)
from sklearn.utils.validation import check_is_fitted  # noqa: TID253

from certforecast.models.hazard import RenewalHazard
from certforecast.models.rivals.lightgbm import LightGBMOutcomes
from certforecast.models.rivals.survival import Floats, outcomes_by_time

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LightGBMHazards", "StackedHazards"]


class StackedHazards(BaseEstimator):  # type: ignore[misc]
    """`RenewalHazard` by itself: of own history alone, without a prior and without a pool.

    Parameters
    ----------
    max_periods : int
        Periods to learn from at most.
    random_state : int
        Seed.

    Attributes
    ----------
    hazard_ : RenewalHazard
        Fitted.
    rows_seen_ : int
        How many rows it was fitted to.
    """

    def __init__(self, max_periods: int = 1_000_000, random_state: int = 0) -> None:
        self.max_periods = max_periods
        self.random_state = random_state

    def _estimator(self) -> Any:
        """Give the unfitted classifier for the periods; None for the usual one."""
        return None

    def fit(
        self,
        X: pd.DataFrame,
        y: Any,  # noqa: ARG002 (durations say as much)
        sample_weight: Any = None,
        *,
        durations: pd.DataFrame,
    ) -> Self:
        """Fit to landmark rows; parameters as for the other survival rivals."""
        hazard = RenewalHazard(
            estimator=self._estimator(), max_periods=self.max_periods, random_state=self.random_state
        )
        self.hazard_ = hazard.fit(X, durations, sample_weight)
        self.rows_seen_ = len(X)
        return self

    def predict_incidence(self, X: pd.DataFrame, times: "Sequence[float]") -> Floats:
        """Give the probability that each outcome has come about by some days ahead.

        Returns
        -------
        ndarray of shape (n_rows, 4, n_times)
            In the order of :data:`certforecast.renewals.OUTCOMES`. Each rises with time.
        """
        check_is_fitted(self)
        asked = np.tile(np.asarray(times, np.float64), (len(X), 1))
        slip = np.clip(X["days_to_slip"].to_numpy(np.float64)[:, None], 0.0, None)
        # Both at once: the periods are what takes the time.
        at = self.hazard_.predict_cumulative_incidence(X, np.hstack([asked, np.minimum(asked, slip)]))
        by = {str(event): at[:, number] for number, event in enumerate(self.hazard_.events_)}
        nothing, wide = np.zeros(asked.shape), asked.shape[1]
        renewed = by.get("renewed", np.zeros((len(X), 2 * wide)))
        return outcomes_by_time(
            on_time=renewed[:, wide:],
            renewed=renewed[:, :wide],
            failed=by["failed"][:, :wide] if "failed" in by else nothing,
            retired=by["retired"][:, :wide] if "retired" in by else nothing,
        )

    def proba_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        """Give ``p_on_time, p_slipped, p_failed, p_retired``; shape (n_rows, 4)."""
        check_is_fitted(self)
        return self.hazard_.proba_frame(X)


class LightGBMHazards(StackedHazards):
    """The same with LightGBM for the periods."""

    def _estimator(self) -> LightGBMOutcomes:
        return LightGBMOutcomes(random_state=self.random_state)
