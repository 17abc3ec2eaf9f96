"""The real `openssl ca`: it issues, revokes and lets expire; what it wrote is read."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certforecast.history import History
from certforecast.history.sources.openssl_ca import OpensslCaSource
from tests.history.sources.reading import read

pytestmark = pytest.mark.system

CONFIG = """\
[ca]
default_ca = own
[own]
dir = {folder}
database = $dir/index.txt
new_certs_dir = $dir/newcerts
serial = $dir/serial
certificate = $dir/cacert.pem
private_key = $dir/cakey.pem
default_md = sha256
default_days = 90
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
organizationName = optional
organizationalUnitName = optional
"""


class Authority:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "newcerts").mkdir()
        (folder / "index.txt").write_text("")
        (folder / "serial").write_text("0A\n")
        (folder / "openssl.cnf").write_text(CONFIG.format(folder=folder))
        self.run("req", "-x509", *self.new_key("cakey.pem"), "-out", "cacert.pem", "-subj", "/CN=Own CA")

    def run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True, timeout=60)

    def new_key(self, file: str) -> list[str]:
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file]

    def issue(self, subject: str, *options: str, names: str = "") -> None:
        extension = ["-addext", f"subjectAltName={names}"] if names else []
        self.run(
            "req", "-new", "-utf8", *self.new_key("key.pem"), "-out", "r.csr", "-subj", subject, *extension
        )
        self.run("ca", "-config", "openssl.cnf", "-batch", "-in", "r.csr", "-out", "out.pem", *options)

    def ca(self, *options: str) -> None:
        self.run("ca", "-config", "openssl.cnf", *options)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_issue_revoke_expire(authority: Authority) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    authority.issue("/O=Own, Inc./CN=a.example", names="DNS:a.example,DNS:www.a.example")
    authority.issue("/CN=urn:node:Bücher", "-utf8")
    authority.issue(
        "/CN=old.example",
        "-startdate",
        "20250101000000Z",
        "-enddate",
        "20250301000000Z",
        names="DNS:old.example",
    )
    authority.issue("/CN=far.example", "-enddate", "20551231235959Z", names="DNS:far.example")
    authority.issue(r"/O=Own+OU=Two/CN=x\/y")
    authority.ca("-revoke", "newcerts/0A.pem", "-crl_reason", "superseded")
    authority.ca("-revoke", "newcerts/0B.pem", "-crl_compromise", "20260101000000Z")
    authority.ca("-revoke", "newcerts/0E.pem")
    authority.ca("-updatedb")

    found = read(OpensslCaSource(authority.folder))
    index = (authority.folder / "index.txt").read_text()
    assert sorted(line[0] for line in index.splitlines()) == ["E", "R", "R", "R", "V"]
    assert found.rejected == []
    assert [row["serial"] for row in found.certificates] == ["a", "b", "c", "d", "e"]
    lineages = ["a.example", "urn:node:Bücher", "old.example", "far.example", "x/y"]
    issued = [event for event in found.events if event["kind"] == "issued"]
    revoked = [event for event in found.events if event["kind"] == "revoked"]
    assert [event["lineage"] for event in issued] == lineages
    assert [(event["lineage"], event["code"]) for event in revoked] == [
        ("a.example", "superseded"),
        ("urn:node:Bücher", "keyCompromise"),
        ("x/y", None),
    ]
    assert revoked[1]["detail"] == "serial number b; 20260101000000Z"
    by_lineage = {event["lineage"]: event for event in issued}
    for event in revoked:
        assert before <= event["at"] <= datetime.now(UTC)
        assert event["host"] == by_lineage[event["lineage"]]["host"]
    assert by_lineage["old.example"]["known_at"] == datetime(2025, 1, 1, tzinfo=UTC)
    assert found.certificates[3]["not_after"] == datetime(2055, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_what_is_new_since_the_last_import(authority: Authority) -> None:
    authority.issue("/CN=a.example", names="DNS:a.example")
    with History(None) as history:
        assert history.ingest(OpensslCaSource(authority.folder)).new == 2
        # Not in the same second: events at one time are one.
        authority.issue("/CN=a.example", "-startdate", "20250101000000Z", names="DNS:a.example")
        authority.ca("-revoke", "newcerts/0A.pem")
        again = history.ingest(OpensslCaSource(authority.folder))
        assert (again.new, again.tables["certificates"].unchanged, again.quarantined) == (3, 0, 0)
        assert history.ingest(OpensslCaSource(authority.folder)).skipped == 2
