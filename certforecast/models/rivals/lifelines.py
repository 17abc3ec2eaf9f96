"""Survival models of lifelines: the Cox model of each cause, and the no-skill reference."""

import warnings
from typing import TYPE_CHECKING, Any, Final, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator  # noqa: TID253 (an estimator is one by inheritance)
from sklearn.utils.validation import check_is_fitted  # noqa: TID253

from certforecast.models.classifier import outcome_frame
from certforecast.models.durations import CENSORED
from certforecast.models.rivals.cause_specific import CauseSpecific
from certforecast.models.rivals.packages import needed
from certforecast.models.rivals.survival import Floats
from certforecast.renewals import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AalenJohansen", "Cox"]

#: Newton's method is there after a dozen steps, or never.
_STEPS: Final = 30


class Cox(CauseSpecific):
    """Proportional hazards [1]_ of each cause, with a ridge penalty, by lifelines.

    Parameters
    ----------
    penalizer : float
        Strength of the penalty.
    max_rows, random_state
        As for every survival rival.

    References
    ----------
    .. [1] D. Cox (1972), Regression models and life-tables, Journal of the Royal Statistical Society B 34(2).
    """

    def __init__(self, penalizer: float = 0.1, max_rows: int = 10_000, random_state: int = 0) -> None:
        super().__init__(max_rows, random_state)
        self.penalizer = penalizer

    def _model(self, Z: Floats, came: npt.NDArray[np.bool_], days: Floats, weights: Floats) -> Any:
        rows = _named(Z).assign(days=days, came=came, weight=weights)
        with warnings.catch_warnings():
            # It asks for sandwich errors with weights; no errors are used here.
            warnings.simplefilter("ignore")
            fitter = needed("lifelines").CoxPHFitter(penalizer=self.penalizer)
            steps = {"max_steps": _STEPS}
            return fitter.fit(rows, "days", "came", weights_col="weight", fit_options=steps)

    def _hazard(self, model: Any, Z: Floats) -> Floats:
        found = model.predict_cumulative_hazard(_named(Z), times=self.grid)
        return cast("Floats", found.to_numpy(np.float64).T)


class AalenJohansen(BaseEstimator):  # type: ignore[misc]
    """The share of each outcome by day [1]_, the same for every renewal, by lifelines: no skill.

    Attributes
    ----------
    curves_ : dict of str to Series
        Cumulative incidence of each outcome, by day.
    rows_seen_ : int
        How many rows it was fitted to.

    References
    ----------
    .. [1] O. Aalen and S. Johansen (1978), An empirical transition matrix for non-homogeneous Markov chains
       based on censored observations, Scandinavian Journal of Statistics 5(3).
    """

    def __init__(self, random_state: int = 0) -> None:
        self.random_state = random_state

    def fit(
        self,
        X: pd.DataFrame,  # noqa: ARG002 (no skill)
        y: Any,
        sample_weight: Any = None,
        *,
        durations: pd.DataFrame,
    ) -> Self:
        """Fit to landmark rows; parameters as for the other survival rivals."""
        outcome = np.where(durations["event"] == CENSORED, CENSORED, np.asarray(y).astype(str))
        kinds = np.array([CENSORED, *OUTCOMES])
        codes = np.array([list(kinds).index(name) for name in outcome])
        # Ties would be broken by it, with a seed for all of numpy.
        apart = np.random.default_rng(self.random_state).uniform(0.0, 1e-6, len(codes))
        days = durations["duration"].to_numpy(np.float64) + apart
        weights = np.ones(len(codes)) if sample_weight is None else np.asarray(sample_weight, np.float64)
        self.rows_seen_, self.curves_ = len(codes), {}
        for code in np.unique(codes[codes > 0]):
            fitter = needed("lifelines").AalenJohansenFitter(calculate_variance=False)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # as for Cox
                fitter.fit(days, codes, event_of_interest=code, weights=weights)
            self.curves_[str(kinds[code])] = fitter.cumulative_density_.iloc[:, 0]
        return self

    def predict_incidence(self, X: pd.DataFrame, times: "Sequence[float]") -> Floats:
        """Give the probability that each outcome has come about by some days ahead.

        Returns
        -------
        ndarray of shape (n_rows, 4, n_times)
            In the order of :data:`certforecast.renewals.OUTCOMES`; all rows are alike.
        """
        check_is_fitted(self)
        asked = np.asarray(times, np.float64)
        found = np.zeros((len(OUTCOMES), len(asked)))
        for number, name in enumerate(OUTCOMES):
            if name in self.curves_:
                curve = self.curves_[name]
                after = np.searchsorted(curve.index.to_numpy(), asked, side="right")
                found[number] = np.concatenate([[0.0], curve.to_numpy()])[after]
        return np.tile(found, (len(X), 1, 1))

    def proba_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        """Give ``p_on_time, p_slipped, p_failed, p_retired``; shape (n_rows, 4)."""
        final = self.predict_incidence(X, [np.inf])[:, :, 0]
        return outcome_frame(final / final.sum(axis=1, keepdims=True), np.array(OUTCOMES), X.index)


def _named(Z: Floats) -> pd.DataFrame:
    return pd.DataFrame(Z, columns=[f"z{number}" for number in range(Z.shape[1])])
