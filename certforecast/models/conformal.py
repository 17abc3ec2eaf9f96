"""Levels of intervals, corrected by what was observed: of all renewals, by class, and one step later."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["LEVELS", "Corrected", "corrected", "needed"]

Floats = npt.NDArray[np.float64]
#: The class of each row by name, the widest classes first, each parted by the next.
Classes = Sequence[npt.NDArray[Any]]

LEVELS: Final = np.linspace(0.0, 1.0, 401)

#: So many renewals are imagined that came just as forecast; in a class, as in the wider one.
_PSEUDO_RENEWALS: Final = 20.0
_IMAGINED: Final = (np.arange(400) + 0.5) / 400
#: Fewer rows say nothing about a correction.
_LEAST_ROWS: Final = 50


@dataclass(frozen=True, slots=True)
class Corrected:
    """What forecast probabilities were observed at each of `LEVELS`.

    Attributes
    ----------
    all : ndarray of shape (401,)
        Of all rows.
    by_class : dict of str to ndarray of shape (401,)
        Of the rows of a class; a class comes after the wider one that it is a part of.
    """

    all: Floats
    by_class: dict[str, Floats]

    def probabilities(self, levels: Sequence[float], classes: Classes, rows: int) -> Floats:
        """Give the forecast probabilities that stand for some levels; shape (rows, n_levels)."""
        found = np.tile(np.interp(levels, LEVELS, self.all), (rows, 1))
        for named in classes:
            for name in np.unique(named):
                if name in self.by_class:
                    found[named == name] = np.interp(levels, LEVELS, self.by_class[name])
        return found

    def levels(self, said: Floats, classes: Classes) -> Floats:
        """Give the levels that forecast probabilities stand for; shape (n_rows,)."""
        found = np.interp(said, self.all, LEVELS)
        for named in classes:
            for name in np.unique(named):
                if name in self.by_class:
                    rows = named == name
                    found[rows] = np.interp(said[rows], self.by_class[name], LEVELS)
        return found


def corrected(said: Floats, weights: Floats, classes: Classes) -> Corrected:
    """Observe how forecasts were off.

    Parameters
    ----------
    said : ndarray of shape (n_rows,)
        The forecast probabilities of coming no later than it came.
    weights : ndarray of shape (n_rows,)
        In renewals.
    classes : sequence of ndarray of str, shape (n_rows,)
        May be empty.
    """
    found = Corrected(_observed(said, weights, _IMAGINED), {})
    wider = np.full(len(said), "", dtype=object)
    for named in classes:
        for name in np.unique(named):
            rows = named == name
            alike = found.by_class.get(wider[rows][0], found.all)
            found.by_class[str(name)] = _observed(
                said[rows], weights[rows], np.interp(_IMAGINED, LEVELS, alike)
            )
        wider = named
    return found


def needed(
    said: Floats,
    weights: Floats,
    classes: Classes,
    early: npt.NDArray[np.bool_],
    later: npt.NDArray[np.bool_],
) -> Floats:
    """Say what levels to ask for, so that intervals would have covered what came after their correction.

    Habits change, and what corrects levels is always of the past. So the levels are corrected by what was
    known half-way, and intervals are as wide as would have covered, at their level, what came next; never
    narrower than they say.

    Parameters
    ----------
    said, weights, classes
        As for :func:`corrected`.
    early, later : ndarray of bool, shape (n_rows,)
        Rows known half-way, and rows from then on.

    Returns
    -------
    ndarray of shape (401,)
        What to ask for instead of each of `LEVELS`.
    """
    if early.sum() < _LEAST_ROWS or later.sum() < _LEAST_ROWS:
        return LEVELS.copy()
    known = corrected(said[early], weights[early], [named[early] for named in classes])
    reached = known.levels(said[later], [named[later] for named in classes])
    wide = _observed(2 * np.abs(reached - 0.5), weights[later], _IMAGINED)
    return np.maximum(wide, LEVELS)


def _observed(said: Floats, weights: Floats, imagined: Floats) -> Floats:
    """Give the quantiles of what was said and of what is imagined, at `LEVELS`."""
    values = np.concatenate([said, imagined])
    mass = np.concatenate([weights, np.full(len(imagined), _PSEUDO_RENEWALS / len(imagined))])
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(mass[order]) - mass[order] / 2
    found = np.interp(LEVELS, reached / mass.sum(), values[order], left=0.0, right=1.0)
    found[[0, -1]] = 0.0, 1.0
    return np.asarray(found, dtype=np.float64)
