"""Orders that have to wait because an authority's token bucket is empty, day by day."""

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from certforecast.forecasting.play import Events
from certforecast.limits import Bucket, limits_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["waiting"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_DAY_S: Final = 86_400.0
#: Cells of draws, keys and days that are held in memory.
_CELLS: Final = 20_000_000


def waiting(events: Events, table: "pd.DataFrame", codes: Ints, shape: tuple[int, int, int]) -> Floats:
    """Count the orders that find a bucket empty.

    Each authority has one account here, which is what most fleets have and the worst for them. Renewals of
    the same names count as such, but as naming no predecessor: not every client does (RFC 9773).

    Parameters
    ----------
    events : Events
    table : DataFrame
        What their rows mean: ``issuer, domains, name_set_id``.
    codes : ndarray of shape (n_rows,)
        Group of each row.
    shape : tuple of int
        Draws, groups, weeks.

    Returns
    -------
    ndarray of that shape
        In the week of the order; an order that waits in two buckets counts once for each.
    """
    found = np.zeros(shape)
    days = shape[2] * 7
    for issuer in sorted(set(table["issuer"])):
        limits = limits_of(issuer)
        if limits is None:
            continue
        ours = (table["issuer"] == issuer).to_numpy()[events.next_row]
        ours &= (events.issued >= 0) & (events.issued < days)
        for bucket in limits.buckets:
            if bucket.counts != "orders":
                continue
            counted = ours & (events.fresh | ("same names" not in bucket.exempt))
            if counted.any():
                found += _in_bucket(events, counted, bucket, table, codes, shape)
    return found


def _in_bucket(
    events: Events,
    counted: npt.NDArray[np.bool_],
    bucket: Bucket,
    table: "pd.DataFrame",
    codes: Ints,
    shape: tuple[int, int, int],
) -> Floats:
    days = shape[2] * 7
    keys = _keys(table, bucket)
    row, draw = events.next_row[counted], events.draw[counted]
    day = np.floor(events.issued[counted]).astype(np.int64)
    names, key = np.unique(keys[row], return_inverse=True)
    # What never comes to more than a full bucket in all its days can never have to wait.
    most = np.bincount(draw * len(names) + key, minlength=1).max()
    found = np.zeros(shape)
    if most <= bucket.capacity:
        return found
    pairs, pair = np.unique(draw * len(names) + key, return_inverse=True)
    busy = np.flatnonzero(np.bincount(pair) > bucket.capacity)
    for start in range(0, len(busy), max(1, _CELLS // days)):
        some = busy[start : start + max(1, _CELLS // days)]
        place = np.full(len(pairs), -1)
        place[some] = np.arange(len(some))
        at = place[pair]
        here = at >= 0
        arrivals = np.bincount(at[here] * days + day[here], minlength=len(some) * days)
        delayed = _delayed(arrivals.reshape(len(some), days).astype(np.float64), bucket)
        # Those that wait are told by the groups of those that came that day.
        share = delayed / np.maximum(arrivals.reshape(len(some), days), 1)
        flat = (draw[here] * shape[1] + codes[row[here]]) * shape[2] + day[here] // 7
        found += np.bincount(flat, share[at[here], day[here]], minlength=found.size).reshape(shape)
    return found


def _keys(table: "pd.DataFrame", bucket: Bucket) -> npt.NDArray[np.str_]:
    column = {"registered domain": "domain", "name set": "name_set_id"}.get(bucket.per)
    return np.zeros(len(table), "U1") if column is None else table[column].to_numpy(str)


def _delayed(arrivals: Floats, bucket: Bucket) -> Floats:
    """Say how many of each day's orders find no token; they wait and are served first later."""
    a_day = _DAY_S / bucket.refill_s
    tokens = np.full(len(arrivals), float(bucket.capacity))
    queue = np.zeros(len(arrivals))
    delayed = np.zeros_like(arrivals)
    for day in range(arrivals.shape[1]):
        # A bucket that refills within the day serves what it holds and what comes back.
        able = np.floor(np.minimum(tokens, bucket.capacity) + (a_day if a_day > bucket.capacity else 0.0))
        wanted = queue + arrivals[:, day]
        served = np.minimum(wanted, able)
        queue = wanted - served
        delayed[:, day] = np.minimum(arrivals[:, day], queue)
        tokens = np.minimum(tokens - np.minimum(served, tokens) + a_day, bucket.capacity)
    return delayed
