"""Probabilities, brought into line with what came about."""

from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize  # noqa: TID253 (used by every fit)
from scipy.special import log_softmax, softmax  # noqa: TID253
from sklearn.base import BaseEstimator, ClassifierMixin  # noqa: TID253 (an estimator is one by inheritance)
from sklearn.utils.validation import check_is_fitted  # noqa: TID253

from certforecast.models.told import LEAST
from certforecast.models.transforming import ProbabilityColumns

if TYPE_CHECKING:
    from sklearn.utils import Tags

__all__ = ["Recalibrated", "TemperatureScaling"]

Floats = npt.NDArray[np.float64]

#: Five numbers are learned; more rows than this do not tell them better.
_MOST_ROWS = 20_000


class TemperatureScaling(BaseEstimator):  # type: ignore[misc]
    """Log-probabilities scaled and shifted, one shift for each class.

    Temperature scaling with a bias [1]_, drawn to leaving everything as it is: a quadratic penalty
    on the scale's distance from 1 and the shifts' from 0 counts as much as some rows. Without rows, nothing
    changes.

    Parameters
    ----------
    penalty : float
        Weight of the penalty, in rows of weight 1.

    Attributes
    ----------
    scale_ : float
        Of the log-probabilities; not negative.
    shifts_ : ndarray of shape (n_classes,)
        Added to them.

    References
    ----------
    .. [1] C. Guo et al. (2017), On calibration of modern neural networks, ICML.
    """

    def __init__(self, penalty: float = 10.0) -> None:
        self.penalty = penalty

    def fit(self, probabilities: Floats, came: npt.NDArray[np.int64], sample_weight: Floats) -> Self:
        """Find scale and shifts.

        Parameters
        ----------
        probabilities : ndarray of shape (n_rows, n_classes)
            As forecast.
        came : ndarray of int, shape (n_rows,)
            The column of what came about.
        sample_weight : ndarray of shape (n_rows,)
        """
        logs, rows = _logs(probabilities), np.arange(len(came))
        start = np.concatenate([[1.0], np.zeros(logs.shape[1])])

        def loss(found: Floats) -> tuple[float, Floats]:
            scores = found[0] * logs + found[1:]
            missed = softmax(scores, axis=1)
            missed[rows, came] -= 1.0
            missed *= sample_weight[:, None]
            away = found - start
            told = log_softmax(scores, axis=1)[rows, came]
            slope = np.concatenate([[(missed * logs).sum()], missed.sum(axis=0)])
            penalised = self.penalty * float(away @ away) - float(sample_weight @ told)
            return penalised, slope + 2 * self.penalty * away

        bounds = [(0.0, None)] + [(None, None)] * logs.shape[1]
        found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x if len(came) else start
        self.scale_, self.shifts_ = float(found[0]), found[1:]
        return self

    def transform(self, probabilities: Floats) -> Floats:
        """Give the probabilities as they should have been; same shape."""
        return softmax(self.scale_ * _logs(probabilities) + self.shifts_, axis=1)


class Recalibrated(ClassifierMixin, ProbabilityColumns, BaseEstimator):  # type: ignore[misc]
    """A fitted classifier, brought into line with what came about elsewhere by :class:`TemperatureScaling`.

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
    scaling_ : TemperatureScaling
        Fitted.
    """

    def __init__(self, estimator: Any, penalty: float = 10.0) -> None:
        self.estimator = estimator
        self.penalty = penalty

    def fit(self, X: pd.DataFrame, y: npt.NDArray[Any], sample_weight: Any = None) -> Self:
        """Find scale and shifts; rows whose class the estimator does not know are left out."""
        self.classes_ = np.asarray(self.estimator.classes_)
        self.feature_names_in_ = self.estimator.feature_names_in_
        weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        kept = np.flatnonzero(np.isin(y, self.classes_))
        if len(kept) > _MOST_ROWS:
            share = len(kept) / _MOST_ROWS
            kept = np.random.default_rng(0).choice(kept, _MOST_ROWS, replace=False)
            weights = weights * share
        came = np.searchsorted(self.classes_, np.asarray(y)[kept])
        given = self._given(X.iloc[kept]) if len(kept) else np.zeros((0, len(self.classes_)))
        self.scaling_ = TemperatureScaling(self.penalty).fit(given, came, weights[kept])
        return self

    def predict(self, X: pd.DataFrame) -> npt.NDArray[Any]:
        """Give the likeliest class; shape (n_rows,)."""
        return cast("npt.NDArray[Any]", self.classes_[self.predict_proba(X).argmax(axis=1)])

    def predict_proba(self, X: pd.DataFrame) -> Floats:
        """Give the probabilities; shape (n_rows, n_classes)."""
        check_is_fitted(self)
        return self.scaling_.transform(self._given(X))

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # the estimator knows its columns by name
        return tags

    def _given(self, X: pd.DataFrame) -> Floats:
        return cast("Floats", self.estimator.predict_proba(X[list(self.feature_names_in_)]))


def _logs(probabilities: Floats) -> Floats:
    return cast("Floats", np.log(np.maximum(probabilities, LEAST)))
