"""Measures of forecasts. Each gives NaN, not an exception, where the rows say nothing about it.

`y` is 1 where the outcome in question came about and 0 elsewhere; `p` is the probability forecast for it.
`weights`, of shape (n,), say for how many each row stands; without them, for one.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "auprc",
    "auprc_resampled",
    "auroc",
    "auroc_resampled",
    "brier",
    "brier_multiclass",
    "calibration_bins",
    "calibration_error",
    "caught_at_k",
    "caught_by_rank",
    "log_loss",
    "mean",
    "median",
    "places",
    "ranks_by_moment",
]

#: Bins of a calibration error.
BINS: Final = 15

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def auprc(y: ArrayLike, p: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the precision-recall curve, as average precision; the base rate for a constant `p`.

    Parameters
    ----------
    y : array-like of bool or {0, 1}, shape (n,)
        What came about.
    p : array-like of float, shape (n,)
        Probabilities; only their order matters.
    weights : array-like of float, shape (n,), optional
        For how many each row stands.

    Returns
    -------
    float
        Between 0 and 1; NaN if nothing in `y` came about.
    """
    from sklearn.metrics import average_precision_score

    came, forecast = _pair(y, p)
    if not came.any():
        return np.nan
    return float(average_precision_score(came, forecast, sample_weight=_weights(weights, came)))


def auroc(y: ArrayLike, p: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the ROC curve; NaN unless `y` holds both classes."""
    from sklearn.metrics import roc_auc_score

    came, forecast = _pair(y, p)
    if not 0 < came.sum() < len(came):
        return np.nan
    return float(roc_auc_score(came, forecast, sample_weight=_weights(weights, came)))


def brier(y: ArrayLike, p: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean squared difference of forecast and what came about (Brier 1950); 0 is perfect."""
    came, forecast = _pair(y, p)
    return mean((forecast - came) ** 2, weights)


def brier_multiclass(
    outcome: ArrayLike, probabilities: ArrayLike, labels: Sequence[str], weights: ArrayLike | None = None
) -> float:
    """Squared difference summed over the classes, averaged over the rows; between 0 and 2.

    Parameters
    ----------
    outcome : array-like of str, shape (n,)
        What came about.
    probabilities : array-like of float, shape (n, len(labels))
        A column for each label.
    labels : sequence of str
        The classes, in the order of the columns.
    weights : array-like of float, shape (n,), optional
        For how many each row stands.
    """
    came = np.asarray(outcome)[:, None] == np.asarray(labels)
    forecast = np.asarray(probabilities, dtype=np.float64)
    return mean(np.sum((forecast - came) ** 2, axis=1), weights)


def log_loss(
    outcome: ArrayLike, probabilities: ArrayLike, labels: Sequence[str], weights: ArrayLike | None = None
) -> float:
    """Mean negative log of the probability given to what came about, in nats.

    Probabilities are kept 2.2e-16 off 0 and 1, so that one bold miss weighs much and not infinitely.
    Parameters as for :func:`brier_multiclass`.
    """
    came = np.asarray(outcome)[:, None] == np.asarray(labels)
    if not len(came):
        return np.nan
    least = np.finfo(np.float64).eps
    forecast = np.clip(np.asarray(probabilities, dtype=np.float64), least, 1 - least)
    return -mean(np.log(forecast[came]), weights)


def mean(values: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Average of values of shape (n,), by weight; NaN if there is none."""
    numbers = np.asarray(values, dtype=np.float64)
    return float(np.average(numbers, weights=_weights(weights, numbers))) if len(numbers) else np.nan


def median(values: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Give the value with half of the weight below and half above it; between two of them, their middle."""
    numbers = np.asarray(values, dtype=np.float64)
    if not len(numbers):
        return np.nan
    order = np.argsort(numbers, kind="stable")
    below = np.cumsum(_weights(weights, numbers)[order])
    low, high = (np.searchsorted(below, below[-1] / 2, side) for side in ("left", "right"))
    return float((numbers[order[low]] + numbers[order[min(high, len(order) - 1)]]) / 2)


def calibration_bins(p: ArrayLike, bins: int = BINS, weights: ArrayLike | None = None) -> Ints:
    """Sort forecasts into bins of about equal mass.

    Equal forecasts share a bin, so the order of the rows has no say; a bin may thus be larger than the
    others, or empty. Mass is counted by weight.

    Returns
    -------
    ndarray of int, shape (n,)
        The bin of each row, from 0 to ``bins - 1``.
    """
    forecast = np.asarray(p, dtype=np.float64)
    stands_for = _weights(weights, forecast)
    _, which = np.unique(forecast, return_inverse=True)
    mass = np.bincount(which, weights=stands_for)
    middle = (np.cumsum(mass) - mass / 2)[which] / max(stands_for.sum(), np.finfo(np.float64).tiny)
    return np.minimum(np.asarray(middle * bins, dtype=np.int64), bins - 1)


def calibration_error(
    y: ArrayLike, p: ArrayLike, bins: int = BINS, weights: ArrayLike | None = None
) -> float:
    """Expected calibration error: mean distance of the observed share from the forecast, by bins.

    The bins have equal mass, as rare outcomes put nearly all rows into the first of equally wide ones
    (Nixon et al. 2019, "Measuring calibration in deep learning").
    """
    came, forecast = _pair(y, p)
    if not len(came):
        return np.nan
    stands_for = _weights(weights, came)
    excess = np.bincount(
        calibration_bins(forecast, bins, stands_for), weights=stands_for * (forecast - came), minlength=bins
    )
    return float(np.abs(excess).sum() / stands_for.sum())


def ranks_by_moment(p: ArrayLike, moments: ArrayLike, ids: ArrayLike) -> Ints:
    """Rank the rows of each moment by `p`, the highest first, from 1; equal ones by id, in order.

    Ids are fingerprints, which have nothing to do with the outcome, so ties are broken as if by lot and yet
    the same each time.
    """
    forecast, moment = np.asarray(p, dtype=np.float64), places(moments)
    order = np.lexsort((places(ids), -forecast, moment))
    first = np.searchsorted(moment[order], moment[order])
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - first + 1
    return ranks


def places(values: ArrayLike) -> Ints:
    """Number values from 0 by their order, equal ones alike; shape (n,)."""
    import pandas as pd

    return np.asarray(pd.factorize(pd.Series(values), sort=True)[0], dtype=np.int64)


def caught_at_k(
    y: ArrayLike,
    p: ArrayLike,
    moments: ArrayLike,
    ids: ArrayLike,
    k: int,
    weights: ArrayLike | None = None,
) -> float:
    """Share of failures that someone who looks into `k` renewals at each moment would have come across.

    At each moment the `k` rows with the highest `p` are taken (ties by id). A renewal with ``y`` = 1 is
    caught if it was among them at one moment at least; each counts once, however many rows it has.

    Parameters
    ----------
    y : array-like of bool or {0, 1}, shape (n,)
        1 on every row of a renewal that came to fail.
    p : array-like of float, shape (n,)
        Probabilities; only their order at each moment matters.
    moments, ids : array-like, shape (n,)
        When the row was forecast, and which renewal it is about.
    k : int
        Capacity at each moment.
    weights : array-like of float, shape (n,), optional
        For how many each renewal stands, the same on all of its rows.

    Returns
    -------
    float
        Caught renewals over all that failed; NaN if none did.
    """
    return caught_by_rank(y, ranks_by_moment(p, moments, ids), ids, k, weights)


def caught_by_rank(
    y: ArrayLike, ranks: ArrayLike, ids: ArrayLike, k: int, weights: ArrayLike | None = None
) -> float:
    """Do as :func:`caught_at_k` with the rank of each row at its moment, from 1."""
    failed, labels = np.asarray(y) == 1, np.asarray(ids)
    if not failed.any():
        return np.nan
    caught = failed & (np.asarray(ranks) <= k)
    stands_for = _weights(weights, labels)

    def count(rows: NDArray[np.bool_]) -> float:
        return float(stands_for[rows][np.unique(labels[rows], return_index=True)[1]].sum())

    return count(caught) / count(failed)


def auprc_resampled(y: ArrayLike, p: ArrayLike, weights: Iterable[Floats]) -> Floats:
    """Compute the average precision anew for each set of row weights.

    The rows are sorted once, which is what makes hundreds of resamples cheap; for one set of weights the
    result is that of scikit-learn's ``average_precision_score``.

    Parameters
    ----------
    y, p : array-like, shape (n,)
        As for :func:`auprc`.
    weights : iterable of ndarray, shape (n_some, n)
        How often each row was drawn, times for how many it stands; some resamples at a time.

    Returns
    -------
    ndarray of float, shape (n_resamples,)
        NaN for a resample in which nothing came about.
    """
    return _resampled(y, p, weights, _areas_of_precision)


def auroc_resampled(y: ArrayLike, p: ArrayLike, weights: Iterable[Floats]) -> Floats:
    """Compute the area under the ROC curve anew for each set of row weights; as :func:`auprc_resampled`.

    Returns
    -------
    ndarray of float, shape (n_resamples,)
        NaN for a resample without both classes.
    """
    return _resampled(y, p, weights, _areas_of_roc)


def _resampled(
    y: ArrayLike, p: ArrayLike, weights: Iterable[Floats], areas: Callable[[Floats, Floats], Floats]
) -> Floats:
    came, forecast = _pair(y, p)
    order = np.argsort(-forecast, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(forecast[order])), len(order) - 1)
    found = []
    for block in weights:
        if not len(came):
            found.append(np.full(len(block), np.nan))
            continue
        drawn = block[:, order]
        taken = np.cumsum(drawn, axis=1)[:, last_of_ties]
        hits = np.cumsum(drawn * came[order], axis=1)[:, last_of_ties]
        found.append(areas(taken, hits))
    return np.concatenate(found)


def _areas_of_precision(taken: Floats, hits: Floats) -> Floats:
    precision = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
    areas = (np.diff(hits, axis=1, prepend=0.0) * precision).sum(axis=1)
    all_hits = hits[:, -1]
    found: Floats = np.divide(areas, all_hits, out=np.full(len(areas), np.nan), where=all_hits > 0)
    return found


def _areas_of_roc(taken: Floats, hits: Floats) -> Floats:
    alarms = taken - hits
    middle = (
        hits - np.diff(hits, axis=1, prepend=0.0) / 2
    )  # of equal forecasts, half are taken to be in order
    areas = (np.diff(alarms, axis=1, prepend=0.0) * middle).sum(axis=1)
    pairs = hits[:, -1] * alarms[:, -1]
    found: Floats = np.divide(areas, pairs, out=np.full(len(areas), np.nan), where=pairs > 0)
    return found


def _weights(weights: ArrayLike | None, rows: NDArray[Any]) -> Floats:
    return np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)


def _pair(y: ArrayLike, p: ArrayLike) -> tuple[Floats, Floats]:
    return np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
