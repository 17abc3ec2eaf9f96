"""LightGBM as a landmark model of the outcome."""

from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin  # noqa: TID253 (an estimator is one by inheritance)
from sklearn.utils.validation import check_is_fitted  # noqa: TID253

from certforecast.models.classifier import outcome_frame
from certforecast.models.rivals.packages import needed

__all__ = ["LightGBMOutcomes"]

#: From how many rows on training uses all cores.
_THREADS_FROM = 100_000


class LightGBMOutcomes(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Multinomial gradient boosting by LightGBM [1]_, with its native categories.

    Parameters
    ----------
    n_estimators, learning_rate, num_leaves, min_child_samples, reg_lambda
        LightGBM's; `min_child_samples` is lowered to a fortieth of the rows, but not under 5.
    random_state : int
        Seed.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The outcomes seen in training, sorted.
    categories_ : dict of str to CategoricalDtype
        Of the columns that are no numbers; what is not among them counts as unknown.
    model_ : LGBMClassifier

    References
    ----------
    .. [1] G. Ke et al. (2017), LightGBM: a highly efficient gradient boosting decision tree, NeurIPS.
    """

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        learning_rate: float = 0.05,
        num_leaves: int = 15,
        min_child_samples: int = 200,
        reg_lambda: float = 5.0,
        random_state: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_child_samples = min_child_samples
        self.reg_lambda = reg_lambda
        self.random_state = random_state

    def fit(self, X: pd.DataFrame, y: Any, sample_weight: Any = None) -> Self:
        """Fit to landmark rows; `X` of shape (n_rows, n_features), `y` outcomes of shape (n_rows,).

        Raises
        ------
        ModelError
            If the package is missing.
        """
        self.categories_ = {
            str(name): pd.CategoricalDtype(sorted(column.dropna().astype(str).unique()))
            for name, column in X.items()
            if not pd.api.types.is_numeric_dtype(column.dtype)
        }
        self.model_ = (
            needed("lightgbm")
            .LGBMClassifier(
                n_estimators=self.n_estimators,
                learning_rate=self.learning_rate,
                num_leaves=self.num_leaves,
                min_child_samples=min(self.min_child_samples, max(5, len(X) // 40)),
                reg_lambda=self.reg_lambda,
                random_state=self.random_state,
                n_jobs=1 if len(X) < _THREADS_FROM else None,
                verbosity=-1,
            )
            .fit(self._ready(X), np.asarray(y), sample_weight=sample_weight)
        )
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, X: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Give the probabilities of the outcomes; shape (n_rows, n_classes), in the order of `classes_`."""
        check_is_fitted(self)
        return cast("npt.NDArray[np.float64]", self.model_.predict_proba(self._ready(X)))

    def predict(self, X: pd.DataFrame) -> npt.NDArray[Any]:
        """Give the likeliest outcome; shape (n_rows,)."""
        return cast("npt.NDArray[Any]", self.classes_[self.predict_proba(X).argmax(axis=1)])

    def proba_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        """Give ``p_on_time, p_slipped, p_failed, p_retired``; shape (n_rows, 4)."""
        return outcome_frame(self.predict_proba(X), self.classes_, X.index)

    def _ready(self, X: pd.DataFrame) -> pd.DataFrame:
        """Give categories the codes of training; one that was not seen then is unknown."""
        known = {
            name: pd.Categorical(X[name].astype("str"), kind.categories)
            for name, kind in self.categories_.items()
        }
        return X.assign(**known)
