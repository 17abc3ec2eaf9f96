"""Rehearsals on the command line, with an issuer of our own and plain files."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from certforecast.execution.issuers.embedded import EmbeddedIssuer
from certforecast.execution.staging import new_key
from certforecast.history import History
from certforecast.history.sources import Batch
from certforecast.history.x509 import certificate_row
from tests.cli.conftest import Shell


def deploy(home: Path, *names: str) -> None:
    """Put certificates in place, and in the store as a scan would."""
    now = datetime.now(UTC)
    seen, batch = now - timedelta(days=1), Batch()
    for name in names:
        key = new_key()
        leaf = EmbeddedIssuer(home / "ca").certify(
            load_pem_private_key(key, None).public_key(),  # type: ignore[arg-type]
            [name],
            not_before=now - timedelta(days=40),
            not_after=now + timedelta(days=50),
        )
        (home / name).mkdir()
        (home / name / "cert.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
        (home / name / "key.pem").write_bytes(key)
        row = certificate_row(leaf.public_bytes(Encoding.DER), source="scan", known_at=seen)
        batch.certificates.append(row)
        batch.observations.append(
            {
                **{"observed_at": seen, "host": name, "port": 443, "server_name": name, "source": "scan"},
                **{"fingerprint": row["fingerprint"], "known_at": seen},
            }
        )
    with History(home / "history.duckdb") as history:
        history.append(batch, source="scan")


def test_findings_are_shown_stored_and_an_exit_code(empty: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    home = empty.home
    home.mkdir()
    deploy(home, "good.test", "bad.test")
    (home / "bad.test" / "key.pem").unlink()
    issuer = {"kind": "embedded", "directory": str(home / "ca")}
    files = {"kind": "files", "certificate": f"{home}/{{name}}/cert.pem", "key": f"{home}/{{name}}/key.pem"}
    monkeypatch.setenv("CERTFORECAST_ISSUERS", json.dumps({"ca": issuer}))
    monkeypatch.setenv("CERTFORECAST_INSTALLERS", json.dumps({"web": files}))
    monkeypatch.setenv("CERTFORECAST_EXECUTOR", json.dumps({"issuer": "ca", "installer": "web"}))
    both = ("--name", "bad.test", "--name", "good.test")

    assert "bad.test" in empty("rehearse", *both, "--dry-run")
    bad, good = empty.json("rehearse", *both, "--check", expected=1)
    assert (bad["name"], good["name"]) == ("bad.test", "good.test")
    found = [(check["check"], one["code"]) for check in bad["checks"] for one in check["findings"]]
    assert found == [("files", "config")]
    assert {check["status"] for check in good["checks"]} == {"passed", "left_out"}
    assert empty.json("rehearse", "--name", "good.test", "--check")[0]["name"] == "good.test"

    shown = empty("rehearse", *both)
    assert f"{home}/bad.test/key.pem does not exist" in shown
    assert "order (the issuer ca is our own authority" in " ".join(shown.split())
    assert "1 of 2 rehearsals found something; nothing was installed" in empty.errors
    told = empty.json("renewals", "--lineage", "bad.test")
    assert [entry["text"][:17] for entry in told["entries"] if entry["kind"] == "rehearsed"] == [
        "rehearsed: config"
    ]
    assert "none.test" in empty.complaint("rehearse", "--name", "none.test")
