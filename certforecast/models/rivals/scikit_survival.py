"""Survival models of scikit-survival, one for each cause.

scikit-survival is under the GPL (version 3): it is an extra for comparison, and nothing in service uses it.
"""

from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from certforecast.errors import ModelError
from certforecast.models.rivals.cause_specific import CauseSpecific
from certforecast.models.rivals.packages import needed
from certforecast.models.rivals.survival import Floats

__all__ = ["BoostedCox", "Coxnet", "SurvivalForest"]

#: By how much a penalty is raised that is too weak.
_STRONGER: Final = np.array([1.0, 3.0, 10.0, 30.0, 100.0])


class _Curves(CauseSpecific):
    """What the three have in common: step functions at the days of the events."""

    def _hazard(self, model: Any, Z: Floats) -> Floats:
        found = model.predict_cumulative_hazard_function(Z, return_array=True)
        after = np.searchsorted(model.unique_times_, np.asarray(self.grid), side="right")
        return cast("Floats", np.column_stack([np.zeros(len(Z)), found])[:, after])


class Coxnet(_Curves):
    """Proportional hazards with an elastic net [1]_. It takes no weights.

    Parameters
    ----------
    alpha : float
        Strength of the penalty; where it is too weak for the numbers to be kept in bounds, it is raised.
    max_rows, random_state
        As for every survival rival.

    References
    ----------
    .. [1] N. Simon et al. (2011), Regularization paths for Cox's proportional hazards model via coordinate
       descent, Journal of Statistical Software 39(5).
    """

    weighted = False

    def __init__(self, alpha: float = 0.002, max_rows: int = 20_000, random_state: int = 0) -> None:
        super().__init__(max_rows, random_state)
        self.alpha = alpha

    def _model(
        self,
        Z: Floats,
        came: npt.NDArray[np.bool_],
        days: Floats,
        weights: Floats,  # noqa: ARG002 (it takes none)
    ) -> Any:
        linear = needed("sksurv.linear_model")
        for alpha in (self.alpha * _STRONGER).tolist():
            model = linear.CoxnetSurvivalAnalysis(alphas=[alpha], l1_ratio=0.5, fit_baseline_model=True)
            try:
                model.fit(Z, _ended(came, days))
            except ArithmeticError:  # its weights overflow: it asks for a stronger penalty
                continue
            if np.isfinite(model.predict_cumulative_hazard_function(Z[:1], return_array=True)).all():
                return model  # otherwise its baseline overflowed, without a word
        raise ModelError(f"Coxnet fits with no penalty from {self.alpha:g} to {alpha:g}: give a larger alpha")


class SurvivalForest(_Curves):
    """Random survival forest [1]_: it keeps a curve in every leaf, and bears few rows.

    Parameters
    ----------
    n_estimators, min_samples_leaf
        The forest's.
    max_rows, random_state
        As for every survival rival.

    References
    ----------
    .. [1] H. Ishwaran et al. (2008), Random survival forests, Annals of Applied Statistics 2(3).
    """

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        min_samples_leaf: int = 15,
        max_rows: int = 4_000,
        random_state: int = 0,
    ) -> None:
        super().__init__(max_rows, random_state)
        self.n_estimators = n_estimators
        self.min_samples_leaf = min_samples_leaf

    def _model(self, Z: Floats, came: npt.NDArray[np.bool_], days: Floats, weights: Floats) -> Any:
        model = needed("sksurv.ensemble").RandomSurvivalForest(
            self.n_estimators,
            min_samples_leaf=self.min_samples_leaf,
            max_features="sqrt",
            random_state=self.random_state,
        )
        return model.fit(Z, _ended(came, days), sample_weight=weights)


class BoostedCox(_Curves):
    """Gradient boosting of the partial likelihood [1]_: its time grows with the square of the rows.

    Parameters
    ----------
    n_estimators, max_depth
        The boosting's.
    max_rows, random_state
        As for every survival rival.

    References
    ----------
    .. [1] G. Ridgeway (1999), The state of boosting, Computing Science and Statistics 31.
    """

    def __init__(
        self, n_estimators: int = 100, *, max_depth: int = 4, max_rows: int = 3_000, random_state: int = 0
    ) -> None:
        super().__init__(max_rows, random_state)
        self.n_estimators = n_estimators
        self.max_depth = max_depth

    def _model(self, Z: Floats, came: npt.NDArray[np.bool_], days: Floats, weights: Floats) -> Any:
        model = needed("sksurv.ensemble").GradientBoostingSurvivalAnalysis(
            n_estimators=self.n_estimators,
            max_depth=self.max_depth,
            min_samples_leaf=20,
            random_state=self.random_state,
        )
        return model.fit(Z, _ended(came, days), sample_weight=weights)


def _ended(came: npt.NDArray[np.bool_], days: Floats) -> npt.NDArray[Any]:
    """Give what the library takes for y, in whole days: their number sets the memory it takes."""
    return np.array(
        [*zip(came, np.ceil(days), strict=True)], dtype=[("came", np.bool_), ("days", np.float64)]
    )
