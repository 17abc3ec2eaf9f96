"""lego's folder, in the layouts of its versions 4 and 5. A real lego: tests/system/test_source_clients.py."""

import json
import os
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certforecast.errors import SourceError
from certforecast.history import History
from certforecast.history.sources.lego import LegoSource
from tests.certificates import START, authority, certificate, key_pem, pem
from tests.history.sources.reading import read

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def lineage(home: Path, stem: str, *names: str, about: Any, at: datetime = START + timedelta(days=1)) -> None:
    folder = home / "certificates"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.crt"
    path.write_bytes(pem(certificate(*names)) + pem(authority()))
    os.utime(path, (at.timestamp(), at.timestamp()))
    (folder / f"{stem}.key").write_bytes(key_pem())
    (folder / f"{stem}.issuer.crt").write_bytes(pem(authority()))
    text = about if isinstance(about, str) else json.dumps(about)
    (folder / f"{stem}.json").write_text(text)


def source(home: Path) -> LegoSource:
    return LegoSource(home, clock=lambda: NOW)


def test_a_lineage_is_a_certificate_its_issue_and_a_host(tmp_path: Path) -> None:
    lineage(
        tmp_path, "_.a.example", "*.a.example", "a.example",
        about={"domain": "*.a.example", "certUrl": "https://acme.example:14000/cert/1", "certStableUrl": ""},
    )  # fmt: skip
    found = read(source(tmp_path))
    known = START + timedelta(days=1)
    (row,) = found.certificates
    assert (row["names"], row["known_at"], row["source"]) == (["*.a.example", "a.example"], known, "lego")
    (event,) = found.events
    assert event["fingerprint"] == row["fingerprint"]
    assert (event["kind"], event["lineage"], event["host"], event["code"], event["at"]) == (
        "issued",
        "*.a.example",
        "a.example",
        "acme.example",
        known,
    )
    (host,) = found.hosts
    assert (host["host"], host["automation"], host["issuer"]) == ("a.example", "lego", "acme.example")
    assert found.rejected == []


ABOUT_5 = {
    "id": "web",
    "domains": ["a.example"],
    "keyType": "EC256",
    "profile": "shortlived",
    "origin": "run",
}


def test_version_5_says_more(tmp_path: Path) -> None:
    lineage(tmp_path, "web", "a.example", about=ABOUT_5)
    found = read(source(tmp_path))
    assert [event["lineage"] for event in found.events] == ["web"]
    assert found.events[0]["detail"] == "keyType=EC256; profile=shortlived; origin=run"
    assert found.positions["certificates"] == ["certificates/web.crt#1"]


ARCHIVED = START + timedelta(days=30)


def archive_5(home: Path, name: str = f"web_{ARCHIVED.timestamp():.0f}.zip", **content: bytes) -> Path:
    """Pack what version 5 packs: all files of a lineage, under their names."""
    content = {
        "web.crt": pem(certificate("a.example", serial=7)) + pem(authority()),
        "web.issuer.crt": pem(authority()),
        "web.json": json.dumps(ABOUT_5).encode(),
        "web.key": key_pem(),
    } | content
    path = home / "archives" / "certificates" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = b"certificates"
        for member, data in content.items():
            archive.writestr(member, data)
    return path


def test_what_version_5_has_archived_is_known_from_then_on(tmp_path: Path) -> None:
    lineage(tmp_path, "b.example", "b.example", about={})
    path = archive_5(tmp_path)
    (tmp_path / "archives" / "accounts").mkdir()
    (tmp_path / "archives" / "accounts" / "me_1.zip").write_bytes(b"no certificates here")
    found = read(source(tmp_path))
    assert found.rejected == []
    assert [row["known_at"] for row in found.certificates[1:]] == [ARCHIVED]
    (event,) = found.events[1:]
    assert (event["kind"], event["lineage"], event["host"], event["at"]) == (
        *("retired", "web", "a.example"),
        ARCHIVED,
    )
    assert event["fingerprint"] == found.certificates[1]["fingerprint"]
    assert found.positions["events"][1] == f"archives/certificates/{path.name}#1"
    assert len(found.hosts) == 1


def test_what_version_4_has_archived_was_issued_and_is_retired(tmp_path: Path) -> None:
    lineage(tmp_path, "a.example", "a.example", about={"domain": "a.example"})
    (tmp_path / "archives").mkdir()
    for path in list((tmp_path / "certificates").iterdir()):
        path.rename(tmp_path / "archives" / f"{ARCHIVED.timestamp():.0f}.{path.name}")
    found = read(source(tmp_path))
    assert found.hosts == []
    assert sorted((row["at"], row["kind"], row["lineage"]) for row in found.events) == [
        (START + timedelta(days=1), "issued", "a.example"),
        (ARCHIVED, "retired", "a.example"),
    ]


@pytest.mark.parametrize("cut", [0, 10, -40])
def test_a_broken_archive_loses_nothing_else(tmp_path: Path, cut: int) -> None:
    lineage(tmp_path, "b.example", "b.example", about={})
    path = archive_5(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    archive_5(tmp_path, "web_1.zip", **{"web.json": b"[" * 9000, "web.crt": b"no certificate"})
    archive_5(tmp_path, "web_2.zip", **{"web.crt": b"-----BEGIN CERTIFICATE-----\nMII=\n"})
    found = read(source(tmp_path))
    assert [one.position for one in found.rejected] == [
        "archives/certificates/web_1.zip#1",
        f"archives/certificates/{path.name}",
        "archives/certificates/web_2.zip#1",
    ]
    assert len(found.certificates) == 1


def test_only_what_has_changed_is_read_again(tmp_path: Path) -> None:
    lineage(tmp_path, "a.example", "a.example", about={})
    lineage(tmp_path, "b.example", "b.example", about={})
    archive_5(tmp_path)
    with History(None) as history:
        assert history.ingest(source(tmp_path)).skipped == 0
        assert history.ingest(source(tmp_path)).skipped == 3
        lineage(tmp_path, "a.example", "a.example", about={"keyType": "RSA2048"})
        report = history.ingest(source(tmp_path))
        assert report.skipped == 2


def test_a_broken_description_loses_no_certificate(tmp_path: Path) -> None:
    lineage(tmp_path, "a.example", "a.example", about="{")
    lineage(tmp_path, "b.example", "b.example", about="[" * 100_000)
    lineage(tmp_path, "c.example", "c.example", about={"domain": "c.example"})
    (tmp_path / "certificates" / "c.example.crt").write_bytes(b"")
    found = read(source(tmp_path))
    assert [event["lineage"] for event in found.events] == ["a.example", "b.example"]
    assert [(one.position, one.content) for one in found.rejected] == [
        ("certificates/a.example.json", ""),
        ("certificates/b.example.json", ""),
        ("certificates/c.example.crt", ""),
    ]


KEYS = st.sampled_from(["domain", "certUrl", "id", "keyType"]) | st.text()
JSON = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(KEYS, inner) | st.lists(inner)
)


@given(about=JSON)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_description_is_read_or_set_aside(tmp_path: Path, about: Any) -> None:
    lineage(tmp_path, "a.example", "a.example", about=about)
    found = read(source(tmp_path))
    assert len(found.certificates) == len(found.events) == 1
    with History(None) as history:
        assert history.append(found).quarantined == len(found.rejected)


def test_a_folder_is_recognised(tmp_path: Path) -> None:
    assert LegoSource.recognises(tmp_path) is None
    with pytest.raises(SourceError, match="is no folder of lego"):
        read(source(tmp_path))
    lineage(tmp_path, "a.example", "a.example", about={"domain": "a.example"})
    assert LegoSource.recognises(tmp_path) == "1 lineages of lego"
