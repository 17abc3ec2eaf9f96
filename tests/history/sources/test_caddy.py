"""certmagic's storage. A real Caddy: tests/system/test_source_clients.py."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certforecast.errors import SourceError
from certforecast.history.sources.caddy import CaddySource
from tests.certificates import START, authority, certificate, key_pem, pem
from tests.history.sources.reading import read

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ISSUER = "acme-v02.api.letsencrypt.org-directory"


def lineage(home: Path, name: str, *names: str, about: Any) -> None:
    folder = home / "certificates" / ISSUER / name
    folder.mkdir(parents=True)
    path = folder / f"{name}.crt"
    path.write_bytes(pem(certificate(*names)) + pem(authority()))
    at = (START + timedelta(days=1)).timestamp()
    os.utime(path, (at, at))
    (folder / f"{name}.key").write_bytes(key_pem())
    (folder / f"{name}.json").write_text(about if isinstance(about, str) else json.dumps(about))


def source(home: Path) -> CaddySource:
    return CaddySource(home, clock=lambda: NOW)


def test_a_lineage_is_a_certificate_its_issue_and_a_host(tmp_path: Path) -> None:
    window = {"start": "2026-04-28T00:00:00Z", "end": "2026-04-29T00:00:00Z"}
    data = {"ca": "https://acme.example/dir", "renewal_info": {"suggestedWindow": window}}
    lineage(
        tmp_path, "wildcard_.a.example", "*.a.example", about={"sans": ["*.a.example"], "issuer_data": data}
    )
    lineage(tmp_path, "b.example", "b.example", about={"sans": ["b.example"], "issuer_data": None})
    found = read(source(tmp_path))
    assert {row["known_at"] for row in found.certificates} == {START + timedelta(days=1)}
    assert [(one["lineage"], one["kind"], one["code"], one["detail"]) for one in found.events] == [
        ("b.example", "issued", ISSUER, None),
        ("*.a.example", "issued", "https://acme.example/dir",
         "suggested window 2026-04-28T00:00:00Z to 2026-04-29T00:00:00Z"),
    ]  # fmt: skip
    assert [row["fingerprint"] for row in found.events] == [row["fingerprint"] for row in found.certificates]
    assert [(one["host"], one["automation"]) for one in found.hosts] == [
        ("b.example", "caddy"),
        ("*.a.example", "caddy"),
    ]
    assert found.rejected == []


@pytest.mark.parametrize(
    "about", ["", "[]", "{", "[" * 100_000, '{"issuer_data": 7}', '{"issuer_data": {"ca": 1}}']
)
def test_a_broken_description_loses_no_certificate(tmp_path: Path, about: str) -> None:
    lineage(tmp_path, "a.example", "a.example", about=about)
    found = read(source(tmp_path))
    assert [row["names"] for row in found.certificates] == [["a.example"]]
    assert [one["lineage"] for one in found.events] == ["a.example"]
    assert len(found.rejected) == (0 if about.startswith('{"') else 1)


def test_a_folder_is_recognised(tmp_path: Path) -> None:
    assert CaddySource.recognises(tmp_path) is None
    with pytest.raises(SourceError, match="is no storage of Caddy"):
        read(source(tmp_path))
    lineage(tmp_path, "a.example", "a.example", about={})
    assert CaddySource.recognises(tmp_path) == "1 lineages of Caddy"
