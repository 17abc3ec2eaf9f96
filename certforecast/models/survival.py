"""Measures of forecasts of when: the Brier score over time, with what was censored made up for."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "brier_by_time",
    "censoring_survival",
    "coverage",
    "integrated_brier",
    "mean_over_time",
    "weighted_misses",
]

Floats = NDArray[np.float64]


def brier_by_time(
    came: ArrayLike,
    duration: ArrayLike,
    censored: ArrayLike,
    incidence: ArrayLike,
    times: Sequence[float] | Floats,
    weights: ArrayLike | None = None,
    acted: ArrayLike | None = None,
) -> Floats:
    """Brier score of a cumulative incidence at some times, weighted by inverse probability of censoring.

    At each time a row counts if it is known by then whether it has ended, and more so the likelier it was to
    be censored before that (Graf et al. 1999; for competing risks Gerds and Schumacher 2006). The curve of
    Kaplan and Meier is one for all rows: censoring is taken to have nothing to do with the features. Where
    it has, because somebody acted upon the rows that looked worst, say so in `acted`, and give weights that
    make up for it.

    Parameters
    ----------
    came : array-like of bool, shape (n,)
        Whether the row ended with the event in question.
    duration : array-like of float, shape (n,)
        When it ended, or was censored; in days.
    censored : array-like of bool, shape (n,)
    incidence : array-like of float, shape (n, n_times)
        Forecast probability that the event has come by each time.
    times : sequence of float, shape (n_times,)
        In days.
    weights : array-like of float, shape (n,) or (n, n_times), optional
        For how many each row stands, at each time.
    acted : array-like of bool, shape (n,), optional
        Rows whose censoring the weights make up for, and the curve shall not.

    Returns
    -------
    ndarray of float, shape (n_times,)
        NaN where no row says anything.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    """
    counted, missed = weighted_misses(came, duration, censored, incidence, times, weights, acted)
    total = counted.sum(axis=0)
    scored: Floats = np.divide(
        (counted * missed).sum(axis=0), total, out=np.full(len(total), np.nan), where=total > 0
    )
    return scored


def weighted_misses(
    came: ArrayLike,
    duration: ArrayLike,
    censored: ArrayLike,
    incidence: ArrayLike,
    times: Sequence[float] | Floats,
    weights: ArrayLike | None = None,
    acted: ArrayLike | None = None,
) -> tuple[Floats, Floats]:
    """Give what :func:`brier_by_time` averages: weights and squared differences; parameters as there.

    Returns
    -------
    weights, missed : ndarray of float, shape (n, n_times)
    """
    event, ends, lost = np.asarray(came, bool), np.asarray(duration, np.float64), np.asarray(censored, bool)
    given, asked = np.asarray(incidence, np.float64), np.asarray(times, np.float64)
    if given.shape != (len(ends), len(asked)):
        raise ValueError(f"incidence has shape {given.shape}; ({len(ends)}, {len(asked)}) is needed")
    by_time = lost if acted is None else lost & ~np.asarray(acted, bool)
    # Just before the end of each row: who ends at the moment of another's censoring was still seen.
    at_end = censoring_survival(ends, by_time, ends, before=True)
    at_time = censoring_survival(ends, by_time, asked)
    over = ends[:, None] <= asked
    seen = np.where(over & ~lost[:, None], 1.0 / np.maximum(at_end, 1e-12)[:, None], 0.0)
    counted = np.where(over, seen, 1.0 / np.maximum(at_time, 1e-12))
    if weights is not None:
        stands_for = np.asarray(weights, np.float64)
        counted = counted * (stands_for[:, None] if stands_for.ndim == 1 else stands_for)
    return counted, (given - (over & event[:, None])) ** 2


def integrated_brier(
    came: ArrayLike,
    duration: ArrayLike,
    censored: ArrayLike,
    incidence: ArrayLike,
    times: Sequence[float] | Floats,
    weights: ArrayLike | None = None,
    acted: ArrayLike | None = None,
) -> float:
    """Give the mean of :func:`brier_by_time` over the span of `times`, by trapezia; parameters as there."""
    scores = brier_by_time(came, duration, censored, incidence, times, weights, acted)
    return float(mean_over_time(scores, times))


def mean_over_time(scores: Floats, times: Sequence[float] | Floats) -> Floats:
    """Average scores of shape (..., n_times) over the span of `times`, by trapezia."""
    return np.asarray(np.trapezoid(scores, times, axis=-1) / (times[-1] - times[0]))


def censoring_survival(duration: Floats, censored: ArrayLike, at: Floats, *, before: bool = False) -> Floats:
    """Estimate the probability of not yet being censored (Kaplan and Meier 1958).

    Parameters
    ----------
    duration : ndarray of float, shape (n,)
        When each row ended or was censored.
    censored : array-like of bool, shape (n,)
    at : ndarray of float, shape (m,)
        Times asked for.
    before : bool
        Just before them, rather than at them.

    Returns
    -------
    ndarray of float, shape (m,)
    """
    lost = np.asarray(censored, bool)
    moments, which = np.unique(duration, return_inverse=True)
    gone = np.bincount(which, weights=lost, minlength=len(moments))
    ended = np.bincount(which, weights=~lost, minlength=len(moments))
    # Those that end at a moment leave first: they cannot be censored there.
    open_then = len(duration) - np.concatenate([[0.0], np.cumsum(gone + ended)[:-1]]) - ended
    steps = np.divide(open_then - gone, open_then, out=np.ones(len(moments)), where=open_then > 0)
    curve = np.concatenate([[1.0], np.cumprod(steps)])
    found: Floats = curve[np.searchsorted(moments, at, side="left" if before else "right")]
    return found


def coverage(low: ArrayLike, high: ArrayLike, came: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Share of what came that lies in its interval; NaN without rows. Arrays of shape (n,)."""
    what = np.asarray(came, np.float64)
    if not len(what):
        return np.nan
    within = (np.asarray(low, np.float64) <= what) & (what <= np.asarray(high, np.float64))
    votes = np.ones(len(what)) if weights is None else np.asarray(weights, np.float64)
    return float((within * votes).sum() / votes.sum())
