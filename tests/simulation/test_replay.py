"""A fleet played on with somebody who steps in."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certforecast.errors import InputError
from certforecast.history.schema import TABLES
from certforecast.history.validation import check
from certforecast.simulation import Fleet, Rates
from certforecast.simulation.account import Account
from certforecast.simulation.hands import Dice, Hands, HandsAt, Result
from certforecast.simulation.mechanisms import Block
from certforecast.simulation.planner import Oracle, Planner, trained_on
from certforecast.simulation.population import Automation
from certforecast.simulation.replay import ACTOR, Capacity, Policy, Replay
from certforecast.simulation.rules import (
    RULES,
    Certbot,
    CertManager,
    FewestDaysLeft,
    LastDays,
    Nobody,
    ThirtyDays,
)
from certforecast.simulation.sight import How, Sight, Task

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 150
PLENTY = Capacity(1000.0, 1000.0)
#: Much goes wrong, so that little time shows it.
ROUGH = Rates(timer_death=0.003, challenge_break=0.003, hook_break=0.003)


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(seed=5, lineages=60, years=500 / 365.25, end=START, rates=ROUGH)


def outages(fleet: Fleet, policy: Policy, capacity: Capacity = PLENTY) -> int:
    return Replay(fleet, policy, capacity).run(DAYS).outages


def test_without_intervention_the_fleet_is_as_it_is(fleet: Fleet) -> None:
    longer = Fleet(
        seed=5, lineages=60, years=(500 + DAYS) / 365.25, end=START + timedelta(days=DAYS), rates=ROUGH
    )
    replay = Replay(fleet, Nobody(), PLENTY)
    account = replay.run(DAYS)
    for name, table in replay.tables().items():
        assert table.equals(longer.tables()[name])
    resolved = longer.outcomes()
    resolved = resolved[(resolved["resolved_at"] >= START) & (resolved["outcome"] == "failed")]
    assert account.outages == len(resolved) > 0
    assert (account.attempts, account.orders, account.people_hours) == (0, 0, 0.0)


def test_a_replay_leaves_the_fleet_alone(fleet: Fleet) -> None:
    before = fleet.tables()
    Replay(fleet, FewestDaysLeft(), PLENTY).run(30)
    assert all(table.equals(before[name]) for name, table in fleet.tables().items())


@pytest.mark.parametrize("seed", range(6))
def test_with_all_the_capacity_there_are_no_more_outages(seed: int) -> None:
    fleet = Fleet(seed=seed, lineages=40, years=1.0, end=START, rates=ROUGH)
    nobody = outages(fleet, Nobody())
    for policy in (FewestDaysLeft(), ThirtyDays(), LastDays(7.0), Oracle(draws=5)):
        assert outages(fleet, policy) <= nobody
    assert outages(fleet, FewestDaysLeft()) < nobody / 2


@settings(max_examples=12, deadline=None)
@given(
    attempts=st.floats(0.0, 6.0),
    hours=st.floats(0.0, 20.0),
    policy=st.sampled_from([Certbot, CertManager, ThirtyDays, FewestDaysLeft]),
)
def test_capacity_is_never_exceeded(
    fleet: Fleet, attempts: float, hours: float, policy: type[Policy]
) -> None:
    replay = Replay(fleet, policy(), Capacity(attempts, hours))
    account = replay.run(60)
    spent = pd.DataFrame(replay.spent, columns=["day", "attempts", "hours"])
    days = np.arange(1, 61)
    assert (spent["attempts"].cumsum() <= attempts * days + 1e-6).all()
    assert spent["attempts"].max() <= max(1.0, attempts)
    working = ((spent["day"] + 3) % 7 < 5).cumsum()
    assert (spent["hours"].cumsum() <= hours / 5 * working + 1e-6).all()
    assert account.attempts == spent["attempts"].sum()
    assert account.people_hours == pytest.approx(spent["hours"].sum())
    assert account.orders <= account.attempts


def test_capacity_that_is_there_is_used(fleet: Fleet) -> None:
    account = Replay(fleet, Certbot(), Capacity(0.5, 0.0)).run(60)
    assert account.attempts == 30


class Watching(FewestDaysLeft):
    """Fewest days left, and keeps what it saw."""

    def __init__(self) -> None:
        self.saw: list[tuple[int, bytes]] = []
        self.latest: list[tuple[datetime, pd.Timestamp]] = []

    def wants(self, sight: Sight) -> Iterator[Task]:
        seen = sight.services
        self.saw.append((sight.day, seen.lineage.tobytes() + seen.not_after.tobytes()))
        if sight.day % 20 == 0:
            now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=sight.day)
            for table in sight.store().tables():
                latest = table.known_at.max().execute()
                if not pd.isna(latest):
                    self.latest.append((now, latest))
        return super().wants(sight)


def test_policies_see_nothing_of_later_days(fleet: Fleet) -> None:
    longer = Fleet(seed=5, lineages=60, years=540 / 365.25, end=START + timedelta(days=40), rates=ROUGH)
    short, long = Watching(), Watching()
    Replay(fleet, short, PLENTY).run(30)
    Replay(fleet, long, PLENTY).run(60)
    assert long.saw[:30] == short.saw
    assert long.latest
    assert all(latest <= now for now, latest in long.latest)
    # A fleet that was played further shows no more on its last day than one that was not.
    first = Watching()
    Replay(longer, first, PLENTY).run(1)
    reached = Watching()
    quiet = Replay(fleet, Nobody(), PLENTY)
    quiet.run(40)
    quiet.policy = reached
    quiet.run(1)
    assert reached.saw == first.saw


def test_the_same_seed_gives_the_same_year(fleet: Fleet) -> None:
    def once() -> tuple[Account, list[tuple[int, int, float]], dict[str, object]]:
        replay = Replay(fleet, FewestDaysLeft(), Capacity(0.5, 2.0))
        return replay.run(60), replay.spent, dict(replay.tables())

    assert once() == once()


def test_what_the_executor_did_is_in_the_tables(fleet: Fleet) -> None:
    replay = Replay(fleet, FewestDaysLeft(), PLENTY)
    account = replay.run(60)
    tables = replay.tables()
    for name, table in tables.items():
        _, rejected = check(TABLES[name], table)
        assert len(rejected) == 0
    events = tables["events"].to_pandas()
    ours = events[events["actor"] == ACTOR]
    assert (ours["kind"] == "order_created").sum() == account.orders > 0
    issued = ours.loc[ours["kind"] == "issued", "fingerprint"]
    known = set(tables["certificates"]["fingerprint"].to_pylist())
    old_enough = ours.loc[ours["kind"] == "issued", "at"] < datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        days=replay.day
    ) - timedelta(days=6)
    assert set(issued[old_enough]) <= known
    # What the executor did is not in the clients' logs, too.
    assert not set(
        events.loc[(events["actor"] != ACTOR) & (events["kind"] == "issued"), "fingerprint"]
    ) & set(issued)


def at_work(fleet: Fleet, hands: Hands | None = None, seed: int = 0) -> HandsAt:
    world = fleet.world(fleet.last_day)
    size = len(world.state)
    for spell in (
        *(world.shocks.issuer, world.shocks.account, world.shocks.limited),
        *(world.shocks.zone, world.shocks.disk),
    ):
        spell.on[:] = False
    dice = Dice(np.random.default_rng(seed), size, 6)
    return HandsAt(
        world, fleet.last_day, fleet.journal.copied(), hands or Hands(), dice, np.zeros(size, bool)
    )


def some_timer(work: HandsAt) -> int:
    """Give a service in use with a timer, its certificate near expiry and in good order."""
    state = work.world.state
    lineage = int(
        np.flatnonzero(
            state.born
            & ~state.retired
            & (state.automation == Automation.TIMER)
            & ~state.pending
            & ~state.failed
        )[0]
    )
    state.not_after[lineage] = work.day + 3.0
    state.challenge[lineage] = Block.NONE
    return lineage


def certain(work: HandsAt) -> None:
    """Let every throw of the dice be lucky for what should go well: no hitch, somebody there."""
    work.dice._tries[:] = 0.999
    work.dice._looks[:] = np.array([0.0, 0.0, 0.999])[:, None]


def test_the_executor_installs_by_itself(fleet: Fleet) -> None:
    work = at_work(fleet)
    certain(work)
    lineage = some_timer(work)
    state = work.world.state
    state.timer_ok[lineage] = state.hook_ok[lineage] = False
    number = state.number[lineage]
    assert work.renew(lineage, 1.0) == (Result.RENEWED, Block.NONE)
    assert state.number[lineage] == number + 1
    assert state.not_after[lineage] > work.day + 20
    assert not state.hook_ok[lineage]
    assert not state.timer_ok[lineage]


def test_a_broken_challenge_stops_the_executor_until_somebody_looks(fleet: Fleet) -> None:
    work = at_work(fleet)
    certain(work)
    lineage = some_timer(work)
    work.world.state.challenge[lineage] = Block.CAA
    assert work.rehearse(lineage) == (Result.BLOCKED, Block.CAA)
    assert work.renew(lineage, 1.0) == (Result.BLOCKED, Block.CAA)
    assert work.look(lineage, 10.0) == (Result.RENEWED, Block.NONE)
    assert work.world.state.challenge[lineage] == Block.NONE


def test_an_outage_of_the_issuer_stops_everybody(fleet: Fleet) -> None:
    work = at_work(fleet)
    certain(work)
    lineage = some_timer(work)
    work.world.shocks.issuer.on[:] = True
    assert work.renew(lineage, 1.0) == (Result.BLOCKED, Block.OUTAGE)
    assert work.look(lineage, 10.0) == (Result.BLOCKED, Block.OUTAGE)


def test_what_lies_ready_is_installed_without_an_order(fleet: Fleet) -> None:
    work = at_work(fleet)
    certain(work)
    lineage = some_timer(work)
    state = work.world.state
    state.pending[lineage], state.pending_not_after[lineage] = True, work.day + 80.0
    state.pending_lifetime[lineage] = 90.0
    work.world.shocks.issuer.on[:] = True
    assert work.renew(lineage, 1.0) == (Result.INSTALLED, Block.NONE)
    assert state.not_after[lineage] == work.day + 80.0


def test_a_renewal_after_expiry_is_an_outage_all_the_same(fleet: Fleet) -> None:
    work = at_work(fleet)
    certain(work)
    lineage = some_timer(work)
    work.world.state.not_after[lineage] = work.day + 0.3
    work.renew(lineage, 12.0)
    resolved = work.journal.frame("resolved").iloc[-1]
    assert resolved["lineage"] == lineage
    assert resolved["outcome"] == 2
    assert resolved["at"] == pytest.approx(work.day + 0.3)


def test_to_renew_one_service_settles_no_other(fleet: Fleet) -> None:
    work = at_work(fleet)
    certain(work)
    lineage = some_timer(work)
    state = work.world.state
    other = int(np.flatnonzero(state.born & ~state.retired & (np.arange(len(state)) != lineage))[0])
    state.not_after[other], state.failed[other] = work.day + 0.5, False
    work.renew(lineage, 1.0)
    assert not state.failed[other]
    assert work.journal.frame("resolved").iloc[-1]["lineage"] == lineage


def test_cert_manager_waits_longer_after_each_failure(fleet: Fleet) -> None:
    replay = Replay(fleet, CertManager(), PLENTY)
    state = replay._world.state
    timers = state.born & ~state.retired & fleet.population.observed & (state.automation == Automation.TIMER)
    lineage = int(np.flatnonzero(timers)[0])
    # Nobody else renews it in this week.
    state.pending[lineage] = state.timer_ok[lineage] = False
    state.not_after[lineage] = replay.day + 20.0
    tried: list[float] = []

    class Once(CertManager):
        def wants(self, sight: Sight) -> Iterator[Task]:
            for task in super().wants(sight):
                if task.lineage == lineage:
                    at = sight.day + task.hour / 24
                    tried.append(at)
                    sight.record.tried(lineage, at, Result.BLOCKED)
            yield from ()

    replay.policy = Once()
    for _ in range(6):
        replay._live()
    gaps = np.diff(tried) * 24
    assert gaps[:5] == pytest.approx([1.0, 2.0, 4.0, 8.0, 16.0])
    assert gaps[5:] == pytest.approx([32.0] * len(gaps[5:]))


def test_the_planner_acts_on_forecasts(fleet: Fleet) -> None:
    planner = Planner(trained_on(fleet, every_days=60.0), every_days=5)
    replay = Replay(fleet, planner, PLENTY)
    account = replay.run(8)
    assert account.orders > 0
    assert account.people_hours > 0
    assert {task.how for task in replay.policy.wants(replay.sight())} <= set(How)


def test_nonsense_is_refused(fleet: Fleet) -> None:
    with pytest.raises(InputError, match="cannot be negative"):
        Capacity(-1.0, 0.0)
    with pytest.raises(InputError, match="at least 1"):
        Replay(fleet, Nobody(), PLENTY).run(0)
    with pytest.raises(InputError, match="between 0 and 1"):
        Hands(finds=1.5)
    assert set(RULES) == {"certbot", "cert-manager", "30 days, by ticket", "fewest days left"}
