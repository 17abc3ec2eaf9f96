"""What is learned from renewals of which some were acted upon: the truth, if some were held out by lot."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.features import FEATURES
from certforecast.models import OutcomeClassifier, OutcomePool, RenewalHazard
from certforecast.models.baselines import PriorRate
from certforecast.models.interventions import (
    WEIGHT_LIMIT,
    at_risk,
    estimated_weights,
    intervention_weights,
)
from certforecast.models.training import fit_forecaster
from certforecast.policy import RenewalPolicy
from certforecast.renewals import renewals_at
from tests.timeline import Timeline, day

POLICY, UNTIL, SHARE = RenewalPolicy(), day(400), 0.2
#: Of those in trouble 60 % fail, of the others 2 %; a third gets into trouble on day 20, after the look.
TROUBLED, FAILS, FAILS_ANYWAY = 1 / 3, 0.6, 0.02
TRUE_RATE = TROUBLED * FAILS + (1 - TROUBLED) * FAILS_ANYWAY


def acted_upon(renewals: int = 6000, share: float = SHARE, seed: int = 0) -> pd.DataFrame:
    """One row a renewal, looked at on day 0; on day 20 all in trouble are acted upon but for the held out."""
    rng = np.random.default_rng(seed)
    trouble = rng.random(renewals) < TROUBLED
    failed = rng.random(renewals) < np.where(trouble, FAILS, FAILS_ANYWAY)
    held = trouble & (rng.random(renewals) < share)
    acted = trouble & ~held
    moment = pd.Series(pd.Timestamp(day(20)), index=range(renewals))
    renewed = pd.Series(day(0) + pd.to_timedelta(rng.uniform(25, 35, renewals), "D"))
    outcome = np.where(failed & ~acted, "failed", "on_time")
    return pd.DataFrame(
        {
            "as_of": day(0),
            "fingerprint": [f"{number:05d}" for number in range(renewals)],
            "not_after": day(40),
            "outcome": outcome,
            "resolved_at": day(41),
            "in_service_at": renewed.where(outcome == "on_time"),
            "intervention": acted,
            "intervened_at": moment.where(acted),
            "held_out_at": moment.where(held),
            "holdout_share": np.where(held, share, np.nan),
            "days_left": 40.0,
            "days_to_slip": 36.0,
            "issuer_org": "Test",
        }
    )


def rate(model: Any, frame: pd.DataFrame) -> float:
    """Give the forecast probability of failure, the same for all rows."""
    inputs = frame.loc[[0], [name for name in FEATURES if name in frame]]
    return float(model.proba_frame(inputs)["p_failed"].iloc[0])


def test_weights_recover_the_truth_that_dropping_loses() -> None:
    frame = acted_upon()
    ours = rate(fit_forecaster(frame, UNTIL, POLICY, PriorRate()), frame)
    dropped = rate(fit_forecaster(frame.drop(columns="holdout_share"), UNTIL, POLICY, PriorRate()), frame)
    naive = rate(
        fit_forecaster(frame.assign(intervention=False, holdout_share=np.nan), UNTIL, POLICY, PriorRate()),
        frame,
    )
    assert ours == pytest.approx(TRUE_RATE, abs=0.025)
    assert dropped < TRUE_RATE - 0.09
    assert naive < TRUE_RATE - 0.12


def test_the_pool_learns_with_them_in_every_part() -> None:
    frame = acted_upon(5000)
    frame["as_of"] = frame["as_of"] + pd.to_timedelta(np.arange(len(frame)) % 100, "D") * 1.5
    frame["not_after"] = frame["as_of"] + timedelta(days=40)
    frame["resolved_at"] = frame["not_after"] + timedelta(days=1)
    frame["held_out_at"] = (frame["as_of"] + timedelta(days=20)).where(frame["holdout_share"].notna())

    def pool() -> OutcomePool:
        return OutcomePool({"rates": PriorRate(), "lines": OutcomeClassifier("logistic")}, prior=None)

    ours = fit_forecaster(frame, UNTIL, POLICY, pool())
    assert rate(ours, frame) == pytest.approx(TRUE_RATE, abs=0.04)
    assert ours.judged_ > 0
    assert rate(fit_forecaster(frame.assign(holdout_share=np.nan), UNTIL, POLICY, pool()), frame) < 0.13


def test_hazards_recover_the_truth_from_what_was_seen_before_the_action_too() -> None:
    frame = acted_upon(3000)

    def failing(spells: pd.DataFrame) -> float:
        inputs = frame[["days_left"]]
        hazard = RenewalHazard(edges=(10, 20, 30, 40), estimator=OutcomeClassifier("boosted", max_iter=60))
        hazard.fit(inputs.loc[spells.index], spells, spells["weight"])
        found = hazard.predict_cumulative_incidence(inputs.iloc[:1], [40.0])[0, :, 0]
        return float(found[list(hazard.events_).index("failed")])

    spells = at_risk(frame, UNTIL)
    assert failing(spells) == pytest.approx(TRUE_RATE, abs=0.04)
    assert failing(spells.assign(weight=1.0)) < TRUE_RATE - 0.05


def test_a_held_out_renewal_counts_once_before_the_lot_and_for_its_like_after_it() -> None:
    frame = acted_upon(200)
    spells = at_risk(frame, UNTIL)
    acted, held = frame["intervention"], frame["holdout_share"].notna()
    assert (spells.loc[acted[acted].index, ["event", "duration", "weight"]] == ["censored", 20.0, 1.0]).all(
        axis=None
    )
    for number in held[held].index:
        first, second = (row for _, row in spells.loc[[number]].iterrows())
        assert (first["event"], first["entry"], first["duration"], first["weight"]) == (
            "censored",
            0.0,
            20.0,
            1.0,
        )
        assert (second["entry"], second["weight"]) == (20.0, 1 / SHARE)
        assert second["event"] in ("renewed", "failed")
    rest = ~acted & ~held
    assert (spells.loc[rest[rest].index, ["entry", "weight"]] == [0.0, 1.0]).all(axis=None)
    later = at_risk(frame.assign(as_of=day(21), days_left=19.0), UNTIL)
    assert not set(later.index) & set(acted[acted].index)  # nothing natural comes after our action
    assert (later.loc[held[held].index, "weight"] == 1 / SHARE).all()
    assert (later["entry"] == 0).all()


@given(st.integers(0, 5))
def test_a_hold_out_that_became_known_later_moves_no_weight(seed: int) -> None:
    frame = acted_upon(60, share=0.5, seed=seed)
    held = frame["holdout_share"].notna()
    late = frame.assign(held_out_at=frame["held_out_at"] + timedelta(days=90))
    assert (intervention_weights(frame, POLICY)[held] == 2.0).all()
    assert (intervention_weights(frame, POLICY)[~held] == 1.0).all()
    assert (intervention_weights(late, POLICY) == 1.0).all()


def test_without_a_hold_out_all_weights_are_one_and_none_is_boundless() -> None:
    frame = acted_upon(60)
    bare = frame.drop(columns=["held_out_at", "holdout_share", "intervened_at"])
    assert (intervention_weights(bare, POLICY) == 1.0).all()
    assert len(at_risk(bare, UNTIL)) == (~frame["intervention"]).sum()
    tiny = frame.assign(holdout_share=frame["holdout_share"] * 1e-6)
    assert intervention_weights(tiny, POLICY).max() == WEIGHT_LIMIT


def test_estimated_weights_help_where_acting_was_a_matter_of_chance() -> None:
    """Half of those in trouble are acted upon, nobody says which lot fell; the trouble is seen beforehand."""
    rng = np.random.default_rng(0)
    frame = acted_upon(6000, share=0.5)
    trouble = frame["intervened_at"].notna() | frame["held_out_at"].notna()
    frame = frame.assign(past_usual=trouble * 1.0 + rng.normal(0, 0.1, len(frame)), holdout_share=np.nan)
    weights = estimated_weights(frame, ["days_left", "past_usual"])
    left = ~frame["intervention"]
    assert weights[~left].isna().all()
    failed = frame["outcome"] == "failed"
    assert np.average(failed[left], weights=weights[left]) == pytest.approx(TRUE_RATE, abs=0.025)
    assert failed[left].mean() < TRUE_RATE - 0.05
    nobody = frame.assign(
        intervention=False, intervened_at=frame["as_of"].where(frame["intervention"] & False)
    )
    assert (estimated_weights(nobody, ["days_left", "past_usual"]) == 1.0).all()


@pytest.mark.parametrize("entry", [[5.0, 0.0], [-1.0, 0.0], [np.nan, 0.0]])
def test_a_spell_that_begins_after_its_end_is_refused(entry: list[float]) -> None:
    y = pd.DataFrame({"event": ["renewed", "failed"], "duration": [5.0, 6.0], "entry": entry})
    with pytest.raises(ValueError, match="entries"):
        RenewalHazard().fit(np.zeros((2, 1)), y)


def test_events_of_the_store_become_columns_when_they_are_known() -> None:
    timeline = Timeline()
    held, acted, mended = (timeline.certificate(name, f"{name}.shop.example", 0) for name in ("a", "b", "c"))
    for number, key in enumerate((held, acted, mended)):
        timeline.looks(1, 93, key, step=7.0, host=f"h{number}")
    said = {"source": "executor", "code": "renew"}
    timeline.event(70, "a.shop.example", "held_out", detail="0.2", fingerprint=held, **said)
    timeline.event(75, "a.shop.example", "held_out", detail="0.1", fingerprint=held, **said)
    timeline.event(80, "b.shop.example", "order_created", fingerprint=acted, **said)
    timeline.event(92, "c.shop.example", "order_created", fingerprint=mended, **said)

    with timeline.history() as history:
        known = renewals_at(history, [day(65), day(72), day(130)]).set_index("fingerprint")
    early, later, last = (known[known["as_of"] == day(until)] for until in (65, 72, 130))
    assert early["holdout_share"].isna().all()
    assert (later.loc[held, "holdout_share"], later.loc[held, "held_out_at"]) == (0.2, day(70))
    assert (last.loc[held, "holdout_share"], last.loc[held, "held_out_at"]) == (0.1, day(70))
    assert (bool(last.loc[acted, "intervention"]), last.loc[acted, "intervened_at"]) == (True, day(80))
    assert not last.loc[held, "intervention"]
    # It had expired in use before anything was done: that failure is natural.
    assert (last.loc[mended, "outcome"], bool(last.loc[mended, "intervention"])) == ("failed", False)
