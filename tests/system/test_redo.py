"""What may have happened in the meantime: steps done again, others who renewed, watchers that fail."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from certforecast.execution import Executor
from certforecast.execution.steps import Steps
from certforecast.history import History
from tests.system.site import Site, plan_of

pytestmark = pytest.mark.system


def done_until(site: Site, last: str) -> tuple[Steps, Any, dict[str, Any]]:
    """Take an action through its steps by hand, up to one."""
    action, done = site.action(), dict[str, Any]()
    steps = Steps(site.settings(), lambda: plan_of(action).created_at)
    for name in ("order", "issue", "stage", "check", "install"):
        done[name] = getattr(steps, name)(action, done)
        if name == last:
            break
    return steps, action, done


def test_a_check_whose_checkpoint_was_lost_after_the_swap_goes_on(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        steps, action, done = done_until(site, "install")
        assert site.in_place() != site.before
        del done["check"], done["install"]
        done["check"] = steps.check(action, done)
        assert done["check"]["before"] == [site.before], "what a rollback goes back to"
        done["install"] = steps.install(action, done)
        assert "error" not in done["install"]
        assert "error" not in steps.verify(action, done)
        steps.rollback(action, done)
        assert site.look().fingerprint == site.before


def test_what_somebody_else_put_in_place_meanwhile_is_left_alone(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        steps, action, done = done_until(site, "check")
        theirs = site.deploy()
        told = steps.install(action, done)
        assert told["error"]["code"] == "superseded"
        assert told["touched"] == 0
        assert site.in_place() == theirs


def test_the_same_renewal_by_two_plans_is_done_once(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        issued, first, second = site.issued(), site.plan(site.action()), site.plan(site.action(id="other"))
        (done,) = Executor(site.settings()).run(first, execute=True)
        assert done.status == "verified", done.detail
        (skipped,) = Executor(site.settings()).run(second, execute=True)
        assert skipped.status == "skipped"
        assert "somebody renewed" in skipped.detail
        assert site.issued() == issued + 1
        assert site.look().fingerprint == done.fingerprint_after


def test_a_watcher_that_fails_ends_nothing(tmp_path: Path) -> None:
    def on_step(name: str, step: str) -> None:
        raise BrokenPipeError(name, step)

    with Site(tmp_path).served() as site:
        (done,) = Executor(site.settings()).run(site.plan(site.action()), execute=True, on_step=on_step)
        assert done.status == "verified", done.detail


def test_a_plan_made_elsewhere_is_carried_out_with_the_public_key_alone(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        elsewhere, home = tmp_path / "elsewhere", site.home / "home"
        plan = plan_of(site.action()).signed(elsewhere)
        home.mkdir()
        shutil.copy(elsewhere / "signing.pub", home)
        (done,) = Executor(site.settings()).run(plan, execute=True)
        assert done.status == "verified", done.detail
        assert not (home / "signing.key").exists()


def test_an_action_without_names_is_told_and_holds_up_nothing(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site, History(None) as history:
        plan = site.plan(site.action(names=()), site.action(id="next"))
        executor = Executor(site.settings(), history)
        told = executor.run(plan, execute=True)
        assert [result.status for result in told] == ["failed", "verified"]
        assert "has no names" in told[0].detail
        kinds = list(history.tables().events.to_pandas()["kind"])
        assert {"order_failed", "verified"} <= set(kinds)
        assert executor.run(plan, execute=True) == told
