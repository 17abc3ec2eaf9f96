"""ARI against acme2certifier: windows fetched and heeded, `replaces` sent, early windows acted on at once."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cryptography import x509

from certforecast.clock import system_clock
from certforecast.execution import Executor
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.issuers.suggestions import certid_of
from certforecast.features import features
from certforecast.history import History
from certforecast.planning import Plan, make_plan
from certforecast.renewals import renewals
from certforecast.settings import Settings
from tests.system.acme2certifier import Acme2Certifier, acme2certifier
from tests.system.site import Site

pytestmark = pytest.mark.system

SAFE = {"p_on_time": 0.97, "p_slipped": 0.01, "p_failed": 0.01, "p_retired": 0.01}
RISKY = {"p_on_time": 0.4, "p_slipped": 0.2, "p_failed": 0.4, "p_retired": 0.0}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Acme2Certifier]:
    with acme2certifier(tmp_path_factory.mktemp("acme") / "home", threshold=60.0) as running:
        yield running


class Place:
    """A site on acme2certifier's certificates, its settings, and its store."""

    def __init__(self, site: Site, server: Acme2Certifier, folder: Path) -> None:
        self.site, self.server = site, server
        self.both = folder / "both.pem"
        self.both.write_bytes(site.roots.read_bytes() + server.trust_file.read_bytes())
        section = server.section(trust_file=self.both)
        chosen = {"issuer": "acme", "installer": "files"}
        self.settings: Settings = site.settings(
            issuers={"acme": AcmeIssuerSettings(**section)}, executor=chosen
        )
        self.settings.home.mkdir()
        self.config = folder / "certforecast.toml"
        lines = [f'home = "{self.settings.home}"', "[executor]", 'issuer = "acme"', "[issuers.acme]"]
        lines += [f"{key} = {json.dumps(value, default=str)}" for key, value in section.items()]
        self.config.write_text("\n".join(lines) + "\n")

    def act(self, plan: Plan) -> None:
        with History(self.settings.store_path) as history:
            (result,) = Executor(self.settings, history).run(plan, execute=True)
        assert result.status == "verified", result.detail

    def poll(self) -> list[dict[str, Any]]:
        """Run the command."""
        main = "from certforecast.cli import main; main()"
        command = [sys.executable, "-c", main, "--config", str(self.config), "ari", "--json"]
        done = subprocess.run(command, check=True, capture_output=True, timeout=120)
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def time_passes(self) -> None:
        """Let the time come at which the server allows to be asked again."""
        with sqlite3.connect(self.settings.home / "ari.sqlite") as database:
            assert database.execute("UPDATE answers SET again = 0").rowcount

    def plan(self, at: datetime, forecast: dict[str, float]) -> Plan:
        with History(self.settings.store_path) as history:
            frame = features(history, at)
            forecasts = pd.concat([frame, pd.DataFrame([forecast] * len(frame))], axis=1)
            return make_plan(history, forecasts, at, self.settings, clock=lambda: at).signed(
                self.settings.home
            )

    def due(self) -> datetime:
        with History(self.settings.store_path) as history:
            frame = renewals(history, system_clock(), self.settings.policy)
        (row,) = frame[frame["fingerprint"] == self.site.look().fingerprint].to_dict("records")
        moment: datetime = row["due"].to_pydatetime()
        return moment


@pytest.fixture
def place(server: Acme2Certifier, tmp_path: Path) -> Iterator[Place]:
    server.restart(threshold=60.0)
    with Site(tmp_path).served() as site:
        made = Place(site, server, tmp_path)
        made.act(site.plan(site.action(issuer="acme")))
        yield made


def test_the_window_is_fetched_stored_and_heeded(place: Place, server: Acme2Certifier) -> None:
    (told,) = place.poll()
    der = place.site.look().der
    assert der is not None
    leaf = x509.load_der_x509_certificate(der)
    start, end = (datetime.fromisoformat(told["window"][name]) for name in ("start", "end"))
    lifetime = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    assert abs(start - (leaf.not_valid_before_utc + 0.6 * lifetime)) < timedelta(seconds=2)
    assert abs(end - leaf.not_valid_after_utc) < timedelta(seconds=2)
    assert (told["issuer"], told["early"], told["fresh"], told["problem"]) == ("acme", False, True, None)
    due = place.due()
    assert due == datetime.fromisoformat(told["window"]["moment"])
    assert start <= due <= leaf.not_valid_after_utc - timedelta(days=9)  # the slip point, at a tenth
    # In good time nothing is planned; close to it, the executor waits for the moment and no longer.
    assert place.plan(system_clock(), SAFE).actions == ()
    (action,) = place.plan(due - timedelta(days=2), RISKY).actions
    assert (action.kind, action.then, action.start) == ("wait", "renew", due)
    (action,) = place.plan(due + timedelta(hours=1), RISKY).actions
    assert (action.kind, action.start) == ("renew", due + timedelta(hours=1))
    # Nobody is asked before it is time.
    server.stop()
    (again,) = place.poll()
    assert again == told | {"fresh": False}


def test_an_early_window_is_acted_upon_within_one_poll(place: Place, server: Acme2Certifier) -> None:
    old = place.site.look()
    (told,) = place.poll()
    assert not told["early"]
    server.restart(early=True)
    place.time_passes()
    (told,) = place.poll()
    assert (told["early"], told["fresh"]) == (True, True)
    now = system_clock()
    plan = place.plan(now, SAFE)
    (action,) = plan.actions
    assert (action.kind, action.start, action.fingerprint) == ("renew", now, old.fingerprint)
    assert action.reasons[0].startswith("its CA wants it replaced early, as before a revocation")
    place.act(plan)
    assert old.der is not None
    assert server.orders()[-1]["replaces"] == certid_of(old.der)
    assert place.site.look().fingerprint != old.fingerprint
    # What is replaced is not asked about again.
    place.time_passes()
    assert [one["fingerprint"] for one in place.poll()] == [place.site.look().fingerprint]


def test_a_server_that_is_away_takes_nothing_back(place: Place, server: Acme2Certifier) -> None:
    (before,) = place.poll()
    place.time_passes()
    server.stop()
    (after,) = place.poll()
    assert "cannot be reached" in after["problem"]
    assert after["window"] == before["window"]
    hours = datetime.fromisoformat(after["ask_again"]) - system_clock()
    assert timedelta(hours=5.9) < hours <= timedelta(hours=6)
    assert place.due() == datetime.fromisoformat(before["window"]["moment"])
