"""The real certbot at pebble: it issues, renews, fails; its tree and its log are read."""

import gzip
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certforecast.history import History
from certforecast.history.sources.certbot import CertbotSource
from tests.history.sources.reading import read
from tests.system.pebble import Pebble, pebble

pytestmark = pytest.mark.system

#: Half an hour off the full one, and far from UTC: the log's times are taken from the answers in it.
ZONE = "Asia/Kolkata"


class Certbot:
    """certbot, with everything it writes below `home`."""

    def __init__(self, home: Path, server: Pebble) -> None:
        self.home, self.tree, self.logs = home, home / "etc", home / "log"
        self.environment = os.environ | {"REQUESTS_CA_BUNDLE": str(server.ca_file), "TZ": ZONE}
        self.options = [
            *("--config-dir", str(self.tree), "--work-dir", str(home / "work"), "--logs-dir", str(self.logs)),
            *("--server", server.directory_url, "--http-01-port", str(server.http_port)),
            *("--http-01-address", "127.0.0.1", "--non-interactive", "--agree-tos"),
            *("--register-unsafely-without-email", "--no-random-sleep-on-renew"),
        ]

    def __call__(self, *arguments: str) -> int:
        command = [str(Path(sys.executable).with_name("certbot")), *arguments, *self.options]
        done = subprocess.run(command, env=self.environment, capture_output=True, timeout=60)
        return done.returncode

    def source(self) -> CertbotSource:
        return CertbotSource(self.tree, timezone=ZONE)


def told(source: CertbotSource, *kinds: str) -> list[tuple[str | None, ...]]:
    events = sorted(read(source).events, key=lambda row: (row["at"], row["kind"]))
    return [
        (row["lineage"], row["host"], row["kind"], row.get("code")) for row in events if row["kind"] in kinds
    ]


def test_issues_renewals_and_failures(tmp_path: Path) -> None:
    began = datetime.now(UTC) - timedelta(seconds=1)
    with pebble(tmp_path / "pebble", nonce_reject=0, blocked=("blocked.test",)) as server:
        certbot = Certbot(tmp_path / "certbot", server)
        hook = ("--deploy-hook", "false")
        assert certbot("certonly", "--standalone", "-d", "b.test", "-d", "a.test") == 0
        assert certbot("certonly", "--standalone", "-d", "c.test", "--cert-name", "c.test-0001", *hook) == 0
        server.dns("set-servfail", host="a.test")
        assert certbot("renew", "--force-renewal") == 1
        assert certbot("certonly", "--standalone", "-d", "blocked.test") == 1
        assert certbot("certonly", "--standalone", "-d", "c.test", "--dry-run") == 0
        assert certbot("delete", "--cert-name", "b.test") == 0

    failures = told(certbot.source(), "challenge_failed", "order_failed", "install_failed", "retired")
    assert failures == [
        ("c.test-0001", "c.test", "install_failed", "deploy-hook"),
        ("b.test", "a.test", "challenge_failed", "connection"),
        ("b.test", "a.test", "order_failed", "connection"),
        ("c.test-0001", "c.test", "install_failed", "deploy-hook"),
        ("blocked.test", "blocked.test", "order_failed", "rejectedIdentifier"),
        ("b.test", None, "retired", None),
    ]
    orders = told(certbot.source(), "order_created")
    assert [lineage for lineage, *_ in orders] == ["b.test", "c.test-0001", "b.test", "c.test-0001"]
    # b.test was issued once; its files are gone, the log knows. c.test-0001 has two files.
    issued = told(certbot.source(), "issued")
    assert [lineage for lineage, *_ in issued] == ["b.test", "c.test-0001", "c.test-0001"]
    rows = read(certbot.source()).events
    assert all(began <= row["at"] == row["known_at"] <= datetime.now(UTC) for row in rows)

    # Only the run that met no CA needs the time zone.
    (rejected,) = read(CertbotSource(certbot.tree)).rejected
    assert "retired" in rejected.reason
    assert "timezone" in rejected.reason

    with History(None) as history:
        first = history.ingest(certbot.source())
        assert first.new > 10
        assert history.ingest(certbot.source()).changed == 0
        rotate(certbot.logs)
        again = history.ingest(certbot.source())
        assert again.changed == 0
        assert history.counts()["quarantine"] == 0


def rotate(logs: Path) -> None:
    """Do what logrotate does: everything a number further, and packed."""
    for path in sorted(logs.glob("letsencrypt.log*"), key=number, reverse=True):
        with gzip.open(logs / f"letsencrypt.log.{number(path) + 1}.gz", "wb") as packed:
            packed.write(path.read_bytes())
        path.unlink()


def number(path: Path) -> int:
    return int(path.suffix[1:]) if path.suffix[1:].isdigit() else 0
