"""What another version of the executor began is taken over where that is safe, and told where it is not."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from certforecast.execution import Executor, upgrading
from certforecast.execution.control import control
from certforecast.execution.leases import lease
from certforecast.execution.status import executor_status
from certforecast.execution.worker import work
from certforecast.settings import Settings
from tests.system.half_way import leave_half_way
from tests.system.postgres import postgres
from tests.system.site import Site

pytestmark = pytest.mark.system


@pytest.fixture
def understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrading, "_UNDERSTOOD", frozenset({upgrading.VERSION, "1.9"}))


def alter(settings: Settings, *queries: str) -> None:
    """Change the executor's database."""
    schema = "dbos." if settings.database_url else ""
    with control(settings) as notes, notes.engine.begin() as connection:
        for query in queries:
            assert connection.execute(text(query.replace("dbos.", schema))).rowcount


AGED = "UPDATE dbos.workflow_status SET application_version = '1.9'"


@pytest.mark.usefixtures("understood")
@pytest.mark.parametrize("step", ["order", "install"])
def test_what_an_older_version_left_is_ended(tmp_path: Path, step: str) -> None:
    with Site(tmp_path).served() as site:
        settings, plan = site.settings(), site.plan(site.action())
        leave_half_way(plan, settings, tmp_path, site.name, step)
        alter(settings, AGED)
        (told,) = executor_status(settings, datetime.now(UTC)).runs
        assert told.status == "of another version"
        assert "or a worker ends it" in told.detail
        (result,) = Executor(settings).run(plan, execute=True)
        assert result.status == "verified", result.detail
        assert site.look().fingerprint == result.fingerprint_after != site.before


@pytest.mark.parametrize(
    ("known", "changes", "said"),
    [
        (False, [AGED], "what it noted is not understood here"),
        (
            True,
            [AGED, "UPDATE dbos.operation_outputs SET function_name = 'prepare' WHERE function_id = 2"],
            "its steps come in another order here",
        ),
    ],
)
def test_what_cannot_go_on_is_left_and_told(
    tmp_path: Path,
    known: bool,
    changes: list[str],
    said: str,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if known:
        request.getfixturevalue("understood")
    with Site(tmp_path).served() as site:
        settings = site.settings()
        leave_half_way(site.plan(site.action()), settings, tmp_path, site.name)
        swapped = site.in_place()
        alter(settings, *changes)
        Executor(settings).run(site.plan(site.action(id="other", kind="escalate")), execute=True)
        assert said in caplog.text
        (told,) = executor_status(settings, datetime.now(UTC)).runs
        assert told.status == "of another version"
        assert f"begun by version 1.9 of the executor, its last step was check, and {said}" in told.detail
        assert "look what its server serves, then make a new plan" in told.detail
        assert site.in_place() == site.look().fingerprint == swapped


def end_after(seconds: float, end: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    return timer


@pytest.mark.parametrize("lives", [False, True])
def test_what_cannot_go_on_is_not_waited_for_by_its_own_plan(tmp_path: Path, lives: bool) -> None:
    """Neither where its process was gone before, nor where it goes while this one waits for it."""
    with postgres() as server, Site(tmp_path).served() as site, ExitStack() as stack:
        settings = site.settings(database_url=server.url)
        plan = site.plan(site.action())
        leave_half_way(plan, settings, tmp_path, site.name)
        swapped, began = site.in_place(), time.monotonic()
        alter(settings, AGED)
        if lives:  # a lease stands for the process of the older version
            held = ExitStack()
            alive = held.enter_context(lease(settings, leads=False))
            alter(settings, f"UPDATE dbos.workflow_status SET executor_id = '{alive.name}'")
            stack.callback(end_after(4.0, held.close).join)
        notes = stack.enter_context(control(settings))
        patience = end_after(45.0, lambda: notes.stop("the test", datetime.now(UTC), "it hangs"))
        stack.callback(patience.cancel)
        (result,) = Executor(settings).run(plan, execute=True)
        assert result.status == "failed", result.detail
        assert "begun by version 1.9 of the executor, its last step was check, and what it" in result.detail
        assert (time.monotonic() - began > 4.0) or not lives
        assert site.in_place() == site.look().fingerprint == swapped


@pytest.mark.usefixtures("understood")
def test_a_worker_takes_over_from_the_dead_of_an_older_version_only(tmp_path: Path) -> None:
    with postgres() as server, Site(tmp_path).served() as site:
        settings, plan = site.settings(database_url=server.url), site.plan(site.action())
        leave_half_way(plan, settings, tmp_path, site.name)
        with lease(settings, leads=False) as alive:  # stands for the process of the older version
            alter(settings, f"{AGED}, executor_id = '{alive.name}'")
            ended, steps = threading.Event(), list[str]()
            threading.Timer(6.0, ended.set).start()
            work(settings, ended, on_step=lambda _, step: steps.append(step))
            assert steps == []
        ended = threading.Event()
        timer = threading.Timer(60.0, ended.set)
        timer.start()

        def on_step(_: str, step: str) -> None:
            steps.append(step)
            if step == "clear":
                ended.set()

        work(settings, ended, on_step=on_step)
        timer.cancel()
        assert steps == ["install", "verify", "clear"]
        assert site.look().fingerprint == site.in_place() != site.before
