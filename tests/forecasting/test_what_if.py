"""Before and after."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certforecast.errors import InputError
from certforecast.forecasting import Scenario, read_scenario, shipped, what_if
from certforecast.forecasting.habits import Habits, learn
from certforecast.forecasting.load import play_load
from certforecast.forecasting.situation import Situation, situations
from certforecast.forecasting.world import set_out
from certforecast.history import History
from certforecast.policy import RenewalPolicy
from certforecast.settings import EffortSettings
from certforecast.validity import calendars, limit_on
from tests.forecasting.conftest import NOW, fleet

EFFORT = EffortSettings()


@pytest.fixture(scope="module")
def situation() -> Situation:
    with fleet().history() as store:
        return situations(store, [NOW])[0]


@pytest.fixture(scope="module")
def habits(situation: Situation) -> Habits:
    return learn(set_out(situation, Scenario(title="x"), EFFORT).table, situation)


def loads(situation: Situation, scenario: Scenario, measure: str = "renewals", weeks: int = 78) -> float:
    world = set_out(situation, scenario, EFFORT)
    made = play_load(
        situation,
        world,
        weeks,
        by=None,
        policy=RenewalPolicy(),
        effort=EFFORT,
        draws=50,
        hours=scenario.hours,
    )
    return float(made.total(measure).mean())


@settings(max_examples=6)
@given(days=st.lists(st.floats(5.0, 400.0), min_size=2, max_size=2, unique=True))
def test_shorter_validity_never_lowers_the_load(situation: Situation, days: list[float]) -> None:
    short, long = (
        loads(situation, Scenario(title="x", before="today", validity=[{"days": one, "authorities": "all"}]))
        for one in sorted(days)
    )
    assert short >= 0.97 * long  # draws differ


def test_half_the_validity_is_twice_the_work(situation: Situation) -> None:
    today = loads(situation, Scenario(title="x", before="today"))
    half = Scenario(title="x", before="today", validity=[{"days": 45.0, "issuers": ["Let's Encrypt"]}])
    assert 1.6 < loads(situation, half) / today < 2.1


def test_public_limits_leave_private_authorities_alone(situation: Situation) -> None:
    world = set_out(situation, read_scenario("47-days"), EFFORT)
    rows = np.arange(len(world.table))
    lifetime = world.rules.lifetime(rows, world.table["lifetime"].to_numpy(), np.full(len(rows), 1.0))
    private = (world.table["issuer"] == "Private").to_numpy()
    assert np.allclose(lifetime[private], 365.0)
    assert np.allclose(lifetime[~private], 46.0)


def test_a_delay_keeps_its_days(habits: Habits) -> None:
    late = np.flatnonzero(np.abs(habits.margin - 5.0) < 0.01)  # 25 days late, of 90
    assert len(late) == 1
    assert habits.margins(late, np.array([90.0]), 1.0) == pytest.approx(5.0)
    assert habits.margins(late, np.array([45.0]), 1.0) == pytest.approx(15.0 - 25.0)
    assert habits.margins(late, np.array([45.0]), 0.0) == pytest.approx(15.0 - 12.5)


@settings(max_examples=30)
@given(lifetime=st.floats(1.0, 800.0))
def test_more_lifetime_leaves_more_days(habits: Habits, lifetime: float) -> None:
    drawn = np.arange(len(habits.margin))
    some = habits.margins(drawn, np.full(len(drawn), lifetime), 1.0)
    more = habits.margins(drawn, np.full(len(drawn), 1.2 * lifetime), 1.0)
    assert (some <= lifetime).all()
    assert (more >= some - 0.05 * lifetime).all()


def test_an_authority_leaves(situation: Situation) -> None:
    on = (NOW + timedelta(weeks=10)).date()
    leaving = Scenario(title="x", leaves=[{"issuer": "Private", "on": on, "to": "Let's Encrypt"}])
    world = set_out(situation, leaving, EFFORT)
    made = play_load(
        situation, world, 30, by="issuer", policy=RenewalPolicy(), effort=EFFORT, draws=50, hours={}
    )
    old = made.draws["renewals"][:, made.groups.index("Private")].mean(axis=0)
    assert not old[11:].any()
    whole = made.draws["renewals"].sum(axis=1).mean(axis=0)
    # Ten certificates more within the four weeks before.
    assert whole[5:11].sum() > 20 * 6 * 7 / 60 + 6


def test_tickets_become_timers(situation: Situation) -> None:
    automate = Scenario(title="x", automate=[{"owner": "core", "days": 90}])
    assert loads(situation, automate, weeks=156) > loads(situation, Scenario(title="x"), weeks=156)
    people = loads(situation, automate, "hours", 156), loads(situation, Scenario(title="x"), "hours", 156)
    assert people[0] < 0.8 * people[1]


def test_a_freeze_puts_off_what_can_wait(situation: Situation) -> None:
    since = (NOW + timedelta(weeks=4)).date()
    freeze = Scenario(
        title="x", freeze=[{"since": since, "until": since + timedelta(days=14), "timers": True}]
    )
    world = set_out(situation, freeze, EFFORT)
    made = play_load(situation, world, 10, by=None, policy=RenewalPolicy(), effort=EFFORT, draws=50, hours={})
    weekly = made.draws["renewals"].sum(axis=1).mean(axis=0)
    assert weekly[4:6].sum() < 1.0
    assert weekly[6:8].sum() > 1.5 * weekly[0:2].sum()


def test_hours_of_the_scenario(situation: Situation) -> None:
    dear = Scenario(title="x", hours={"ticket": 20.0})
    assert loads(situation, dear, "hours") > 3 * loads(situation, Scenario(title="x"), "hours")


def test_a_rush_of_orders_waits_for_tokens(situation: Situation) -> None:
    # Twenty names of one registered domain, each day: far beyond 50 a week.
    daily = Scenario(
        title="x",
        before="today",
        validity=[{"days": 0.4, "issuers": ["Let's Encrypt"]}],
    )
    assert loads(situation, daily, "waiting", 2) > 50
    assert loads(situation, Scenario(title="x"), "waiting", 26) == 0


def test_summary_and_frame(history: History) -> None:
    made = what_if(history, None, NOW, read_scenario("letsencrypt-45"), "60w", draws=50)
    summary = made.summary().set_index(["measure", "weeks"])
    row = summary.loc[("renewals", 26)]
    assert row["after"] / row["before"] == pytest.approx(row["ratio"])
    assert 1.6 < row["ratio"] < 2.2
    assert len(made.frame()) == 120
    assert what_if(history, None, NOW, read_scenario("letsencrypt-45"), "0w").summary().empty


def test_a_world_without_changes_is_the_same(history: History) -> None:
    made = what_if(history, None, NOW, Scenario(title="nothing"), "20w", draws=50)
    assert np.array_equal(made.before.draws["renewals"], made.after.draws["renewals"])


def test_shipped_scenarios_say_where_they_are_from() -> None:
    assert {"47-days", "100-days", "200-days", "letsencrypt-45", "six-days"} <= set(shipped())
    for scenario in shipped().values():
        assert scenario.title
        assert scenario.source


def test_an_unknown_scenario_names_those_there_are() -> None:
    with pytest.raises(InputError, match=r"did you mean 47-days\?.*six-days"):
        read_scenario("47-day")


def test_an_unknown_owner_names_the_nearest(situation: Situation) -> None:
    with pytest.raises(InputError, match="nearest: core"):
        set_out(situation, Scenario(title="x", automate=[{"owner": "cor"}]), EFFORT)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "not valid TOML"),
        ("", "title"),
        ('title = "x"\nvalidity = [{}]', "either days or calendar"),
        ('title = "x"\nvalidity = [{calendar = "moon"}]', "no calendar 'moon'"),
        ('title = "x"\nfreeze = [{since = 2027-01-02, until = 2027-01-01}]', "not after since"),
        ('title = "x"\ncolour = 1', "colour"),
    ],
)
def test_what_is_no_scenario(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_scenario(str(path))


def test_calendars_have_their_dates() -> None:
    public, classic = calendars()["public"].steps, calendars()["letsencrypt"].steps
    assert [limit_on(date(year, 6, 1), public) for year in (2025, 2026, 2027, 2029)] == [398, 200, 100, 47]
    assert limit_on(date(2027, 3, 14), public) == 200
    assert limit_on(date(2027, 3, 15), public) == 100
    assert [limit_on(date(year, 6, 1), classic) for year in (2026, 2027, 2028)] == [90, 64, 45]
    for calendar in calendars().values():
        assert calendar.source
        assert list(calendar.steps) == sorted(calendar.steps, key=lambda step: step.since)
