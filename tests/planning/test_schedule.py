"""Schedules: no limit is ever broken, the bound holds, and nothing better is left undone."""

import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certforecast.limits import authorities
from certforecast.planning.schedule import Limit, Problem, solve
from certforecast.planning.timetable import COLUMNS, levels, problem
from certforecast.planning.windows import Slots
from certforecast.settings import FreezeSettings, PlanningSettings, WindowSettings
from tests.planning.verifier import violations

MONDAY = datetime(2026, 10, 5, tzinfo=UTC)


@st.composite
def instances(draw: st.DrawFn) -> tuple[pd.DataFrame, PlanningSettings, dict[tuple[str, str, str], float]]:
    """Draw jobs that have much in common, and limits that bind."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(1, 60))
    planning = PlanningSettings(
        horizon_days=draw(st.sampled_from([1.0, 3.0, 7.0])),
        slot_hours=draw(st.sampled_from([3.0, 6.0, 24.0])),
        actions_per_hour=draw(st.sampled_from([0.2, 0.5, 2.0])),
        people_hours_per_day=draw(st.sampled_from([0.0, 2.0, 10.0])),
        owner_hours_per_day=draw(st.sampled_from([0.5, 4.0])),
        max_per_failure_domain=draw(st.integers(1, 4)),
        max_expiries_per_day=draw(st.integers(1, 6)),
    )
    machine = rng.random(n) < 0.7
    left = rng.uniform(-2, 12, n)
    authority = np.where(rng.random(n) < 0.8, "letsencrypt", None)
    jobs = pd.DataFrame(
        {
            "worth_failed": rng.lognormal(3, 1, n),
            "worth_slipped": rng.uniform(0, 20, n),
            "cost": rng.uniform(1, 40, n),
            "machine": machine,
            "orders": machine & (rng.random(n) < 0.8),
            "hours": np.where(machine, 0.0, rng.choice([0.25, 0.5, 1.0], n)),
            "owner": rng.choice(np.array(["web", "shop", None], dtype=object), n),
            "domain": rng.choice(np.array(["a.example", "b.example", None], dtype=object), n),
            "earliest_days": rng.choice([0.0, 0.0, 1.5], n),
            "safe_days": left - 1,
            "left_days": left,
            "slip_days": left - 3,
            "lifetime_days": rng.choice([45.0, 46.0, 90.0], n),
            "authority": authority,
            "account": np.where(authority == None, None, "main"),  # noqa: E711 (by element)
            "registered_domain": rng.choice(["a.example", "b.example"], n),
            "name_set": rng.choice(["one", "two", "three"], n),
            "ari": rng.random(n) < 0.2,
            "same_names": rng.random(n) < 0.5,
        }
    )
    names = {"account": ["main"], "registered domain": ["a.example", "b.example"], "name set": ["one", "two"]}
    tokens = {
        ("letsencrypt", bucket.name, name): float(rng.uniform(0, 6))
        for bucket in authorities()["letsencrypt"].buckets
        for name in names.get(bucket.per, [])
    }
    return jobs, planning, tokens


def test_the_columns_are_those_that_are_described() -> None:
    jobs, _, _ = _some()
    assert set(jobs) == set(COLUMNS)


def _some() -> tuple[pd.DataFrame, PlanningSettings, dict[tuple[str, str, str], float]]:
    found = []

    @settings(max_examples=1, database=None)
    @given(instances())
    def take(instance: tuple[pd.DataFrame, PlanningSettings, dict[tuple[str, str, str], float]]) -> None:
        found.append(instance)

    take()
    return found[0]


@given(instances(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_limit_is_ever_broken(
    instance: tuple[pd.DataFrame, PlanningSettings, dict[tuple[str, str, str], float]], exact: bool
) -> None:
    jobs, planning, tokens = instance
    slots = Slots(MONDAY + timedelta(hours=9), planning)
    expiring = {45: 2, 90: 1, 91: 7}
    asked = problem(jobs, slots, planning, 1.0, tokens=tokens, expiring=expiring)
    found = solve(asked, exact_choices=10**9 if exact else 0, steps=60)
    broken = violations(jobs, slots.starts, planning, found.slots, tokens=tokens, expiring=expiring)
    assert broken == []
    assert found.value == pytest.approx(asked.value(found.slots))
    assert found.value <= found.bound * (1 + 1e-6) + 1e-6


@given(instances())
@settings(max_examples=60, deadline=None)
def test_prices_bound_what_the_program_finds(
    instance: tuple[pd.DataFrame, PlanningSettings, dict[tuple[str, str, str], float]],
) -> None:
    jobs, planning, tokens = instance
    asked = problem(jobs, Slots(MONDAY, planning), planning, 1.0, tokens=tokens)
    best, rough = solve(asked, exact_choices=10**9), solve(asked, exact_choices=0, steps=60)
    assert rough.value <= best.bound * (1 + 1e-6) + 1e-6
    assert best.value <= rough.bound * (1 + 1e-6) + 1e-6


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_the_program_finds_the_best_of_all_schedules(seed: int) -> None:
    """Against every schedule there is, with a capacity and a bucket."""
    rng = np.random.default_rng(seed)
    n, slots = 4, 3
    values = rng.normal(1, 3, (n, slots))
    everyone = np.arange(n)
    amounts = rng.choice([0.5, 1.0, 2.0], n)
    capacity, refill = rng.choice([0.0, 1.0, 2.5], slots), rng.choice([0.0, 0.7, 1.5], slots)
    level = float(rng.choice([0.0, 1.0]))
    limits = [
        Limit("capacity", everyone, amounts, capacity),
        Limit("bucket", everyone, np.ones(n), np.full(slots, 2.0), refill, level),
    ]
    asked = Problem(values, limits)

    def keeps(choice: tuple[int, ...]) -> bool:
        left = level
        for slot in range(slots):
            here = [i for i in range(n) if choice[i] == slot]
            left = min(left + refill[slot], 2.0) - len(here)
            if left < -1e-9 or sum(amounts[here]) > capacity[slot] + 1e-9:
                return False
        return True

    best = max(
        sum(values[i, slot] for i, slot in enumerate(choice) if slot >= 0)
        for choice in itertools.product(range(-1, slots), repeat=n)
        if keeps(choice)
    )
    assert solve(asked).value == pytest.approx(best, abs=1e-6, rel=2e-3)
    rough = solve(asked, exact_choices=0, steps=100)
    assert rough.value <= best + 1e-6 <= rough.bound + 2e-6


def test_the_verifier_sees_what_is_wrong() -> None:
    jobs, planning, _ = _some()
    jobs = pd.concat([jobs.head(1)] * 9, ignore_index=True).assign(
        machine=True, orders=True, earliest_days=1.0, authority="letsencrypt", account="main",
        name_set="one", ari=False, same_names=False, domain="a.example", owner="web", hours=1.0,
    )  # fmt: skip
    planning = planning.model_copy(
        update={"actions_per_hour": 0.1, "max_per_failure_domain": 2, "max_expiries_per_day": 3}
    )
    slots = Slots(MONDAY, planning)
    closed = [[None] * len(slots.starts)] * 9
    broken = " ".join(violations(jobs, slots.starts, planning, [0] * 9, moments=closed))
    for said in ("closed", "before there is", "9 actions", "hours of people", "hours of web", "changes in"):
        assert said in broken
    assert "no token" in broken
    assert "expire on day" in broken


def test_among_equals_the_sooner_and_the_dearer_comes_first() -> None:
    values = np.array([[5.0, 4.9], [9.0, 8.9], [1.0, 0.9]])
    one = Limit("one at a time", np.arange(3), np.ones(3), np.ones(2))
    for choices in (0, 10**6):
        found = solve(Problem(values, [one]), exact_choices=choices)
        assert found.slots.tolist() == [1, 0, -1]
        assert found.value == pytest.approx(13.9)


def test_nothing_to_schedule_is_scheduled() -> None:
    found = solve(Problem(np.zeros((0, 4)), []))
    assert (found.value, found.gap, len(found.slots)) == (0.0, 0.0, 0)
    assert solve(Problem(np.full((2, 3), -np.inf), [])).slots.tolist() == [-1, -1]


def test_what_is_left_in_a_bucket() -> None:
    bucket = next(b for b in authorities()["letsencrypt"].buckets if b.per == "name set")
    assert levels([], bucket, MONDAY) == 5
    just_now = [MONDAY] * 5
    assert levels(just_now, bucket, MONDAY) == 0
    later = MONDAY + timedelta(seconds=bucket.refill_s)
    assert levels(just_now, bucket, later) == pytest.approx(1)
    assert levels(just_now, bucket, MONDAY + timedelta(days=60)) == 5
    # More than the bucket holds cannot be taken from it.
    assert levels(just_now * 4, bucket, later) == pytest.approx(1)


def test_windows_and_freezes() -> None:
    planning = PlanningSettings(
        horizon_days=7,
        slot_hours=6,
        windows=[WindowSettings(owner="web", rrule="FREQ=WEEKLY;BYDAY=TU;BYHOUR=2;BYMINUTE=30", hours=3)],
        freezes=[FreezeSettings(host="*.shop.example", start=MONDAY, end=MONDAY + timedelta(hours=39))],
    )
    slots = Slots(MONDAY, planning)
    tuesday = MONDAY + timedelta(days=1)
    opened = [moment for moment in slots.moments(("web", None, ("a.example",))) if moment]
    assert opened == [tuesday + timedelta(hours=2, minutes=30)]
    elsewhere = slots.moments(("mail", None, ("a.example",)))
    assert elsewhere == slots.starts
    frozen = slots.moments(("mail", None, ("www.shop.example",)))
    assert frozen[:6] == [None] * 6
    assert frozen[6] == MONDAY + timedelta(hours=39)
    assert slots.moments(("web", None, ("www.shop.example",)), expired=True) == slots.starts


def test_a_window_is_kept_in_local_time_across_the_change_of_clocks() -> None:
    planning = PlanningSettings(
        horizon_days=14,
        timezone="Europe/Berlin",
        windows=[WindowSettings(rrule="FREQ=WEEKLY;BYDAY=MO;BYHOUR=4;BYMINUTE=0;BYSECOND=0", hours=1)],
    )
    slots = Slots(datetime(2026, 10, 19, tzinfo=UTC), planning)  # clocks go back on 25 October
    opened = [moment for moment in slots.moments((None, None, ())) if moment]
    assert [moment.hour for moment in opened] == [2, 3]
