"""Rehearsals against real servers: two pebbles, as production and as staging, and an nginx."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from certforecast.execution.issuers.embedded import EmbeddedIssuer
from certforecast.execution.rehearsal import Rehearsal, rehearse
from certforecast.execution.staging import new_key
from certforecast.features import features
from certforecast.history import History
from certforecast.history.sources import Batch
from certforecast.history.x509 import certificate_row
from certforecast.planning import named_rehearsals
from certforecast.renewals import renewals
from certforecast.settings import Settings
from tests.system.pebble import Pebble, pebble
from tests.system.site import nginx_section

pytestmark = pytest.mark.system

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
NAMES = ("good.test", "blocked.test", "caa.test", "readonly.test", "broken.test")


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("production")) as running:
        yield running


@pytest.fixture(scope="module")
def staging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    # As real ones do, it would take a name that was validated once as valid.
    with pebble(tmp_path_factory.mktemp("staging"), reuse=100) as running:
        running.dns("add-a", host="blocked.test", addresses=["127.0.0.9"])
        running.dns("add-caa", host="caa.test", policies=[{"tag": "issue", "value": "other-ca.test"}])
        yield running


class Fleet:
    """Five sites on one nginx, which also serves the challenges of all of them from one web root."""

    def __init__(self, home: Path, production: Pebble, staging: Pebble) -> None:
        self.home, self.production, self.staging = home, production, staging
        self.webroot = home / "www"
        self.webroot.mkdir()
        self.ca = EmbeddedIssuer(home / "ca")
        self.certificates = {name: self._deployed(name) for name in NAMES}
        for name in NAMES:
            (home / f"{name}.conf").write_text(self._configuration())
        both = home / "servers.pem"
        both.write_bytes(production.ca_file.read_bytes() + staging.ca_file.read_bytes())
        self.sections = {
            "home": home / "home",
            "issuers": {
                "acme": production.section(
                    ca_file=both,
                    webroot=self.webroot,
                    caa_identities=["our-ca.test"],
                    staging_directory_url=staging.directory_url,
                    staging_account_key=home / "keys" / "staging.pem",
                    account_key=home / "keys" / "account.pem",
                )
            },
            "installers": {
                "web": nginx_section(home, NGINX, "{name}.conf"),
            },
            "executor": {"issuer": "acme", "installer": "web"},
            "rehearsal": {
                "resolver": f"127.0.0.1:{staging.ports['dns']}",
                "http_port": staging.http_port,
                "timeout_s": 30.0,
            },
        }
        self.settings = Settings(**self.sections)
        self._fill_store()

    def _deployed(self, name: str) -> bytes:
        key = new_key()
        now = datetime.now(UTC)
        leaf = self.ca.certify(
            load_pem_private_key(key, None).public_key(),  # type: ignore[arg-type]
            [name],
            not_before=now - timedelta(days=40),
            not_after=now + timedelta(days=50),
        )
        folder = self.home / "tls" / name
        folder.mkdir(parents=True)
        (folder / "fullchain.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
        (folder / "privkey.pem").write_bytes(key)
        return leaf.public_bytes(Encoding.DER)

    def _configuration(self) -> str:
        user = "user root;" if os.geteuid() == 0 else ""  # the folders of pytest are for their owner alone
        return f"""
            {user} daemon off; worker_processes 1;
            # pid /nowhere;
            pid {self.home}/nginx.pid; error_log {self.home}/error.log;
            events {{}}
            http {{
                access_log off;
                client_body_temp_path {self.home}/b; proxy_temp_path {self.home}/p;
                fastcgi_temp_path {self.home}/f; uwsgi_temp_path {self.home}/u; scgi_temp_path {self.home}/s;
                server {{ listen 127.0.0.1:{self.staging.http_port}; root {self.webroot}; }}
            }}
            """

    def _fill_store(self) -> None:
        """Put into the store what a scan of the sites a day ago would have."""
        seen = datetime.now(UTC) - timedelta(days=1)
        batch = Batch()
        for name, der in self.certificates.items():
            row = certificate_row(der, source="scan", known_at=seen)
            batch.certificates.append(row)
            batch.observations.append(
                {
                    "observed_at": seen,
                    "host": name,
                    "port": 443,
                    "server_name": name,
                    "fingerprint": row["fingerprint"],
                    "source": "scan",
                    "known_at": seen,
                }
            )
        self.settings.home.mkdir()
        with History(self.settings.store_path) as history:
            history.append(batch, source="scan")

    def rehearse(self, *names: str, **others: Any) -> dict[str, Rehearsal]:
        with History(self.settings.store_path) as history:
            candidates = named_rehearsals(history, names, datetime.now(UTC), self.settings)
        return {made.name: made for _, made in rehearse(candidates, self.settings, **others)}

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        config = self.home / "certforecast.toml"
        config.write_text(_toml(self.settings))
        run = "from certforecast.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", run, "--config", str(config), "rehearse", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
        )

    def files(self) -> dict[str, bytes]:
        """Give every file of the sites: what is served, its settings, and the web root."""
        places = [self.home / "tls", self.webroot, *self.home.glob("*.conf")]
        found = [path for place in places for path in (place.rglob("*") if place.is_dir() else [place])]
        return {str(path): path.read_bytes() for path in found if path.is_file()}


def _toml(settings: Settings) -> str:
    def text(value: Any) -> str:
        return json.dumps(value)

    document = settings.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    lines = [f"{name} = {text(value)}" for name, value in document.items() if not isinstance(value, dict)]
    for name, section in document.items():
        if not isinstance(section, dict):
            continue
        nested = {key: value for key, value in section.items() if isinstance(value, dict)}
        lines += [f"[{name}]"] if len(nested) < len(section) else []
        lines += [f"{key} = {text(value)}" for key, value in section.items() if key not in nested]
        for key, values in nested.items():
            lines += [f"[{name}.{key}]", *(f"{inner} = {text(value)}" for inner, value in values.items())]
    return "\n".join(lines) + "\n"


@pytest.fixture
def fleet(
    tmp_path: Path,
    production: Pebble,
    staging: Pebble,
    start: Callable[[list[str], int], "subprocess.Popen[bytes]"],
) -> Fleet:
    made = Fleet(tmp_path, production, staging)
    command = [NGINX, "-p", str(tmp_path), "-c", f"{tmp_path}/good.test.conf", "-e", f"{tmp_path}/error.log"]
    start(command, staging.http_port)
    return made


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """Make a folder one that nobody may write to: rights do not stop root, the flag `immutable` does."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
        yield
        folder.chmod(0o755)
        return
    subprocess.run(["chattr", "+i", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", folder], check=True)


def codes(made: Rehearsal) -> set[tuple[str, str]]:
    return {(check, finding.code) for check, finding in made.findings}


def test_a_healthy_renewal_passes_and_nothing_is_changed(
    fleet: Fleet, production: Pebble, staging: Pebble
) -> None:
    before, ordered = fleet.files(), staging.issued()
    made = fleet.rehearse("good.test")["good.test"]
    assert made.findings == ()
    statuses = {result.check: result.status for result in made.checks}
    assert statuses.pop("records") == "left_out"  # of dns-01
    assert statuses == dict.fromkeys(
        (
            *("account", "clock", "dns", "caa", "challenge"),
            *("files", "disk", "configuration", "reload", "order"),
        ),
        "passed",
    )
    assert fleet.files() == before
    assert staging.issued() == ordered + 1
    assert not fleet.settings.staging_path.exists()
    assert sorted(path.name for path in (fleet.home / "keys").iterdir()) == ["staging.pem"]
    assert "order-plz" in (staging.home / "pebble.log").read_text()
    assert "order-plz" not in (production.home / "pebble.log").read_text()


def test_four_faults_are_found_and_named_and_what_is_well_stays_so(fleet: Fleet, staging: Pebble) -> None:
    configuration = fleet.home / "broken.test.conf"
    configuration.write_text(configuration.read_text().replace("events {}", "events {} htp {}"))
    ordered = staging.issued()
    folder = fleet.home / "tls" / "readonly.test"
    with unwritable(folder):
        names = [argument for name in NAMES for argument in ("--name", name)]
        done = fleet.command(*names, "--json", "--check")
    assert done.returncode == 1, done.stderr
    found = {made["name"]: Rehearsal.model_validate(_rehearsal(made)) for made in json.loads(done.stdout)}
    assert found.keys() == set(NAMES)

    assert codes(found["good.test"]) == set()
    assert codes(found["blocked.test"]) == {("challenge", "connection"), ("order", "connection")}
    assert codes(found["caa.test"]) == {("caa", "caa")}
    assert codes(found["readonly.test"]) == {("files", "permission")}
    assert codes(found["broken.test"]) == {("configuration", "config")}

    def message(name: str) -> str:
        return found[name].findings[0][1].message

    assert f"127.0.0.9: port {staging.http_port} cannot be reached: Connection refused" in message(
        "blocked.test"
    )
    assert "other-ca.test is allowed" in message("caa.test")
    assert str(folder) in message("readonly.test")
    assert "htp" in message("broken.test")
    assert "mend the configuration" in message("broken.test")
    assert staging.issued() == ordered + 4  # all but the blocked one: pebble 2.4 does not look at CAA

    # What was found is stored, is no intervention, and is known as a feature.
    with History(fleet.settings.store_path) as history:
        now = datetime.now(UTC)
        events = history.tables().events.to_pandas().set_index("lineage")
        assert set(events["kind"]) == {"rehearsed"}
        assert events["code"].fillna("").to_dict() == {
            "good.test": "",
            "blocked.test": "connection",
            "caa.test": "caa",
            "readonly.test": "permission",
            "broken.test": "config",
        }
        assert not renewals(history, now)["intervention"].any()
        known = features(history, now).set_index("name")
    assert known["rehearsal_failed"].to_dict() == {name: float(name != "good.test") for name in NAMES}
    assert (known["days_since_rehearsal"] < 0.01).all()


def _rehearsal(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key in Rehearsal.model_fields}


def test_a_clock_that_is_off_is_found(fleet: Fleet) -> None:
    slow = fleet.rehearse("good.test", clock=lambda: datetime.now(UTC) - timedelta(hours=2))["good.test"]
    assert codes(slow) == {("clock", "clock")}
    assert "7,200 s behind" in slow.findings[0][1].message


def test_a_path_that_is_served_from_elsewhere_is_found(fleet: Fleet, tmp_path: Path) -> None:
    fleet.settings = Settings(
        **{
            **fleet.sections,
            "issuers": {"acme": {**fleet.sections["issuers"]["acme"], "webroot": tmp_path / "elsewhere"}},
        }
    )
    (tmp_path / "elsewhere").mkdir()
    made = fleet.rehearse("good.test")["good.test"]
    assert codes(made) == {("challenge", "unauthorized"), ("order", "unauthorized")}


def test_every_rehearsal_is_validated_anew(fleet: Fleet, staging: Pebble) -> None:
    assert codes(fleet.rehearse("good.test")["good.test"]) == set()
    staging.dns("add-a", host="good.test", addresses=["127.0.0.9"])
    try:
        assert ("order", "connection") in codes(fleet.rehearse("good.test")["good.test"])
    finally:
        staging.dns("clear-a", host="good.test")


def test_an_account_that_is_gone_is_found(fleet: Fleet) -> None:
    key = fleet.home / "keys" / "account.pem"
    key.parent.mkdir()
    key.write_bytes(new_key())  # the authority has never seen it
    made = fleet.rehearse("good.test")["good.test"]
    assert codes(made) == {("account", "accountDoesNotExist")}


def test_a_server_that_is_down_could_not_reload(
    fleet: Fleet, start: Callable[[list[str], int], "subprocess.Popen[bytes]"]
) -> None:
    (fleet.home / "caa.test.conf").write_text(
        (fleet.home / "caa.test.conf").read_text().replace("nginx.pid", "other.pid")
    )
    made = fleet.rehearse("caa.test")["caa.test"]
    assert ("reload", "reload") in codes(made)
