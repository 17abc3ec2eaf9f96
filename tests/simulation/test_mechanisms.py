"""Each mechanism does what it says, and nothing when switched off."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest

from certforecast.simulation import Fleet, Rates
from certforecast.simulation.calendars import Calendar, day_of, limit_on
from certforecast.simulation.mechanisms import Block
from certforecast.simulation.namesets import name_sets
from certforecast.simulation.population import ISSUERS, Automation

RATES = Rates()


def unserved(fleet: Fleet, days: float = 1.0) -> int:
    """Count successors that lay unserved for over `days` while their service was in use."""
    issued = fleet.journal.frame("issued")
    installed = fleet.journal.frame("installed")[["lineage", "number", "at"]]
    merged = issued.merge(installed, on=["lineage", "number"], how="left", suffixes=("", "_served"))
    waited = merged["at_served"].fillna(fleet.last_day) - merged["at"]
    retired = fleet.journal.frame("retired")
    gone = (
        merged["lineage"].isin(retired["lineage"]) if len(retired) else pd.Series(False, index=merged.index)
    )
    return int(((waited > days) & ~gone).sum())


def failed(fleet: Fleet) -> int:
    return int((fleet.outcomes()["outcome"] == "failed").sum())


def play(**rates: float) -> Fleet:
    return Fleet(seed=4, lineages=120, years=2.0, rates=replace(RATES, **rates))


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return play()


def test_without_reload_failures_every_successor_is_served(fleet: Fleet) -> None:
    by_timer = {"ticket_share": 0.0, "calendar_share": 0.0}
    broken = play(**by_timer)
    whole = play(**by_timer, hook_break=0.0, reload_transient=0.0, move_breaks_hook=0.0, disk_full=0.0)
    assert unserved(broken) > 10
    assert unserved(whole) == 0
    assert unserved(fleet) > 10


def test_nothing_broken_means_almost_nothing_fails(fleet: Fleet) -> None:
    off = [
        "ticket_share",
        "calendar_share",
        "timer_death",
        "challenge_break",
        "dead_name",
        "hook_break",
        "reload_transient",
        "move_breaks_challenge",
        "move_loses_timer",
        "move_breaks_hook",
        "account_loss",
        "zone_break",
        "manager_stall",
        "disk_full",
        "issuer_outage",
        "rate_limit",
    ]
    assert failed(play(**dict.fromkeys(off, 0.0))) == 0
    assert failed(fleet) > 20


@pytest.mark.parametrize(
    ("rate", "block"),
    [("issuer_outage", Block.OUTAGE), ("zone_break", Block.ZONE), ("rate_limit", Block.RATE_LIMITED),
     ("account_loss", Block.ACCOUNT), ("disk_full", Block.DISK), ("dead_name", Block.DEAD_NAME)],
)  # fmt: skip
def test_each_block_comes_of_its_own_rate(rate: str, block: Block) -> None:
    often = play(**{rate: 0.02}).journal.frame("blocked")["code"]
    never = play(**{rate: 0.0}).journal.frame("blocked")["code"]
    assert (often == block).sum() > 20
    assert (never == block).sum() == 0


def test_shocks_strike_together() -> None:
    """On a day on which an issuer is down, all attempts at it fail and others do not."""
    fleet = play(issuer_outage=0.01, issuer_recovery=0.2)
    blocked, issued = fleet.journal.frame("blocked"), fleet.journal.frame("issued")
    outages = blocked[blocked["code"] == Block.OUTAGE]
    issuer = issued.groupby("lineage")["issuer"].agg(["nunique", "first"])
    steady = issuer.index[issuer["nunique"] == 1]
    outages = outages[outages["lineage"].isin(steady)]
    down = set(zip(outages["at"] // 1, issuer["first"].loc[outages["lineage"]], strict=True))
    assert len(down) > 10
    assert not down & set(zip(issued["at"] // 1, issued["issuer"], strict=True))


def test_retired_services_never_fail_and_some_go_on_renewing() -> None:
    fleet = play(retirement=0.003)
    retired = fleet.journal.frame("retired").set_index("lineage")["at"]
    assert len(retired) > 50
    resolved = fleet.journal.frame("resolved")
    after = resolved[resolved["at"] > resolved["lineage"].map(retired).fillna(np.inf)]
    assert after.empty
    issued = fleet.journal.frame("issued")
    zombies = issued[issued["at"] > issued["lineage"].map(retired).fillna(np.inf)]
    assert len(zombies) > 20
    outcomes = fleet.outcomes().set_index("fingerprint")["outcome"]
    assert set(outcomes[fleet._fingerprints(zombies["lineage"], zombies["number"])]) == {"retired"}


def test_retired_endpoints_answer_no_more() -> None:
    fleet = play(retirement=0.002, host_move=0.0)
    looks = fleet.tables()["observations"].to_pandas()
    names = {held[0]: lineage for lineage, held in _first_names(fleet).items()}
    retired = fleet.journal.frame("retired").set_index("lineage")["at"]
    ends = looks["server_name"].map(names).map(retired)
    ended = pd.to_datetime(ends * 86400, unit="s", utc=True)
    after = looks[looks["observed_at"] > ended]
    assert len(after) > 100
    assert after["fingerprint"].isna().all()
    assert set(after["error"]) <= {"dns", "refused"}
    assert ((after["observed_at"] - ended[after.index]) < pd.Timedelta(days=41)).all()


def test_hosts_move_and_leave_the_scan_list() -> None:
    fleet = play(host_move=0.01, retirement=0.0)
    looks = fleet.tables()["observations"].to_pandas().dropna(subset="fingerprint")
    assert looks.groupby("server_name")["host"].nunique().mean() > 2


def test_a_split_gives_each_its_own_names() -> None:
    fleet = play(split_share=0.4)
    issued = fleet.journal.frame("issued")
    split = issued[issued["split"]]
    assert len(split) > 10
    held = _names(fleet)
    parent = fleet.population.parent
    child = {int(parent[one]): one for one in np.flatnonzero(parent >= 0)}
    for lineage, number in zip(split["lineage"], split["number"], strict=True):
        before, after, gone = held[lineage, number - 1], held[lineage, number], held[child[lineage], 0]
        assert sorted(after + gone) == sorted(before)


def test_validity_never_exceeds_the_limit_in_force() -> None:
    fleet = Fleet(seed=4, lineages=80, years=4.0, end=datetime(2029, 9, 1, tzinfo=UTC))
    issued = fleet.journal.frame("issued")
    validity = issued["not_after"] - issued["not_before"]
    public = np.array([issuer.public for issuer in ISSUERS])[issued["issuer"]]
    limit = np.array([limit_on(int(at)) for at in issued["at"]])
    assert (validity[public] <= limit[public]).all()
    for since, days in ((date(2026, 3, 15), 200), (date(2027, 3, 15), 100), (date(2029, 3, 15), 47)):
        then = (since - date(1970, 1, 1)).days
        young = public & (issued["at"] >= then) & (issued["at"] < then + 170)
        assert 0 < validity[young].max() <= days
    assert validity[~public].max() > 200


def test_lets_encrypt_gives_ninety_days_until_2027() -> None:
    fleet = Fleet(seed=4, lineages=60, years=1.0)
    issued = fleet.journal.frame("issued")
    assert (issued.loc[issued["issuer"] == 0, "not_after"] - issued["not_before"]).max() == pytest.approx(
        90, abs=1e-3
    )


def test_tickets_wait_for_working_days_and_freezes() -> None:
    fleet = Fleet(seed=4, lineages=200, years=3.0, rates=replace(RATES, ticket_share=0.9, calendar_share=0.0))
    issued = fleet.journal.frame("issued")
    by_hand = issued[issued["automation"] == Automation.TICKET]
    days = pd.to_datetime(by_hand["at"], unit="D")
    assert len(by_hand) > 200
    assert (days.dt.day_of_week >= 5).mean() < 0.03  # what is noticed on a weekend may be renewed there
    frozen = ((days.dt.month == 12) & (days.dt.day >= 17)) | ((days.dt.month == 1) & (days.dt.day <= 4))
    assert frozen.mean() < 0.6 * 19 / 365


def test_holidays_differ_by_country_and_batches_fall_on_tuesdays() -> None:
    first = day_of(datetime(2026, 1, 1, tzinfo=UTC))
    calendar = Calendar(first, first + 800)
    independence = day_of(datetime(2026, 7, 3, tzinfo=UTC))
    at_work = calendar.working(independence, np.arange(4))
    assert not at_work[0]
    assert at_work[1]
    batches = [day for day in range(first, first + 365) if calendar.batch(day, np.array([0]))[0]]
    assert len(batches) == 12
    assert {(day + 3) % 7 for day in batches} == {1}
    assert calendar.next_batch(batches[0], np.array([0]))[0] == batches[1]


def test_migration_turns_hand_work_into_timers() -> None:
    fleet = play(migration=0.02)
    migrated = fleet.journal.frame("migrated").set_index("lineage")["at"]
    issued = fleet.journal.frame("issued")
    after = issued[issued["at"] > issued["lineage"].map(migrated).fillna(np.inf)]
    assert len(after) > 50
    assert (after["automation"] == Automation.TIMER).all()


def test_owners_differ_and_their_past_tells() -> None:
    """Owners who failed more in the first half fail more in the second."""
    fleet = Fleet(seed=4, lineages=360, years=4.0)
    resolved = fleet.journal.frame("resolved")
    resolved["owner"] = fleet.population.traits.owner[resolved["lineage"]]
    half = (fleet.first_day + fleet.last_day) / 2
    bad = resolved.assign(bad=resolved["outcome"].isin([1, 2]))
    early = bad[bad["at"] < half].groupby("owner")["bad"].mean()
    late = bad[bad["at"] >= half].groupby("owner")["bad"].mean()
    assert early.corr(late, method="spearman") > 0.3


def _names(fleet: Fleet) -> dict[tuple[int, int], list[str]]:
    return name_sets(fleet.population, fleet.journal, fleet.seed, fleet.rates.merge_share)


def _first_names(fleet: Fleet) -> dict[int, list[str]]:
    return {lineage: names for (lineage, number), names in _names(fleet).items() if number == 0}
