"""Resampling whole lineages: what every interval of a backtest comes from.

The renewals of one lineage are alike and its rows more so; to resample rows would make intervals too narrow.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["RESAMPLES", "Lineages", "interval", "ratio"]

Floats = npt.NDArray[np.float64]

#: How often lineages are drawn anew.
RESAMPLES: Final = 200
_INTERVAL: Final = (0.05, 0.95)
_SEED: Final = 0
#: Rows times resamples in memory at a time: 8 MB.
_CELLS: Final = 1_000_000


class Lineages:
    """Resamples of whole lineages.

    Whatever has rows of the same lineages gets the same draws, so that differences are paired.

    Parameters
    ----------
    lineage : Series of str, shape (n_rows,)
        The lineage of each row.
    weights : ndarray of float, shape (n_rows,), optional
        For how many each row stands, whenever it is drawn. Default: for one.
    """

    def __init__(self, lineage: "pd.Series[str]", weights: Floats | None = None) -> None:
        self._codes, names = pd.factorize(lineage, sort=True)
        self._weights = np.ones(len(lineage)) if weights is None else np.asarray(weights, np.float64)
        self._count = len(names)

    def totals(self, values: Any) -> Floats:
        """Sum over the rows of each resample, by weight.

        Parameters
        ----------
        values : array-like of shape (n_rows,) or (n_rows, n_columns)

        Returns
        -------
        ndarray of shape (n_resamples,) or (n_resamples, n_columns)
        """
        table = np.asarray(values, dtype=np.float64)
        sums = np.zeros((self._count, *table.shape[1:]))
        np.add.at(sums, self._codes, (table.T * self._weights).T)
        return np.asarray(_drawn(self._count) @ sums)

    def weights(self) -> Iterator[Floats]:
        """Give how often each row was drawn, times its weight, some resamples at a time; (n_some, n_rows)."""
        drawn = _drawn(self._count)
        at_once = max(1, _CELLS // max(len(self._codes), 1))
        for start in range(0, RESAMPLES, at_once):
            yield drawn[start : start + at_once, self._codes] * self._weights


def interval(figures: Floats) -> tuple[float, float]:
    """Give the 90 % interval of a figure by its resamples; NaN if it is known in none."""
    known = figures[~np.isnan(figures)]
    low, high = np.quantile(known, _INTERVAL) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


def ratio(part: Floats, whole: Floats) -> Floats:
    """Divide; NaN where there is nothing to divide by."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0))


@lru_cache(maxsize=4)
def _drawn(count: int) -> npt.NDArray[np.int16]:
    """Say how often each lineage was drawn; shape (n_resamples, count)."""
    rng, found = np.random.default_rng(_SEED), np.zeros((RESAMPLES, count), dtype=np.int16)
    for draw in found if count else ():
        draw[:] = np.bincount(rng.integers(0, count, count), minlength=count)
    return found
