"""Checks a schedule by walking through time, with nothing of the code that made it."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from certforecast.limits import authorities
from certforecast.settings import PlanningSettings

__all__ = ["violations"]

_COLUMN = {"account": "account", "registered domain": "registered_domain", "name set": "name_set"}


def violations(
    jobs: pd.DataFrame,
    starts: Sequence[datetime],
    planning: PlanningSettings,
    chosen: Sequence[int],
    *,
    tokens: Mapping[tuple[str, str, str], float] | None = None,
    expiring: Mapping[int, int] | None = None,
    moments: Sequence[Sequence[datetime | None]] | None = None,
    asked: Mapping[int, tuple[datetime, datetime]] | None = None,
) -> list[str]:
    """List every limit that a schedule breaks; `chosen` is a slot for each job, -1 for none.

    `asked` has the windows in which CAs ask for jobs: none begins before its own, and none after it while it
    might have begun in it.
    """
    found = []
    done = [
        (starts[slot], slot, number, row)
        for number, (slot, row) in enumerate(zip(chosen, jobs.to_dict("records"), strict=True))
        if slot >= 0
    ]
    done.sort(key=lambda item: (item[0], item[2]))
    begin = starts[0]
    for at, slot, number, row in done:
        if moments is not None and moments[number][slot] is None:
            found.append(f"job {number} starts in a closed slot")
        if (at - begin) / timedelta(days=1) < row["earliest_days"] - 1e-9:
            found.append(f"job {number} starts before there is anything to do")
    for _, slot, number, _ in done:
        if asked is not None and number in asked:
            opens, closes = asked[number]
            possible = [moment for moment in moments[number] if moment] if moments is not None else [*starts]
            start = starts[slot] if moments is None else moments[number][slot]
            if start is not None and start < opens:
                found.append(f"job {number} starts before its CA asks for it")
            if start is not None and start > closes and any(opens <= at <= closes for at in possible):
                found.append(f"job {number} starts after its CA asks for it")
    found += _capacity(done, starts, planning)
    found += _buckets(done, begin, tokens or {})
    ends = Counter(expiring or {})
    for at, _, _, row in done:
        if row["orders"]:
            ends[int((at - begin) / timedelta(days=1)) + round(row["lifetime_days"])] += 1
    crowded = set(ends) - set(expiring or {}) | {d for d in ends if ends[d] > (expiring or {}).get(d, 0)}
    found += [f"{ends[d]} expire on day {d}" for d in crowded if ends[d] > planning.max_expiries_per_day]
    return found


def _capacity(
    done: list[tuple[datetime, int, int, dict[Any, Any]]],
    starts: Sequence[datetime],
    planning: PlanningSettings,
) -> list[str]:
    found = []
    machine: Counter[int] = Counter()
    people: dict[int, float] = defaultdict(float)
    owners: dict[tuple[int, str], float] = defaultdict(float)
    domains: Counter[tuple[int, str]] = Counter()
    for _, slot, _, row in done:
        machine[slot] += bool(row["machine"])
        people[slot] += row["hours"]
        if not pd.isna(row["owner"]) and row["hours"] > 0:
            owners[slot, row["owner"]] += row["hours"]
        if not pd.isna(row["domain"]):
            domains[slot, row["domain"]] += 1
    most = planning.actions_per_hour * planning.slot_hours
    found += [f"{count} actions in slot {slot}" for slot, count in machine.items() if count > most + 1e-6]
    for slot, hours in people.items():
        share = _working(starts[slot], planning)
        if hours > share * planning.people_hours_per_day + 1e-6:
            found.append(f"{hours} hours of people in slot {slot}")
    for (slot, owner), hours in owners.items():
        if hours > _working(starts[slot], planning) * planning.owner_hours_per_day + 1e-6:
            found.append(f"{hours} hours of {owner} in slot {slot}")
    limit = planning.max_per_failure_domain
    found += [f"{n} changes in {d} in slot {s}" for (s, d), n in domains.items() if n > limit]
    return found


def _working(start: datetime, planning: PlanningSettings) -> float:
    """Count working minutes, one by one: Monday to Friday, 8 to 18 UTC, of ten hours."""
    assert planning.timezone == "UTC"
    assert planning.country is None
    minutes = [start + timedelta(minutes=number) for number in range(round(planning.slot_hours * 60))]
    return sum(minute.weekday() < 5 and 8 <= minute.hour < 18 for minute in minutes) / 600


def _buckets(
    done: list[tuple[datetime, int, int, dict[Any, Any]]],
    begin: datetime,
    tokens: Mapping[tuple[str, str, str], float],
) -> list[str]:
    """Take a token for each order, at the moment it is placed."""
    found = []
    levels: dict[tuple[str, str, str], float] = {}
    last: dict[tuple[str, str, str], datetime] = {}
    for at, _, number, row in done:
        if not row["orders"] or pd.isna(row["authority"]):
            continue
        for bucket in authorities()[row["authority"]].buckets:
            if bucket.counts != "orders":
                continue
            if (row["ari"] and "ari" in bucket.exempt) or (
                row["same_names"] and "same names" in bucket.exempt
            ):
                continue
            label = row[_COLUMN[bucket.per]]
            if pd.isna(label):
                continue
            key = row["authority"], bucket.name, str(label)
            level = levels.get(key, tokens.get(key, float(bucket.capacity)))
            level += (at - last.get(key, begin)).total_seconds() / bucket.refill_s
            level = min(level, bucket.capacity) - 1.0
            if level < -1e-6:
                found.append(f"job {number} finds no token: {key}")
            levels[key], last[key] = level, at
    return found
