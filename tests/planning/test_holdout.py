"""The hold-out: by lot alone, never of what matters, in the plan for all to see."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from certforecast.planning import Action, HeldOut, Plan, Probabilities
from certforecast.planning.holdout import drawn, hold_out
from certforecast.settings import CostSettings, PlanningSettings
from tests.planning.test_plan import NOW, action
from tests.planning.test_ranking import propose
from tests.timeline import Timeline, day


def actions(count: int = 40, **others: Any) -> list[Action]:
    values = {"criticality": 0.1} | others
    return [action(id=f"a{number}", fingerprint=f"{number:064x}", **values) for number in range(count)]


def split(
    given: list[Action], share: float = 0.5, limit: float = 0.3, seed: int = 0
) -> tuple[list[Action], list[HeldOut]]:
    chosen = PlanningSettings(holdout_share=share, holdout_max_criticality=limit, holdout_seed=seed)
    return hold_out(given, NOW, chosen, CostSettings())


def held(given: list[Action], **others: Any) -> set[str]:
    return {left.fingerprint for left in split(given, **others)[1]}


def test_it_is_off_unless_asked_for() -> None:
    assert hold_out(actions(), NOW, PlanningSettings(), CostSettings()) == (actions(), [])


def test_what_is_held_out_is_no_action_and_says_what_and_why() -> None:
    todo, left = split(actions())
    assert 10 < len(left) < 30
    assert {one.fingerprint for one in left} | {one.fingerprint for one in todo} == {
        one.fingerprint for one in actions()
    }
    assert len(left) + len(todo) == 40
    for one in left:
        assert (one.kind, one.share, one.criticality) == ("renew", 0.5, 0.1)
        assert (one.name, one.host, one.expected_loss_averted) == (
            "www.shop.example",
            "www.shop.example",
            104.5,
        )
        assert "criticality 0.1 is at most 0.3" in one.why
        assert "50%" in one.why


def test_the_lot_stays_the_same_whatever_the_forecast_and_grows_with_the_share() -> None:
    first = held(actions())
    worse = actions(
        probabilities=Probabilities(on_time=0.1, slipped=0.0, failed=0.9, retired=0.0),
        expected_loss_averted=900.0,
        not_after=NOW + timedelta(days=30),
    )
    assert held(actions()) == held(worse) == held(worse[::-1]) == first
    assert held(actions(), share=0.2) < first
    assert held(actions(), seed=1) != first


@given(
    criticality=st.none() | st.floats(0, 1),
    limit=st.floats(0, 1),
    kind=st.sampled_from(["renew", "install", "escalate", "retire"]),
    days=st.integers(-5, 5),
)
def test_only_what_the_executor_would_do_about_something_minor_before_its_expiry(
    criticality: float | None, limit: float, kind: str, days: int
) -> None:
    given = actions(kind=kind, criticality=criticality, not_after=NOW + timedelta(days=days))
    todo, left = split(given, limit=limit)
    counted = CostSettings().default_criticality if criticality is None else criticality
    assert bool(left) == (counted <= limit and kind in ("renew", "install") and days > 0)
    assert len(todo) + len(left) == len(given)


@given(st.integers(0, 2**31), st.floats(0.05, 0.5))
def test_lots_are_even(seed: int, share: float) -> None:
    lots = np.array([drawn(f"{number:064x}", seed) for number in range(400)])
    assert ((lots >= 0) & (lots < 1)).all()
    assert abs((lots < share).mean() - share) < 5 * np.sqrt(share * (1 - share) / 400)


@pytest.mark.parametrize("wrong", [{"holdout_share": 0.6}, {"holdout_share": -0.1}, {"holdout": 1}])
def test_a_wrong_setting_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="holdout"):
        PlanningSettings(**wrong)


def test_the_plan_shows_what_it_holds_out_and_ranks_the_rest() -> None:
    timeline = Timeline()
    for number in range(12):
        host = f"h{number}"
        timeline.looks(1, 100, timeline.certificate(host, f"{host}.shop.example", 0), step=14.0, host=host)
        row = {"host": host, "criticality": 0.2, "valid_from": day(0), "known_at": day(0)}
        timeline.batch.hosts.append(row)
    plan = propose(timeline, 75, planning={"holdout_share": 0.5})
    assert 0 < len(plan.held_out) < 12
    assert [one.rank for one in plan.actions] == list(range(1, 13 - len(plan.held_out)))
    assert all(drawn(left.fingerprint, 0) < 0.5 for left in plan.held_out)
    assert all(drawn(one.fingerprint, 0) >= 0.5 for one in plan.actions)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
