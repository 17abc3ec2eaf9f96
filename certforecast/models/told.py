"""What one model says, as columns for others to correct: stacking on a prior."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin  # noqa: TID253 (an estimator is one by inheritance)

__all__ = ["LEAST", "TOLD", "Told", "told"]

Floats = npt.NDArray[np.float64]

#: How the columns are called: this, and the outcome. Their values are logarithms of probabilities.
TOLD: Final = "prior_"

#: Probabilities are kept so far off 0, here and wherever models are put together: what one of them held
#: impossible may happen.
LEAST: Final = 1e-4


def told(model: Any, X: pd.DataFrame) -> pd.DataFrame:
    """Give what a fitted model says of rows, as columns.

    Parameters
    ----------
    model : classifier
        Fitted on a frame.
    X : DataFrame of shape (n_rows, n_features)

    Returns
    -------
    DataFrame of shape (n_rows, n_classes)
        Log-probabilities, one column for each class, on the index of `X`.
    """
    names = [f"{TOLD}{name}" for name in model.classes_]
    if not len(X):
        return pd.DataFrame(np.zeros((0, len(names))), columns=names, index=X.index)
    inputs = getattr(model, "feature_names_in_", None)
    given = model.predict_proba(X if inputs is None else X[list(inputs)])
    return pd.DataFrame(np.log(np.maximum(given, LEAST)), columns=names, index=X.index)


class Told(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that reads its answer from the columns of :func:`told`; there is nothing to fit.

    Parameters
    ----------
    classes : list of str
        Of the model that told, sorted.
    """

    def __init__(self, classes: list[str]) -> None:
        self.classes = classes

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The classes, as an array."""
        return np.array(self.classes)

    @property
    def feature_names_in_(self) -> npt.NDArray[np.object_]:
        """The columns."""
        return np.array([f"{TOLD}{name}" for name in self.classes], dtype=object)

    def predict_proba(self, X: pd.DataFrame) -> Floats:
        """Give the probabilities that were told; shape (n_rows, n_classes)."""
        given = np.exp(X[list(self.feature_names_in_)].to_numpy(np.float64))
        return np.asarray(given / given.sum(axis=1, keepdims=True), dtype=np.float64)
