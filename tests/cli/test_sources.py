"""Commands that fill the store: what is installed, what a path is, options, several sources at once."""

import json
from pathlib import Path

import pytest

from tests.certificates import certificate, der, pem
from tests.cli.conftest import Shell

EXPECTED = """acm acmesh caddy certbot certmanager certspotter crtsh ctlog frame inventory lego lemur metrics
openssl_ca pem scan tables traefik vault"""


def test_every_source_is_listed_and_ready(empty: Shell) -> None:
    listed = {row["name"]: row for row in empty.json("sources")}
    assert sorted(listed) == EXPECTED.split()
    assert {row["state"] for row in listed.values()} == {"ready"}
    assert "ca_file" in listed["scan"]["options"]
    shown = empty("sources")
    assert "crt.sh" in shown
    assert all(name in shown for name in EXPECTED.split())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "found"
    (folder / "pki").mkdir(parents=True)
    (folder / "pki" / "a.pem").write_bytes(pem(certificate("a.example", serial=1)))
    (folder / "pki" / "b.der").write_bytes(der(certificate("b.example", serial=2)))
    entry = {
        "issuer_name": "C=US, O=Test, CN=CA",
        "name_value": "c.example",
        "not_before": "2026-01-01T00:00:00",
        "not_after": "2026-04-01T00:00:00",
        "entry_timestamp": "2026-01-01T00:00:00",
        "serial_number": "0c",
        "id": 3,
    }
    (folder / "export.json").write_text(json.dumps([entry]))
    (folder / "notes.txt").write_text("nothing of interest")
    return folder


def test_auto_says_what_it_found_and_reads_it(empty: Shell, files: Path) -> None:
    done = empty.json("ingest", "auto", str(files))
    assert {(Path(one["place"]).name, one["source"]) for one in done} == {
        ("export.json", "crtsh"),
        ("pki", "pem"),
    }
    assert sum(one["tables"]["certificates"]["new"] for one in done) == 3
    empty("ingest", "auto", str(files))
    assert "crt.sh export, JSON (crtsh)" in empty.errors
    assert "places have not changed since the last import" in empty.errors
    assert "is nothing that a source knows" in empty.complaint("ingest", "auto", str(files / "notes.txt"))
    assert "does not exist" in empty.complaint("ingest", "auto", str(files / "nowhere"))
    assert "nothing to look at" in empty.complaint("ingest", "auto")


def test_an_import_goes_on_unless_asked_to_begin_again(empty: Shell, files: Path) -> None:
    first = empty.json("ingest", "pem", str(files / "pki"))
    assert (first["tables"]["certificates"]["new"], first["skipped"]) == (2, 0)
    second = empty.json("ingest", "pem", str(files / "pki"))
    assert (second["tables"]["certificates"]["unchanged"], second["skipped"]) == (0, 2)
    again = empty.json("ingest", "pem", str(files / "pki"), "--again")
    assert (again["tables"]["certificates"]["unchanged"], again["skipped"]) == (2, 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["crtsh", "x", "-o", "colour=red"], "has no option 'colour'; its options: "),
        (["crtsh", "x", "-o", "colour"], "is not of the form NAME=VALUE"),
        (["scan", "x", "-o", "timeout_s=soon"], "option 'timeout_s' cannot be 'soon'"),
        (["pem", "x", "-o", "password=hunter2"], "would show a secret; use password_file=FILE"),
        (["frame", "x", "-o", "table=events"], "use it from a program or a notebook"),
        (["pem"], "needs a place: certforecast ingest pem PLACE"),
        ([], "nothing to read"),
        (["crtsh", "x.json", "--preview"], "has no preview"),
    ],
)
def test_what_is_wrong_with_an_import_is_said(empty: Shell, arguments: list[str], said: str) -> None:
    assert said in empty.complaint("ingest", *arguments)


def test_sources_of_the_settings_are_read_together(
    empty: Shell, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "certforecast.toml").write_text(
        f"""
        [sources.files]
        kind = "pem"
        place = "{files / "pki"}"

        [sources.log]
        kind = "crtsh"
        place = "{files / "export.json"}"

        [sources.gone]
        kind = "pem"
        place = "{tmp_path / "gone"}"
        """
    )
    monkeypatch.setenv("CERTFORECAST_CONFIG", str(tmp_path / "certforecast.toml"))
    done = {one["place"]: one for one in empty.json("ingest", expected=3)}
    assert done["files"]["tables"]["certificates"]["new"] == 2
    assert done["log"]["tables"]["certificates"]["new"] == 1
    assert "does not exist" in done["gone"]["error"]
    assert empty.json("ingest", "files")["skipped"] == 2
    assert "in the settings are: files, log, gone" in empty.complaint("ingest", "vault")
