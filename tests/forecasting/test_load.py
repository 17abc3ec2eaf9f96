"""The load ahead."""

from datetime import timedelta

import numpy as np
import pytest

from certforecast.errors import InputError, ModelError
from certforecast.forecasting import Scenario, forecast_load, observed_load
from certforecast.forecasting.habits import learn
from certforecast.forecasting.load import weeks_of
from certforecast.forecasting.play import play
from certforecast.forecasting.situation import situations
from certforecast.forecasting.world import PLAIN, set_out
from certforecast.history import History
from certforecast.models import OutcomePool
from certforecast.policy import RenewalPolicy
from certforecast.settings import EffortSettings
from tests.forecasting.conftest import NOW, fleet
from tests.timeline import day


@pytest.fixture(scope="module")
def events(history: History):
    [situation] = situations(history, [NOW])
    world = set_out(situation, PLAIN, EffortSettings())
    played = play(
        world.table,
        np.full(40, 0.05),
        learn(world.table, situation),
        world.rules,
        RenewalPolicy(),
        horizon=364.0,
        draws=40,
        seed=3,
    )
    return world.table, next(iter(played))


def test_what_is_live_and_what_is_over(history: History) -> None:
    [situation] = situations(history, [NOW])
    live = situation.live
    assert len(live[~live["replaced"]]) == 30
    assert set(live["issuer"]) == {"Let's Encrypt", "Private"}
    assert live.groupby("issuer")["public"].all().to_dict() == {"Let's Encrypt": True, "Private": False}
    assert (situation.past["resolved"] <= 0).all()


def test_renewals_follow_the_rhythm_of_the_past(history: History) -> None:
    made = forecast_load(history, None, NOW, "8w", origins=0, by="owner")
    totals = {
        group: made.draws["renewals"][:, place].sum(axis=1).mean() for place, group in enumerate(made.groups)
    }
    # Twenty lineages every 60 days; ten every 340.
    assert totals["web"] == pytest.approx(20 * 56 / 60, rel=0.15)
    assert totals["core"] == pytest.approx(10 * 56 / 340, abs=1.5)


def test_groups_sum_to_the_whole(history: History) -> None:
    whole = forecast_load(history, None, NOW, "10w", origins=0)
    for by in ("owner", "issuer", "domain", "environment", "automation"):
        parts = forecast_load(history, None, NOW, "10w", origins=0, by=by)
        assert np.array_equal(parts.draws["renewals"].sum(axis=1), whole.draws["renewals"].sum(axis=1))
        assert np.allclose(parts.draws["hours"].sum(axis=1), whole.draws["hours"].sum(axis=1))


def test_a_renewal_lies_between_issue_and_what_comes_after(events) -> None:
    _, played = events
    renewals = ~played.arrival
    assert renewals.any()
    assert played.arrival.any()
    assert (played.issued >= played.begin).all()
    assert (played.at >= played.issued).all()
    assert (played.at[renewals] > 0).all()
    assert ((played.at > played.end) == played.failed)[renewals].all()
    assert not (played.slipped & played.failed).any()


def test_each_certificate_has_one_successor_at_most(events) -> None:
    table, played = events
    live = (table["kind"] == "live").to_numpy()
    first = live[played.row] & (played.begin <= 0)
    pairs = np.column_stack([played.draw[first], played.row[first]])
    assert len(np.unique(pairs, axis=0)) == len(pairs)


def test_validity_follows_the_published_calendar(events) -> None:
    table, played = events
    lets_encrypt = (table["issuer"] == "Let's Encrypt").to_numpy()[played.next_row]
    # From 2027-02-10 on Let's Encrypt issues for 64 days; private authorities are not bound.
    change = (day(770) - NOW) / timedelta(days=1)
    after = lets_encrypt & (played.issued > change)
    assert after.any()
    assert (played.lifetime[after] <= 64.0).all()
    assert np.allclose(played.lifetime[lets_encrypt & (played.issued < change)], 90.0)
    assert np.allclose(played.lifetime[~lets_encrypt], 365.0)


def test_no_weeks(history: History) -> None:
    made = forecast_load(history, None, NOW, "0w")
    assert made.frame().empty
    assert made.draws["renewals"].shape[2] == 0


def test_an_empty_store() -> None:
    with History(None) as store:
        made = forecast_load(store, None, NOW, "2w")
        assert made.frame()["renewals"].tolist() == [0.0, 0.0]


def test_nothing_known_later_is_used() -> None:
    early, late = fleet(), fleet()
    late.certificate("t0-later", "t0.example.org", 603.0, 90.0, issuer_org="Let's Encrypt")
    late.certificate("new", "new.example.org", 590.0, 90.0, known=601.0)
    with early.history() as one, late.history() as other:
        made = [forecast_load(store, None, NOW, "6w", origins=2) for store in (one, other)]
    assert made[0].frame().equals(made[1].frame())
    assert made[0].dispersion == made[1].dispersion


def test_the_seed_decides(history: History) -> None:
    frames = [forecast_load(history, None, NOW, "6w", origins=1, seed=seed).frame() for seed in (1, 1, 2)]
    assert frames[0].equals(frames[1])
    assert not frames[0].equals(frames[2])


def test_intervals_hold_the_mean_and_widen_with_the_level(history: History) -> None:
    made = forecast_load(history, None, NOW, "13w", origins=2)
    wide, narrow = made.frame(0.9), made.frame(0.5)
    assert (wide["renewals_low"] <= wide["renewals"]).all()
    assert (wide["renewals_high"] >= wide["renewals"]).all()
    assert (wide["renewals_high"] >= narrow["renewals_high"]).all()
    assert made.dispersion >= 1.0


def test_observed_load_counts_what_happened(history: History) -> None:
    counts = observed_load(history, NOW, 26, by="owner")
    web = counts[counts["group"] == "web"]["renewals"].sum()
    assert web == pytest.approx(20 * 26 * 7 / 60, abs=8)
    assert (counts["week"].max() - NOW) == timedelta(weeks=-1)


def test_people_cost_hours_and_timers_do_not(history: History) -> None:
    effort = EffortSettings(hours={"timer": 0.0, "ticket": 2.0}, slip_hours=0.0, outage_hours=0.0)
    made = forecast_load(history, None, NOW, "26w", by="owner", origins=0, effort=effort)
    core, web = made.groups.index("core"), made.groups.index("web")
    assert np.allclose(made.draws["hours"][:, core], 2.0 * made.draws["renewals"][:, core])
    assert not made.draws["hours"][:, web].any()


def test_what_cannot_be_told_by(history: History) -> None:
    with pytest.raises(InputError, match="issuer, owner, domain"):
        forecast_load(history, None, NOW, by="colour")


@pytest.mark.parametrize(
    ("text", "weeks"), [("26w", 26), ("0w", 0), ("8d", 2), ("2y", 104), ("5", 5), (13, 13)]
)
def test_horizons(text: str | int, weeks: int) -> None:
    assert weeks_of(text) == weeks


@pytest.mark.parametrize("text", ["", "w", "-3w", "1.5w", "3m", "11y", "99999d"])
def test_what_is_no_horizon(text: str) -> None:
    with pytest.raises(InputError, match="horizon"):
        weeks_of(text)


def test_a_model_must_say_when(history: History) -> None:
    with pytest.raises(ModelError, match="does not say when"):
        forecast_load(history, object(), NOW, "4w", origins=0)


class Certain(OutcomePool):
    """Foresees one outcome, for everything."""

    def __init__(self, outcome: int) -> None:
        super().__init__()
        self.outcome = outcome

    def predict_incidence(self, X, times):
        found = np.zeros((len(X), 4, len(times)))
        left = X["days_left"].to_numpy()[:, None]
        found[:, self.outcome] = np.clip(np.asarray(times) / left, 0, 1)
        return found


def test_the_model_decides_what_becomes_of_open_renewals(history: History) -> None:
    # Nothing issued now expires within eight weeks again: all failures are those the model speaks of.
    made = [forecast_load(history, Certain(outcome), NOW, "9w", origins=0) for outcome in range(4)]
    [situation] = situations(history, [NOW])
    ending = ((situation.live["end"] < 63) & ~situation.live["replaced"]).sum()
    assert made[2].total("failed").mean() == pytest.approx(ending, abs=1)
    assert made[0].total("failed").mean() < 1
    assert made[3].total("renewals").mean() < 0.2 * made[0].total("renewals").mean()


def test_scenarios_change_the_load(history: History) -> None:
    six_days = Scenario(title="six days", validity=[{"days": 6.0}])
    assert (
        forecast_load(history, None, NOW, "26w", origins=0, scenario=six_days).total("renewals").mean() > 400
    )
