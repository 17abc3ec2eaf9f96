"""The hold-out: by lot alone, never of what matters, in the plan for all to see, and on record."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.planning import Plan
from certforecast.planning.holdout import drawn
from tests.planning.test_ranking import propose
from tests.timeline import Timeline, day

#: Everything of little importance is held out.
ALL = {"holdout_share": 0.5, "holdout_max_criticality": 1.0}


def fleet(count: int, criticality: float | None = 0.1) -> Timeline:
    timeline = Timeline()
    for number in range(count):
        host = f"h{number}"
        timeline.looks(1, 100, timeline.certificate(host, f"{host}.shop.example", 0), step=14.0, host=host)
        row = {"host": host, "criticality": criticality, "valid_from": day(0), "known_at": day(0)}
        timeline.batch.hosts.append(row)
    return timeline


def held(plan: Plan) -> set[str]:
    return {left.fingerprint for left in plan.held_out}


def test_it_is_off_unless_asked_for() -> None:
    plan = propose(fleet(12), 75)
    assert (plan.held_out, len(plan.actions)) == ((), 12)


def test_what_is_held_out_is_in_the_plan_and_not_among_its_actions() -> None:
    plan = propose(fleet(24), 75, planning=ALL)
    assert 4 < len(plan.held_out) < 20
    assert len(plan.held_out) + len(plan.actions) == 24
    assert not held(plan) & {action.fingerprint for action in plan.actions}
    for left in plan.held_out:
        assert (left.kind, left.share, left.criticality) == ("renew", 0.5, 0.1)
        assert drawn(left.fingerprint, 0) < 0.5
        assert left.expected_loss_averted > 0
        assert "left alone to learn from" in left.why
        assert "50%" in left.why
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_the_lot_stays_the_same_from_day_to_day_whatever_the_forecast() -> None:
    timeline = fleet(24)
    first = held(propose(timeline, 70, planning=ALL))
    again = held(propose(timeline, 70, planning=ALL))
    later = held(propose(timeline, 80, planning=ALL))
    worse = held(propose(timeline, 70, planning=ALL, default=(0.1, 0.1, 0.8, 0.0)))
    other = held(propose(timeline, 70, planning=ALL | {"holdout_seed": 1}))
    assert first == again == later == worse
    assert first != other
    # A greater share spares these, and others besides.
    assert held(propose(timeline, 70, planning=ALL | {"holdout_share": 0.2})) < first


@pytest.mark.parametrize(("criticality", "spared"), [(0.3, True), (0.31, False), (None, False)])
def test_nothing_more_critical_than_allowed_is_held_out(criticality: float | None, spared: bool) -> None:
    plan = propose(fleet(12, criticality), 75, planning={"holdout_share": 0.5})
    assert bool(plan.held_out) is spared
    assert len(plan.held_out) + len(plan.actions) == 12


def test_what_has_expired_is_mended_though_it_was_held_out_before() -> None:
    timeline = fleet(12)
    before = held(propose(timeline, 85, planning=ALL))
    plan = propose(timeline, 95, planning=ALL)
    assert before
    assert not plan.held_out
    assert before <= {action.fingerprint for action in plan.actions}


def test_what_is_for_people_is_not_held_out_for_nobody_records_what_they_do() -> None:
    plan = propose(fleet(12), 75, planning=ALL, issuers={}, installers={}, executor={})
    assert {action.kind for action in plan.actions} == {"investigate"}
    assert not plan.held_out


@given(st.integers(0, 2**31), st.floats(0.05, 0.5))
def test_lots_are_even(seed: int, share: float) -> None:
    lots = np.array([drawn(f"{number:064x}", seed) for number in range(400)])
    assert ((lots >= 0) & (lots < 1)).all()
    assert abs((lots < share).mean() - share) < 5 * np.sqrt(share * (1 - share) / 400)


@pytest.mark.parametrize("wrong", [{"holdout_share": 0.6}, {"holdout_share": -0.1}, {"holdout": 1}])
def test_a_wrong_setting_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="holdout"):
        propose(fleet(1), 75, planning=wrong)
