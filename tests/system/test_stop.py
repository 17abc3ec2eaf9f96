"""The switch that stops everything: nothing begins, what is half-way is proven, and all goes on later."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certforecast.errors import ExecutionError
from certforecast.execution import Executor
from certforecast.execution.control import control
from certforecast.execution.status import executor_status
from tests.system.site import Site

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
