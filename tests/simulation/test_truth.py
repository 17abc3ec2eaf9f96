"""The true probabilities: sound, and calibrated against what really happens."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from certforecast.errors import InputError
from certforecast.simulation import Fleet
from certforecast.simulation.mechanisms import OUTCOMES
from certforecast.simulation.truth import futures

SHARES = [f"p_{name}" for name in OUTCOMES]


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(seed=11, lineages=100, years=2.0)


def test_probabilities_sum_to_one_for_exactly_the_open_renewals(fleet: Fleet) -> None:
    as_of = datetime(2026, 2, 1, tzinfo=UTC)
    truth = fleet.truth(as_of, draws=40)
    assert truth["fingerprint"].is_unique
    assert np.allclose(truth[SHARES].sum(axis=1), 1.0)
    lineages = fleet.lineages()
    served = lineages.loc[lineages["lineage"] < len(fleet.population), "fingerprint"]  # twins are not
    certificates = fleet.tables()["certificates"].to_pandas().set_index("fingerprint").loc[served]
    outcomes = fleet.outcomes().set_index("fingerprint")["resolved_at"]
    valid = certificates[(certificates["not_before"] <= as_of) & (certificates["not_after"] > as_of)]
    resolved = valid.index.map(outcomes).to_series(index=valid.index) <= as_of
    assert set(truth["fingerprint"]) == set(valid.index[~resolved])


def test_truth_repeats_and_leaves_the_fleet_alone(fleet: Fleet) -> None:
    as_of = datetime(2026, 3, 1, tzinfo=UTC)
    before = fleet.outcomes()
    first = fleet.truth(as_of, draws=20)
    fleet.truth(as_of + timedelta(days=3), draws=20)
    pd.testing.assert_frame_equal(first, fleet.truth(as_of, draws=20))
    pd.testing.assert_frame_equal(before, fleet.outcomes())


def test_truth_does_not_depend_on_what_happens_later(fleet: Fleet) -> None:
    days = round(2.0 * 365.25) - round(1.5 * 365.25)
    shorter = Fleet(seed=11, lineages=100, years=1.5, end=fleet.end - timedelta(days=days))
    as_of = shorter.end - timedelta(days=45)
    pd.testing.assert_frame_equal(shorter.truth(as_of, draws=20), fleet.truth(as_of, draws=20))


def test_moments_outside_the_history_are_refused(fleet: Fleet) -> None:
    with pytest.raises(InputError, match="outside the fleet's history"):
        fleet.truth(fleet.start - timedelta(days=1))
    with pytest.raises(InputError, match="draws is 0"):
        fleet.truth(fleet.end, draws=0)


def test_true_probabilities_are_calibrated() -> None:
    """Over independent fleets, the count of each outcome lies where its own distribution says.

    Counted apart for lineages that have something broken already and for the others. Outcomes in one fleet
    share shocks, so the variance of a count is taken from the draws.
    """
    draws, rows = 60, 0
    excess, variance = np.zeros((2, len(OUTCOMES))), np.zeros((2, len(OUTCOMES)))
    for seed in range(24):
        fleet = Fleet(seed=seed, lineages=60, years=1.9)
        day = fleet.first_day + 120 + 7 * seed
        state = fleet.world(day).state
        lineage, number, played = futures(fleet.world(day), day, draws, np.random.default_rng(seed))
        serving = number == state.number[lineage]
        expiry = np.where(serving, state.not_after[lineage], state.pending_not_after[lineage])
        settled = expiry < fleet.last_day  # known beforehand, so it does not bias the comparison
        broken = (~state.timer_ok | ~state.hook_ok | (state.challenge > 0) | state.pending)[lineage]
        outcomes = fleet.outcomes().set_index("fingerprint")["outcome"]
        for place, group in enumerate((settled & broken, settled & ~broken)):
            real = outcomes.reindex(fleet._fingerprints(lineage[group], number[group]))
            assert real.notna().all()
            rows += len(real)
            for code, name in enumerate(OUTCOMES):
                counts = (played[group] == code).sum(axis=0)
                excess[place, code] += (real == name).sum() - counts.mean()
                variance[place, code] += counts.var(ddof=1) * (1 + 1 / draws)
    z = excess / np.sqrt(variance)
    assert rows > 800
    assert (np.abs(z) < 3.3).all(), z


def test_certain_trouble_has_a_high_probability(fleet: Fleet) -> None:
    """The truth tells those that will fail from those that will not, far better than chance."""
    failed = set(fleet.outcomes().query("outcome == 'failed'")["fingerprint"])
    truth = pd.concat([fleet.truth(fleet.start + timedelta(days=d), draws=40) for d in range(100, 500, 50)])
    hit = truth["fingerprint"].isin(failed)
    assert truth.loc[hit, "p_failed"].mean() > 3 * truth.loc[~hit, "p_failed"].mean()


def test_what_is_over_is_certain_when_asked_for(fleet: Fleet) -> None:
    moment = fleet.start + (fleet.end - fleet.start) / 2
    open_, all_ = fleet.truth(moment, 20), fleet.truth(moment, 20, settled=True)
    assert all_["fingerprint"].is_unique
    added = all_[~all_["fingerprint"].isin(open_["fingerprint"])].set_index("fingerprint")
    real = fleet.outcomes().set_index("fingerprint")
    assert set(added.index) == set(real[real["resolved_at"] <= moment].index) - set(open_["fingerprint"])
    assert (added.idxmax(axis=1) == "p_" + real.loc[added.index, "outcome"]).all()
    assert (added.max(axis=1) == 1.0).all()
