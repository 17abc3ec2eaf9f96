"""The executor does what is its own, and not before its time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certforecast.execution import Executor
from certforecast.planning import Action, Plan
from certforecast.settings import Settings
from tests.execution.test_workflow import ACTION

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def outcome(action: Action, tmp_path: Path, *, execute: bool) -> tuple[str, str]:
    plan = Plan(id="p1", created_at=NOW, as_of=NOW, expires_at=NOW + timedelta(days=1), actions=(action,))
    plan = plan.signed(tmp_path)
    (result,) = Executor(Settings(home=tmp_path), clock=lambda: NOW).run(plan, execute=execute)
    return result.status, result.detail


@pytest.mark.parametrize("execute", [False, True])
def test_nothing_begins_before_its_start(tmp_path: Path, execute: bool) -> None:
    later = ACTION.model_copy(update={"start": NOW + timedelta(hours=5)})
    status, detail = outcome(later, tmp_path, execute=execute)
    assert (status, detail) == ("waiting", "it may begin at 2026-11-01 05:00 UTC: act again then")
    # At its start it is tried: there is no such issuer here, which is how it shows.
    now = ACTION.model_copy(update={"start": NOW})
    assert outcome(now, tmp_path, execute=execute)[0] == "failed"


@pytest.mark.parametrize("execute", [False, True])
def test_what_waits_and_what_is_for_people_is_left_alone(tmp_path: Path, execute: bool) -> None:
    wait = ACTION.model_copy(update={"kind": "wait", "then": "renew", "reasons": ("x", "waits until then")})
    assert outcome(wait, tmp_path, execute=execute) == ("waiting", "waits until then")
    for kind in ("fix", "rehearse", "escalate", "retire"):
        theirs = ACTION.model_copy(update={"kind": kind})
        assert outcome(theirs, tmp_path, execute=execute)[0] == "for_people"
