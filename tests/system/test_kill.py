"""Killed at any step and started again, an action ends well, and the site is served all the time."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from certforecast.execution.results import ActionResult
from certforecast.history import History
from certforecast.planning.plan import Plan
from certforecast.settings import Settings
from tests.system.pebble import pebble
from tests.system.site import Prober, Site

pytestmark = pytest.mark.system

STEPS = ("order", "issue", "stage", "check", "install", "verify", "clear")


def act_and_die(
    plan: Plan, settings: Settings, folder: Path, steps: Sequence[str], last: Plan | None = None
) -> list[ActionResult]:
    """Carry a plan out in processes that die around each of the steps, and one that lives."""
    files = [folder / name for name in ("plan.json", "last.json", "settings.json")]
    plan.write(files[0])
    (last or plan).write(files[1])
    files[2].write_text(settings.model_dump_json())
    done = subprocess.run(
        [sys.executable, "-m", "tests.system.kill_driver", *files, *steps],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=150,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [ActionResult.model_validate(row) for row in json.loads(done.stdout)]


def test_killed_around_every_step(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        settings, issued = site.settings(), site.issued()
        with Prober(site.endpoint, site.roots) as prober:
            (result,) = act_and_die(site.plan(site.action()), settings, tmp_path, STEPS)
        assert result.status == "verified", result.detail
        assert prober.refused == []
        assert len(prober.looks) > 50
        assert set(prober.looks) == {site.before, result.fingerprint_after}
        assert prober.looks == sorted(prober.looks, key=lambda seen: seen != site.before)  # and never back
        assert 1 <= site.issued() - issued <= 2
        assert not list(settings.staging_path.iterdir())
        with History(settings.store_path) as history:
            kinds = list(history.tables().events.to_pandas().sort_values("at", kind="stable")["kind"])
        assert sorted(kinds) == sorted(
            ["order_created", "issued", "staged", "installed", "reloaded", "verified"]
        )


def test_killed_in_a_rollback(tmp_path: Path) -> None:
    with Site(tmp_path, deaf=True).served() as site:
        settings = site.settings(executor={"verify_timeout_s": 0.5})
        with Prober(site.endpoint, site.roots) as prober:
            (result,) = act_and_die(site.plan(site.action()), settings, tmp_path, ["verify", "rollback"])
        assert result.status == "rolled_back", result.detail
        assert prober.refused == []
        assert set(prober.looks) == {site.before}
        assert site.look().fingerprint == site.before


def test_killed_while_an_acme_server_issues(tmp_path: Path) -> None:
    with pebble(tmp_path / "pebble") as server, Site(tmp_path).served() as site:
        both = tmp_path / "both.pem"
        both.write_bytes(site.roots.read_bytes() + server.trust_file.read_bytes())
        settings = site.settings(issuers={"acme": server.section(trust_file=both)})
        with Prober(site.endpoint, both) as prober:
            plan = site.plan(site.action(issuer="acme"))
            (result,) = act_and_die(plan, settings, tmp_path, ["order", "issue", "install"])
        assert result.status == "verified", result.detail
        assert prober.refused == []
        assert 1 <= server.issued() <= 2


def test_what_was_begun_under_an_old_plan_is_finished_under_a_new_one(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        settings = site.settings()
        old, new = site.plan(site.action()), site.plan(site.action(kind="escalate"))
        (result,) = act_and_die(old, settings, tmp_path, ["verify"], last=new)
        assert result.status == "for_people"
        with History(settings.store_path) as history:
            kinds = set(history.tables().events.to_pandas()["kind"])
        assert {"installed", "verified"} <= kinds
        assert not list(settings.staging_path.iterdir())
        assert site.look().fingerprint != site.before
