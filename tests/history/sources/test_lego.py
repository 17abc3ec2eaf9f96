"""lego's folder, in the layouts of its versions 4 and 5. A real lego: tests/system/test_source_clients.py."""

import json
import os
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


def test_version_5_says_more_and_keeps_what_was(tmp_path: Path) -> None:
    lineage(
        tmp_path, "a.example", "a.example",
        about={"id": "web", "domains": ["a.example"], "keyType": "EC256", "profile": "shortlived",
               "origin": "run"},
    )  # fmt: skip
    archive = tmp_path / "archives"
    archive.mkdir()
    (archive / "a.example_1.crt").write_bytes(pem(certificate("a.example", serial=7)))
    (archive / "a.example_1.issuer.crt").write_bytes(pem(authority()))
    found = read(source(tmp_path))
    assert [event["lineage"] for event in found.events] == ["web"]
    assert found.events[0]["detail"] == "keyType=EC256; profile=shortlived; origin=run"
    assert found.positions["certificates"] == ["certificates/a.example.crt#1", "archives/a.example_1.crt#1"]


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
