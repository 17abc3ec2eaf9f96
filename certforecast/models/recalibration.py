"""A fitted model, brought into line with what came about elsewhere."""

from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize  # noqa: TID253 (used by every fit)
from scipy.special import log_softmax, softmax  # noqa: TID253
from sklearn.base import BaseEstimator, ClassifierMixin  # noqa: TID253 (an estimator is one by inheritance)
from sklearn.utils.validation import check_is_fitted  # noqa: TID253

from certforecast.models.transforming import ProbabilityColumns

if TYPE_CHECKING:
    from sklearn.utils import Tags

__all__ = ["Recalibrated"]

Floats = npt.NDArray[np.float64]

#: Probabilities are kept so far off 0: what the model held impossible may happen here.
_LEAST = 1e-4


class Recalibrated(ClassifierMixin, ProbabilityColumns, BaseEstimator):  # type: ignore[misc]
    """A fitted classifier whose log-probabilities are scaled and shifted, one shift for each class.

    This is temperature scaling with a bias [1]_, drawn to leaving the model as it is: a quadratic penalty
    on the scale's distance from 1 and the shifts' from 0 counts as much as some rows. Without rows, the model
    is left as it is.

    Parameters
    ----------
    estimator : classifier
        Fitted; it is not fitted again.
    penalty : float
        Weight of the penalty, in rows of weight 1.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Those of the estimator.
    scale_ : float
        Of the log-probabilities; not negative.
    shifts_ : ndarray of shape (n_classes,)
        Added to them.

    References
    ----------
    .. [1] C. Guo et al. (2017), On calibration of modern neural networks, ICML.
    """

    def __init__(self, estimator: Any, penalty: float = 10.0) -> None:
        self.estimator = estimator
        self.penalty = penalty

    def fit(self, X: pd.DataFrame, y: npt.NDArray[Any], sample_weight: Any = None) -> Self:
        """Find scale and shifts; rows whose class the estimator does not know are left out."""
        self.classes_ = np.asarray(self.estimator.classes_)
        self.feature_names_in_ = self.estimator.feature_names_in_
        self.scale_, self.shifts_ = 1.0, np.zeros(len(self.classes_))
        known = np.isin(y, self.classes_)
        if not known.any():
            return self
        came = np.searchsorted(self.classes_, np.asarray(y)[known])
        weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        weights = weights[known]
        logs = self._logs(X[known])

        def loss(found: Floats) -> tuple[float, Floats]:
            scores = found[0] * logs + found[1:]
            missed = softmax(scores, axis=1)
            missed[np.arange(len(came)), came] -= 1.0
            missed *= weights[:, None]
            away = found - start
            told = log_softmax(scores, axis=1)[np.arange(len(came)), came]
            slope = np.concatenate([[(missed * logs).sum()], missed.sum(axis=0)])
            return self.penalty * float(away @ away) - float(weights @ told), slope + 2 * self.penalty * away

        start = np.concatenate([[1.0], self.shifts_])
        bounds = [(0.0, None)] + [(None, None)] * len(self.classes_)
        found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
        self.scale_, self.shifts_ = float(found[0]), found[1:]
        return self

    def predict(self, X: pd.DataFrame) -> npt.NDArray[Any]:
        """Give the likeliest class; shape (n_rows,)."""
        return cast("npt.NDArray[Any]", self.classes_[self.predict_proba(X).argmax(axis=1)])

    def predict_proba(self, X: pd.DataFrame) -> Floats:
        """Give the probabilities; shape (n_rows, n_classes)."""
        check_is_fitted(self)
        return softmax(self.scale_ * self._logs(X) + self.shifts_, axis=1)

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # the estimator knows its columns by name
        return tags

    def _logs(self, X: pd.DataFrame) -> Floats:
        given = self.estimator.predict_proba(X[list(self.feature_names_in_)])
        return cast("Floats", np.log(np.maximum(given, _LEAST)))
