"""The switch that stops everything: nothing begins, what is half-way is proven, and all goes on later."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from certforecast.errors import ExecutionError
from certforecast.execution import Executor
from certforecast.execution.control import control
from certforecast.execution.status import executor_status
from certforecast.execution.worker import work
from certforecast.history import History
from tests.system.half_way import leave_half_way
from tests.system.postgres import postgres
from tests.system.site import Prober, Site

pytestmark = pytest.mark.system


def stopping(site: Site, at: str, seen: list[str]) -> Any:
    """Give a watcher that stops everything when a step begins."""

    def on_step(_: str, step: str) -> None:
        seen.append(step)
        if step == at:
            with control(site.settings()) as notes:
                notes.stop("ops", datetime.now(UTC), "a drill")
            time.sleep(0.6)  # longer than the switch is looked at

    return on_step


@pytest.mark.parametrize("at", ["order", "issue", "check"])
def test_what_changed_nothing_yet_stands_still_and_goes_on_later(tmp_path: Path, at: str) -> None:
    with Site(tmp_path).served() as site:
        plan, seen = site.plan(site.action(), site.action(id="next", kind="escalate")), list[str]()
        results = Executor(site.settings()).run(plan, execute=True, on_step=stopping(site, at, seen))
        assert [result.status for result in results] == ["stopped", "for_people"]
        assert "stopped by ops" in results[0].detail
        assert "(a drill)" in results[0].detail
        assert seen[-1] == at, "no step began after it"
        assert site.look().fingerprint == site.before
        with pytest.raises(ExecutionError, match="'certforecast resume' lets it go on"):
            Executor(site.settings()).run(plan, execute=True)
        told = executor_status(site.settings(), datetime.now(UTC))
        assert told.stopped is not None
        assert (told.stopped.by, told.counts) == ("ops", {"under way": 1})
        with control(site.settings()) as notes:
            notes.resume()
        later: list[str] = []
        results = Executor(site.settings()).run(
            plan, execute=True, on_step=lambda _, step: later.append(step)
        )
        assert [result.status for result in results] == ["verified", "for_people"]
        assert at not in later[: later.index("clear")], "what was done is not done again"
        assert site.look().fingerprint == results[0].fingerprint_after


def test_what_is_half_way_is_proven_before_it_stands_still(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        seen: list[str] = []
        (result,) = Executor(site.settings()).run(
            site.plan(site.action()), execute=True, on_step=stopping(site, "install", seen)
        )
        assert seen[-2:] == ["verify", "clear"]
        assert site.look().fingerprint != site.before
        assert result.status in ("verified", "stopped")


def test_a_stop_from_another_thread_is_heeded_within_a_second(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        begun, stopped = threading.Event(), list[float]()
        steps: list[float] = []

        def on_step(_: str, step: str) -> None:
            steps.append(time.monotonic())
            begun.set()
            time.sleep(0.3)  # so that several steps would begin after the stop

        def press() -> None:
            assert begun.wait(20)
            with control(site.settings()) as notes:
                notes.stop("ops", datetime.now(UTC))
            stopped.append(time.monotonic())

        thread = threading.Thread(target=press)
        thread.start()
        (result,) = Executor(site.settings()).run(site.plan(site.action()), execute=True, on_step=on_step)
        thread.join(20)
        assert result.status == "stopped"
        assert max(steps) < stopped[0] + 1.0


@pytest.mark.parametrize("step", ["check", "install", "verify"])
def test_what_was_killed_half_way_is_proven_though_all_is_stopped(tmp_path: Path, step: str) -> None:
    """And what began nothing stands still, though it is first in the line and takes the only place."""
    with Site(tmp_path).served() as site, Site(tmp_path, "first.other.test").served() as first:
        # An installer each: the first action at one goes alone.
        installers = {name: site.settings().installers["files"] for name in ("files", "another")}
        settings = site.settings(installers=installers, executor={"workers": 2})
        plan = site.plan(first.action(installer="another"), site.action())
        leave_half_way(plan, settings, tmp_path, site.name, step)
        issued, swapped = site.issued(), site.in_place()
        assert (swapped == site.before) == (step == "check")
        with control(settings) as notes:
            notes.stop("ops", datetime.now(UTC), "a drill")
            with notes.engine.begin() as connection:  # as if another process had set it
                assert connection.execute(text("UPDATE queues SET worker_concurrency = 1")).rowcount
        later = list[tuple[str, str]]()
        with (
            History(settings.store_path) as history,
            Prober(site.endpoint, site.roots) as prober,
            pytest.raises(ExecutionError, match="'certforecast resume' lets it go on"),
        ):
            Executor(settings, history).run(plan, execute=True, on_step=lambda *told: later.append(told))
        assert site.look().fingerprint == swapped, "proven, or untouched if nothing was in place yet"
        assert prober.refused == []
        assert site.issued() == issued
        assert first.look().fingerprint == first.before
        if step == "check":
            assert later == []
        else:
            assert later[-2:] == [(site.name, "verify"), (site.name, "clear")]
            with History(settings.store_path) as history:
                assert "verified" in set(history.tables().events.to_pandas()["kind"])
        with control(settings) as notes:
            notes.resume()
        results = Executor(settings).run(plan, execute=True)
        assert [result.status for result in results] == ["verified", "verified"]


def test_what_was_killed_half_way_is_put_back_though_all_is_stopped(tmp_path: Path) -> None:
    with Site(tmp_path, deaf=True).served() as site:
        settings, plan = site.settings(executor={"verify_timeout_s": 0.5}), site.plan(site.action())
        leave_half_way(plan, settings, tmp_path, site.name)
        assert site.in_place() != site.before
        with control(settings) as notes:
            notes.stop("ops", datetime.now(UTC))
        with pytest.raises(ExecutionError, match="'certforecast resume' lets it go on"):
            Executor(settings).run(plan, execute=True)
        assert site.in_place() == site.look().fingerprint == site.before


def test_a_worker_proves_what_another_left_half_way_though_all_is_stopped(tmp_path: Path) -> None:
    with postgres() as server, Site(tmp_path).served() as site:
        settings, plan = site.settings(database_url=server.url), site.plan(site.action())
        leave_half_way(plan, settings, tmp_path, site.name)
        with control(settings) as notes:
            notes.stop("ops", datetime.now(UTC))
        ended, steps = threading.Event(), list[str]()

        def on_step(_: str, step: str) -> None:
            steps.append(step)
            if step == "clear":
                ended.set()

        threading.Timer(60, ended.set).start()
        work(settings, ended, on_step=on_step)
        assert steps == ["install", "verify", "clear"]
        assert site.look().fingerprint == site.in_place() != site.before
