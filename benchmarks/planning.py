"""How long a schedule of many actions takes under all limits at once, and how near to the best it is.

    python benchmarks/planning.py [--actions 100_000] [--days 7] [--seed 0] [--quick]

The candidates are drawn at random: four of five are the executor's, most of these order a certificate, half
of them under Let's Encrypt's limits, some with ARI; the rest is people's work. Maintenance windows,
freezes, working hours, capacities, changes for each failure domain, token buckets that are partly used up and
the days of the new expiries all bind. ``gap`` is what may be missing to the best schedule, as a share of the
bound; ``violations`` is counted by a verifier that shares no code with the scheduler. Two rivals
schedule the same candidates: in order of expiry, and in order of worth, each in the first slot that has room
(``..._value_ratio``: their value over ours). The mixed-integer program alone is given the same
time on fewer candidates (``program_actions``), and its time over ours is ``program_time_ratio``.
"""

import argparse
import resource
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from report import report
from rich.console import Console
from rich.table import Table

from certforecast.limits import authorities
from certforecast.planning.schedule import NEVER, Problem, solve
from certforecast.planning.schedule.filling import fill
from certforecast.planning.timetable import problem
from certforecast.planning.windows import Slots
from certforecast.settings import FreezeSettings, PlanningSettings, WindowSettings

sys.path.insert(0, str(Path(__file__).parents[1]))  # the verifier is part of the tests
from tests.planning.verifier import violations

BEGIN = datetime(2026, 10, 5, 6, tzinfo=UTC)
OUTAGE_DAYS = 1.0
QUICK = 10_000
#: For the mixed-integer program alone.
SMALL = 1_000


def main() -> None:
    """Measure, print a table, and a JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--actions", type=int, default=100_000)
    parser.add_argument("--days", type=float, default=7.0, help="horizon, in slots of six hours")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="fewer actions, within a minute")
    given = parser.parse_args()
    count = QUICK if given.quick else given.actions
    planning = settings(count, given.days)
    jobs, places, tokens, expiring = candidates(count, given.seed)
    start = time.perf_counter()
    asked, moments = posed(jobs, places, planning, tokens, expiring)
    posing_s = time.perf_counter() - start
    found = solve(asked, told=progress)
    seconds = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    slots = Slots(BEGIN, planning)
    broken = violations(
        jobs, slots.starts, planning, found.slots, tokens=tokens, expiring=expiring, moments=moments
    )
    for line in broken[:10]:
        print(line, file=sys.stderr)
    figures = {
        "actions": count,
        "seconds": seconds,
        "posing_s": posing_s,
        "peak_mb": peak_mb,
        "gap": found.gap,
        "violations": len(broken),
        "scheduled_share": float((found.slots != NEVER).mean()),
        "limits": len(asked.limits),
        "limits_binding": len(asked.binding),
    }
    values = {"certforecast": found.value}
    for name, order in {"by_expiry": -jobs["left_days"], "by_worth": asked.values.max(axis=1)}.items():
        values[name] = asked.value(first_room(asked, np.asarray(order, dtype=np.float64)))
        figures[f"{name}_value_ratio"] = values[name] / found.value
    figures |= program(given.days, given.seed)
    table = Table("schedule", "value", "of the bound")
    for name, value in values.items():
        table.add_row(name, f"{value:,.0f}", f"{value / found.bound:.2%}")
    Console().print(table)
    rounded = {name: round(value, 5) for name, value in figures.items()}
    versions = ["certforecast", "numpy", "scipy", "pandas"]
    report("planning", rounded, versions, {"seed": given.seed, "days": given.days})


def settings(count: int, days: float) -> PlanningSettings:
    """Give limits that bind for so many candidates."""
    thousands = count / 1000
    return PlanningSettings(
        horizon_days=days,
        actions_per_hour=2.4 * thousands,
        people_hours_per_day=8.0 * thousands,
        owner_hours_per_day=2.0,
        max_per_failure_domain=4,
        max_expiries_per_day=round(30 * thousands),
        windows=[
            WindowSettings(environment="nights", rrule="FREQ=DAILY;BYHOUR=0;BYMINUTE=0", hours=6),
            WindowSettings(environment="weekends", rrule="FREQ=WEEKLY;BYDAY=SA;BYHOUR=8", hours=30),
        ],
        freezes=[
            FreezeSettings(
                environment="shop", start=BEGIN + timedelta(days=1), end=BEGIN + timedelta(days=3.5)
            )
        ],
    )


def candidates(
    count: int, seed: int
) -> tuple[pd.DataFrame, list[str], dict[tuple[str, str, str], float], dict[int, int]]:
    """Draw candidates, the environment of each, what is left in buckets, and what expires already."""
    rng = np.random.default_rng(seed)
    machine = rng.random(count) < 0.8
    ordering = machine & (rng.random(count) < 0.9)
    public = ordering & (rng.random(count) < 0.5)
    left = rng.uniform(-1, 28, count)
    domain = np.char.add("d", (rng.zipf(1.3, count) % max(count // 15, 2)).astype(str)).astype(object)
    loss = rng.lognormal(3.0, 1.2, count)
    lifetime = rng.choice([45.0, 90.0, 199.0], count)
    jobs = pd.DataFrame(
        {
            "worth_failed": loss,
            "worth_slipped": rng.uniform(0, 15, count),
            "cost": np.where(machine, 5.0, 40.0),
            "machine": machine,
            "orders": ordering,
            "hours": np.where(machine, 0.0, rng.choice([0.25, 0.5, 1.0], count)),
            "owner": np.char.add("o", rng.integers(max(count // 100, 2), size=count).astype(str)),
            "domain": domain,
            "earliest_days": np.where(rng.random(count) < 0.3, rng.uniform(0, 5, count), 0.0),
            "safe_days": left - np.where(machine, 1.0, 3.0),
            "left_days": left,
            "slip_days": left - lifetime * 0.1,
            "lifetime_days": lifetime,
            "authority": np.where(public, "letsencrypt", None),
            "account": np.char.add("a", rng.integers(max(count // 5000, 1), size=count).astype(str)),
            "registered_domain": domain,
            "name_set": np.char.add("n", rng.integers(max(count // 2, 2), size=count).astype(str)),
            "ari": rng.random(count) < 0.2,
            "same_names": rng.random(count) < 0.5,
        }
    )
    places = rng.choice(["", "nights", "weekends", "shop"], count, p=[0.6, 0.2, 0.1, 0.1]).tolist()
    tokens = {}
    for bucket in authorities()["letsencrypt"].buckets:
        column = {"registered domain": "registered_domain", "name set": "name_set"}.get(bucket.per)
        if bucket.counts == "orders" and column:
            for name in jobs[column].unique():
                if rng.random() < 0.3:
                    tokens["letsencrypt", bucket.name, str(name)] = rng.uniform(0, bucket.capacity)
    expiring = {day: int(rng.integers(0, 1 + count // 100)) for day in range(300)}
    return jobs, places, tokens, expiring


def posed(
    jobs: pd.DataFrame,
    places: list[str],
    planning: PlanningSettings,
    tokens: dict[tuple[str, str, str], float],
    expiring: dict[int, int],
) -> tuple[Problem, list[list[datetime | None]]]:
    """Put the problem as planning does, windows and freezes included."""
    slots = Slots(BEGIN, planning)
    late = (jobs["left_days"] <= 0).tolist()
    moments = [
        list(slots.moments((None, place, ()), expired=expired))
        for place, expired in zip(places, late, strict=True)
    ]
    allowed = np.array([[moment is not None for moment in row] for row in moments])
    asked = problem(jobs, slots, planning, OUTAGE_DAYS, allowed=allowed, tokens=tokens, expiring=expiring)
    return asked, moments


def first_room(asked: Problem, urgency: np.ndarray) -> np.ndarray:
    """Schedule in order of urgency, each candidate in the first slot that has room and pays."""
    earlier = -np.arange(asked.shape[1], dtype=np.float64)
    return fill(asked, np.broadcast_to(earlier, asked.shape), urgency)


def program(days: float, seed: int) -> dict[str, float]:
    """Give how the mixed-integer program alone fares on few candidates, beside our prices."""
    planning = settings(SMALL, days)
    jobs, places, tokens, expiring = candidates(SMALL, seed)
    asked, _ = posed(jobs, places, planning, tokens, expiring)
    start = time.perf_counter()
    exact = solve(asked, exact_choices=10**9)
    exact_s = time.perf_counter() - start
    start = time.perf_counter()
    rough = solve(asked, exact_choices=0)
    rough_s = time.perf_counter() - start
    return {
        "program_actions": SMALL,
        "program_time_ratio": exact_s / rough_s,
        "program_value_ratio": exact.value / rough.value,
        "program_gap": exact.gap,
    }


def progress(step: int, gap: float) -> None:
    """Say how far the search is."""
    print(f"step {step}: gap {gap:.2%}", file=sys.stderr)


if __name__ == "__main__":
    main()
