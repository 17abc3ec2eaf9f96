"""Numbers, rounded to few levels, as boosting on histograms would do by itself, only slower."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin  # noqa: TID253 (an estimator is one by inheritance)

__all__ = ["Levels"]

Floats = npt.NDArray[np.float64]

#: Quantiles of so many rows are as good as those of all.
_MOST_ROWS = 100_000


class Levels(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Replace each number by the number of bounds below it; unknown stays unknown.

    scikit-learn's boosting finds its histograms' bins by one pass over the rows for each bin when rows have
    weights, which takes longer than the boosting itself; of few levels it makes a bin each at once. The
    bounds lie half-way between values that were seen: what differs from one of these by a rounding error is
    at its level.

    Parameters
    ----------
    levels : int
        At most; fewer for columns of fewer values. Under 256.
    random_state : int or None
        Seed of the rows that the quantiles are taken from.

    Attributes
    ----------
    bounds_ : list of ndarray
        By column, rising: half-way from a quantile to the next value. What equals a bound lies below it.
    n_features_in_, feature_names_in_
        As for every transformer.
    """

    def __init__(self, levels: int = 64, *, random_state: int | None = 0) -> None:
        self.levels = levels
        self.random_state = random_state

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:  # noqa: ARG002 (of every transformer)
        """Find the quantiles; `X` of shape (n_rows, n_columns)."""
        self.feature_names_in_, self.n_features_in_ = np.asarray(X.columns, dtype=object), X.shape[1]
        some = X if len(X) <= _MOST_ROWS else X.sample(_MOST_ROWS, random_state=self.random_state)
        self.bounds_ = [_bounds(some[name].to_numpy(np.float64), self.levels) for name in X]
        return self

    def transform(self, X: pd.DataFrame) -> Floats:
        """Give the levels; ndarray of shape (n_rows, n_columns)."""
        found = np.empty(X.shape, order="F")
        for number, name in enumerate(self.feature_names_in_):
            found[:, number] = self._levels(number, X[name].to_numpy(np.float64))
        return found

    def level(self, name: str, values: Floats) -> Floats:
        """Give the levels of values of one column; both of shape (n_rows,)."""
        return self._levels(int(np.flatnonzero(self.feature_names_in_ == name)[0]), values)

    def _levels(self, number: int, values: Floats) -> Floats:
        found = np.searchsorted(self.bounds_[number], values).astype(np.float64)
        found[np.isnan(values)] = np.nan
        return found

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:  # noqa: ARG002
        """Give the names of the columns, which are those of `X`."""
        return self.feature_names_in_


def _bounds(values: Floats, levels: int) -> Floats:
    """Give what parts the values into levels of about equal size: each value its own while they are few."""
    known, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    last = np.arange(len(known))
    if len(known) > levels:
        reached = np.cumsum(counts) / counts.sum()
        last = np.unique(np.searchsorted(reached, np.arange(1, levels + 1) / levels - 1e-12))
    last = last[:-1]
    return np.asarray(known[last] / 2 + known[last + 1] / 2, dtype=np.float64)
