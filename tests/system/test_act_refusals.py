"""What 'certforecast act --execute' refuses, on the command line: with the reason, and nothing touched."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certforecast.history import History
from certforecast.planning import Plan
from tests.system.site import Site

pytestmark = pytest.mark.system

MAIN = [sys.executable, "-c", "from certforecast.cli import main; main()"]


def settings_file(site: Site, more: str = "") -> Path:
    path = site.home / "certforecast.toml"
    path.write_text(
        f"""home = "{site.home}/home"
        {more}
        [issuers.ca]
        kind = "embedded"
        directory = "{site.home}/ca"
        [installers.files]
        kind = "files"
        certificate = "{site.home}/tls/{{name}}/fullchain.pem"
        key = "{site.home}/tls/{{name}}/privkey.pem"
        pid_file = "{site.home}/run/{{name}}.pid"
        """
    )
    return path


def act(config: Path, plan: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    command = [*MAIN, "--config", str(config), "act", str(plan), "--execute", *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def untouched(site: Site) -> dict[Path, tuple[float, bytes]]:
    folders = (site.certificate.parent, site.home / "ca")
    return {
        path: (path.lstat().st_mtime, path.read_bytes())
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("why", "said", "status"),
    [
        ("a byte", "was changed after it was signed", 3),
        ("expired", "expired at", 2),
        ("unapproved", "2 people must approve it", 2),
        ("not allowed", "executor.allowed_installers does not allow", 2),
        ("unsigned", "is not signed", 3),
    ],
)
def test_it_is_refused_and_nothing_is_touched(tmp_path: Path, why: str, said: str, status: int) -> None:
    more = {
        "unapproved": "[approvals]\nabove = 0",
        "not allowed": '[executor]\nallowed_installers = ["web"]',
    }
    with Site(tmp_path).served() as site:
        config, path = settings_file(site, more.get(why, "")), tmp_path / "plan.json"
        home = site.home / "home"
        plan: Plan = site.plan(site.action())
        if why == "expired":
            past = datetime.now(UTC) - timedelta(minutes=1)
            plan = plan.model_copy(update={"expires_at": past}).signed(home)
        if why == "unsigned":
            plan = plan.model_copy(update={"seal": None})
        plan.write(path)
        if why == "a byte":
            path.write_bytes(path.read_bytes().replace(b'"cost": 1.0', b'"cost": 2.0'))
        History(home / "history.duckdb").close()
        before = untouched(site)
        done = act(config, path)
        assert done.returncode == status, done.stderr
        assert said in done.stderr
        assert done.stdout == ""
        assert untouched(site) == before
        assert site.look().fingerprint == site.before


def test_the_same_plan_as_it_was_signed_is_carried_out(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        config, path = settings_file(site), tmp_path / "plan.json"
        site.plan(site.action()).write(path)
        History(site.home / "home" / "history.duckdb").close()
        done = act(config, path, "--check", "--json")
        assert done.returncode == 0, done.stderr
        assert '"status":"verified"' in done.stdout
        assert site.look().fingerprint != site.before
