"""How well a hazard model foresaw when rows ended, and how."""

import numpy as np
import numpy.typing as npt

from certforecast.models.durations import CENSORED

__all__ = ["negative_brier"]

Floats = npt.NDArray[np.float64]


def negative_brier(
    incidence: Floats,
    names: npt.NDArray[np.str_],
    event: npt.NDArray[np.str_],
    duration: Floats,
    times: Floats,
    weights: Floats,
) -> float:
    """Give the negative Brier score of cumulative incidences, summed over events and averaged over time.

    At each time a row counts if it is known by then whether it has ended, and more so the likelier it was to
    be censored before that [1]_.

    Parameters
    ----------
    incidence : ndarray of shape (n_rows, n_events, n_times)
    names : ndarray of str, shape (n_events,)
        Of the events. One that came about and is not among them had no chance.
    event : ndarray of str, shape (n_rows,)
    duration : ndarray of shape (n_rows,)
    times : ndarray of shape (n_times,)
        Rising, two at least.
    weights : ndarray of shape (n_rows,)

    Returns
    -------
    float
        0 at best; NaN where no row of weight says anything at some time.

    References
    ----------
    .. [1] T. Gerds and M. Schumacher (2006), Consistent estimation of the expected Brier score in general
       survival models with right-censored event times, Biometrical Journal 48(6).
    """
    lost = event == CENSORED
    over = duration[:, None] <= times
    # Just before a row ends: who ends at the moment of another's censoring was still seen.
    chance = np.where(
        over,
        _still_watched(duration, lost, duration, "left")[:, None],
        _still_watched(duration, lost, times, "right"),
    )
    seen = np.where(over & lost[:, None], 0.0, weights[:, None] / np.maximum(chance, 1e-12))
    missed = np.zeros(over.shape)
    for name in {*names, *event[~lost]}:
        given = incidence[:, list(names).index(name)] if name in names else 0.0
        missed += (given - (over & (event == name)[:, None])) ** 2
    total = seen.sum(axis=0)
    scores = np.divide((seen * missed).sum(axis=0), total, out=np.full(len(times), np.nan), where=total > 0)
    return -float(np.trapezoid(scores, times) / (times[-1] - times[0]))


def _still_watched(duration: Floats, lost: npt.NDArray[np.bool_], at: Floats, side: str) -> Floats:
    """Estimate the probability of not being censored before some times ("left") or by them ("right")."""
    moments, which = np.unique(duration, return_inverse=True)
    gone = np.bincount(which, weights=lost, minlength=len(moments))
    every = np.bincount(which, minlength=len(moments))
    # Those that end at a moment leave first: they cannot be censored there.
    open_then = len(duration) - np.cumsum(every) + gone
    steps = np.divide(open_then - gone, open_then, out=np.ones(len(moments)), where=open_then > 0)
    curve = np.concatenate([[1.0], np.cumprod(steps)])
    return np.asarray(curve[np.searchsorted(moments, at, side=side)])  # type: ignore[call-overload]
