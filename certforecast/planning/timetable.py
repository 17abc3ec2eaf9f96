"""Jobs to schedule: what each is worth by the time it starts, and what they share."""

import math
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from certforecast.limits import Bucket, Tokens, authorities
from certforecast.planning.schedule.problem import Limit, Problem
from certforecast.planning.windows import Slots, working_hours
from certforecast.settings import PlanningSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

__all__ = ["COLUMNS", "levels", "limits", "problem", "values"]

Floats = npt.NDArray[np.float64]

#: Columns of jobs. Days are from the first slot's start.
COLUMNS: Final = {
    "worth_failed": "what it averts of the loss by failure, if in time",
    "worth_slipped": "what it averts of the loss by slipping, if before the slip point",
    "cost": "of doing it",
    "machine": "whether the executor does it",
    "orders": "whether it orders a certificate",
    "hours": "of a person",
    "owner": "whose hours; null: unknown",
    "domain": "what would break together",
    "earliest_days": "before that there is nothing to do",
    "safe_days": "the latest start that is in time for certain",
    "left_days": "until expiry; at most 0: it has expired",
    "slip_days": "until the slip point",
    "lifetime_days": "of the certificate ordered",
    "authority": "short name of the authority, if its limits are known",
    "account": "at the authority",
    "registered_domain": "the first of those it names",
    "name_set": "its names",
    "ari": "whether the order names the certificate it replaces",
    "same_names": "whether it renews a certificate of exactly these names",
}

#: What waiting costs at least: this share of what is averted, a day.
_HASTE: Final = 1e-3

#: The column that has a bucket of its own.
_SCOPES: Final = {"account": "account", "registered domain": "registered_domain", "name set": "name_set"}


def values(
    jobs: "pd.DataFrame", days: Floats, outage_days: float, still_open: Floats | None = None
) -> Floats:
    """Say what each job is worth, less its cost, if it starts in each slot.

    What failure would cost is averted in full up to the latest safe start and less and less from there to the
    expiry. After it, an outage goes on for `outage_days` more on average, whenever one looks. The
    cost is only met if the renewal has not come by itself before.

    Parameters
    ----------
    jobs : DataFrame of shape (n_jobs, n_columns)
        With `COLUMNS`.
    days : ndarray of float, shape (n_slots,)
        When the slots start, from the first.
    outage_days : float
        How long an outage lasts on average.
    still_open : ndarray of float, shape (n_jobs, n_slots), optional
        The probability that the renewal has not come by itself. Default 1.

    Returns
    -------
    ndarray of float, shape (n_jobs, n_slots)
        Minus infinity before the earliest start.
    """
    left, safe = (jobs[name].to_numpy(np.float64)[:, None] for name in ("left_days", "safe_days"))
    safe = np.clip(safe, 0.0, None)
    span = np.maximum(left - safe, 1e-6)
    in_time = np.where(days <= safe, 1.0, np.clip((left - days) / span, 0.0, 1.0))
    going_on = np.exp(-days / max(outage_days, 1e-6))
    in_time = np.where(left <= 0, going_on, in_time)
    before_slip = days <= np.maximum(jobs["slip_days"].to_numpy(np.float64)[:, None], 0.0)
    failed, slipped, cost = (
        jobs[name].to_numpy(np.float64)[:, None] for name in ("worth_failed", "worth_slipped", "cost")
    )
    # The sooner the better, where all else is equal.
    sooner = 1.0 - _HASTE * days
    worth = sooner * (failed * in_time + slipped * before_slip) - cost * (
        1.0 if still_open is None else still_open
    )
    earliest = jobs["earliest_days"].to_numpy(np.float64)[:, None]
    return np.asarray(np.where(days >= earliest, worth, -np.inf))


def limits(
    jobs: "pd.DataFrame",
    slots: Slots,
    planning: PlanningSettings,
    tokens: "Mapping[tuple[str, str, str], float] | None" = None,
    expiring: "Mapping[int, int] | None" = None,
) -> list[Limit]:
    """Give what the jobs share.

    The executor's and people's capacity, changes in each failure domain, the authorities' rate limits, and
    the days on which the new certificates expire.

    Parameters
    ----------
    jobs : DataFrame of shape (n_jobs, n_columns)
        With `COLUMNS`.
    slots : Slots
    planning : PlanningSettings
    tokens : mapping, optional
        What is left in buckets that are not full, by authority, name of the bucket, and what has it.
    expiring : mapping, optional
        How many certificates expire already, by days from the first slot.
    """
    count, hours = len(slots.starts), slots.length / timedelta(hours=1)
    machine, ones = jobs["machine"].to_numpy(bool), np.ones(len(jobs))
    found = []
    by_machine = np.flatnonzero(machine)
    capacity = np.full(count, planning.actions_per_hour * hours)
    found.append(Limit("executor", by_machine, ones[by_machine], capacity))

    effort = jobs["hours"].to_numpy(np.float64)
    by_hand, working = np.flatnonzero(effort > 0), np.array(working_hours(slots, planning))
    found.append(Limit("people", by_hand, effort[by_hand], working * planning.people_hours_per_day))
    for owner, members in _groups(jobs["owner"], by_hand):
        found.append(
            Limit(f"hours of {owner}", members, effort[members], working * planning.owner_hours_per_day)
        )
    most = np.full(count, float(planning.max_per_failure_domain))
    for domain, members in _groups(jobs["domain"], np.arange(len(jobs))):
        found.append(Limit(f"changes in {domain}", members, ones[members], most))
    ordering = jobs["orders"].to_numpy(bool)
    found += _rates(jobs, ordering, count, slots.length, tokens or {})
    found += _crowding(jobs, ordering, count, hours / 24.0, planning.max_expiries_per_day, expiring or {})
    return found


def problem(
    jobs: "pd.DataFrame",
    slots: Slots,
    planning: PlanningSettings,
    outage_days: float,
    *,
    allowed: npt.NDArray[np.bool_] | None = None,
    still_open: Floats | None = None,
    tokens: "Mapping[tuple[str, str, str], float] | None" = None,
    expiring: "Mapping[int, int] | None" = None,
) -> Problem:
    """Put values and limits together.

    Parameters
    ----------
    allowed : ndarray of bool, shape (n_jobs, n_slots), optional
        Where windows and freezes let a job start. Default everywhere.
    jobs, slots, planning, outage_days, still_open, tokens, expiring
        As for :func:`values` and :func:`limits`.
    """
    worth = values(jobs, np.array(slots.days), outage_days, still_open)
    if allowed is not None:
        worth = np.where(allowed, worth, -np.inf)
    return Problem(worth, limits(jobs, slots, planning, tokens, expiring))


def levels(times: "Sequence[datetime]", bucket: Bucket, now: datetime) -> float:
    """Give what is left in a bucket from which tokens were taken at some times.

    Parameters
    ----------
    times : sequence of datetime
        Of orders counted by it, by `now`, in any order.
    bucket : Bucket
        Full before the first of them.
    now : datetime

    Returns
    -------
    float
        0 to the bucket's capacity.
    """
    tokens = Tokens(bucket, at=-math.inf)
    for moment in sorted(times):
        tokens.look(moment.timestamp())
        tokens.take()
    return tokens.look(now.timestamp())


def _rates(
    jobs: "pd.DataFrame",
    ordering: npt.NDArray[np.bool_],
    count: int,
    length: timedelta,
    tokens: "Mapping[tuple[str, str, str], float]",
) -> list[Limit]:
    found = []
    spared = {"ari": jobs["ari"].to_numpy(bool), "same names": jobs["same_names"].to_numpy(bool)}
    of = jobs["authority"].to_numpy(object)
    for short, authority in authorities().items():
        for bucket in authority.buckets:
            if bucket.counts != "orders":
                continue
            counted = ordering & (of == short)
            for exemption in bucket.exempt:
                counted &= ~spared[exemption]
            refill = np.full(count, length.total_seconds() / bucket.refill_s)
            refill[0] = 0.0  # the first slot is now
            most = np.full(count, float(bucket.capacity))
            for name, members in _groups(jobs[_SCOPES[bucket.per]], np.flatnonzero(counted)):
                level = tokens.get((short, bucket.name, str(name)), float(bucket.capacity))
                said = f"{authority.name}: {bucket.name} for {name}"
                found.append(Limit(said, members, np.ones(len(members)), most, refill, level))
    return found


def _crowding(
    jobs: "pd.DataFrame",
    ordering: npt.NDArray[np.bool_],
    count: int,
    slot_days: float,
    most: int,
    expiring: "Mapping[int, int]",
) -> list[Limit]:
    """Limit how many new certificates expire on a day: one limit a lifetime, as it moves on with the slot."""
    lifetimes = jobs["lifetime_days"].round().to_numpy(np.float64)
    groups = _groups(lifetimes, np.flatnonzero(ordering))
    started = np.floor(np.arange(count) * slot_days)
    new_day = np.diff(started, prepend=-1.0) > 0
    ends = [started + lifetime for lifetime, _ in groups]
    sharing = Counter(day for days in ends for day in set(days.tolist()))
    found = []
    for (lifetime, members), days in zip(groups, ends, strict=True):
        # What a day has room for is shared by all lifetimes that could end on it.
        room = np.array([max(most - expiring.get(int(day), 0), 0) // sharing[day] for day in days.tolist()])
        name = f"expiries after {lifetime:g} days"
        daily = np.where(new_day, room, 0.0)
        found.append(Limit(name, members, np.ones(len(members)), room.astype(np.float64), daily))
    return found


def _groups(labels: Any, rows: npt.NDArray[np.int64]) -> "list[tuple[Any, npt.NDArray[np.int64]]]":
    """Part rows by their label; rows without one belong to no group."""
    import pandas as pd

    codes, names = pd.factorize(np.asarray(labels, dtype=object)[rows])
    order = np.argsort(codes, kind="stable")
    order = order[codes[order] >= 0]
    bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
    return [(names[number], rows[order[bounds[number] : bounds[number + 1]]]) for number in range(len(names))]
