"""What a plan holds out: never touched, and on record once the plan is carried out."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certforecast.errors import PlanError
from certforecast.execution import Executor
from certforecast.execution.record import held_out_rows
from certforecast.history import History
from certforecast.planning import HeldOut, Plan
from certforecast.settings import Settings
from tests.execution.test_workflow import ACTION

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LEFT = HeldOut(
    kind="renew",
    lineage="2" * 64,
    name="minor.example.org",
    fingerprint="2" * 64,
    host="minor.example.org",
    not_after=NOW + timedelta(days=9),
    probabilities=ACTION.probabilities,
    expected_loss_averted=7.0,
    share=0.1,
    why="left alone to learn from",
)


def plan(**others: object) -> Plan:
    values = {"id": "p1", "created_at": NOW, "as_of": NOW, "expires_at": NOW + timedelta(days=1)}
    return Plan.model_validate(values | {"actions": (), "held_out": (LEFT,)} | others)


def test_the_record_says_what_was_held_out_with_which_probability() -> None:
    batch = held_out_rows(plan(), "robot", NOW + timedelta(hours=1))
    with History(None) as history:
        assert history.append(batch).quarantined == 0
        # Carried out again an hour later, the plan left the same renewal alone for the same reason.
        history.append(held_out_rows(plan(), "robot", NOW + timedelta(hours=2)))
        (event,) = history.tables().events.execute().to_dict("records")
    assert (event["kind"], event["code"], float(event["detail"])) == ("held_out", "renew", 0.1)
    assert (event["fingerprint"], event["lineage"]) == ("2" * 64, "minor.example.org")
    assert (event["actor"], event["source"]) == ("robot", "executor")
    assert (event["at"], event["known_at"]) == (NOW, NOW + timedelta(hours=1))


def test_it_is_logged_when_the_plan_is_carried_out_and_not_before(tmp_path: Path) -> None:
    with History(None) as history:
        executor = Executor(Settings(home=tmp_path), history, clock=lambda: NOW)
        made = plan().signed(tmp_path)
        assert executor.run(made) == []
        assert history.tables().events.count().execute() == 0
        assert executor.run(made, execute=True) == []
        assert history.tables().events.kind.execute().tolist() == ["held_out"]


def test_a_plan_that_acts_on_what_it_holds_out_is_refused(tmp_path: Path) -> None:
    both = plan(actions=(ACTION,), held_out=(LEFT.model_copy(update={"fingerprint": ACTION.fingerprint}),))
    both = both.signed(tmp_path)
    for execute in (False, True):
        with pytest.raises(PlanError, match=r"both acts on www\.example\.org and holds it out"):
            Executor(Settings(home=tmp_path), clock=lambda: NOW).run(both, execute=execute)
