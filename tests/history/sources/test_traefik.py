"""Traefik's acme.json, written as its documentation and source lay it out: Traefik is not to be had here."""

import base64
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certforecast.errors import SourceError
from certforecast.history.sources.traefik import TraefikSource
from tests.certificates import START, authority, certificate, key_pem, pem
from tests.history.sources.reading import read

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ACCOUNT = {
    "Email": "ops@a.example",
    "Registration": {"uri": "https://ca.example/1"},
    "PrivateKey": "c2VjcmV0",
}


def held(*names: str, **more: Any) -> dict[str, Any]:
    chain = pem(certificate(*names)) + pem(authority())
    return {
        "domain": {"main": names[0], "sans": list(names[1:])},
        "certificate": base64.b64encode(chain).decode(),
        "key": base64.b64encode(key_pem()).decode(),
        "Store": "default",
    } | more


def stored(folder: Path, content: Any, at: datetime = NOW - timedelta(days=1)) -> TraefikSource:
    path = folder / "acme.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    os.utime(path, (at.timestamp(), at.timestamp()))
    return TraefikSource(path, clock=lambda: NOW)


def test_every_resolver_is_read(tmp_path: Path) -> None:
    content = {
        "le": {"Account": ACCOUNT, "Certificates": [held("*.a.example", "a.example"), held("b.example")]},
        "internal": {"Account": ACCOUNT, "Certificates": None},
    }
    found = read(stored(tmp_path, content))
    assert [(one["lineage"], one["host"], one["detail"]) for one in found.events] == [
        ("*.a.example", "a.example", "resolver=le"),
        ("b.example", "b.example", "resolver=le"),
    ]
    assert [row["fingerprint"] for row in found.events] == [row["fingerprint"] for row in found.certificates]
    known = START + timedelta(hours=1)
    assert {row["known_at"] for row in (*found.certificates, *found.events, *found.hosts)} == {known}
    assert {one["automation"] for one in found.hosts} == {"traefik"}
    assert "c2VjcmV0" not in repr(found)


def test_nothing_is_known_after_the_file_was_written(tmp_path: Path) -> None:
    content = {"le": {"Account": ACCOUNT, "Certificates": [held("a.example")]}}
    early = START + timedelta(minutes=2)
    assert read(stored(tmp_path, content, early)).certificates[0]["known_at"] == early


def test_version_1_is_read(tmp_path: Path) -> None:
    entry = held("a.example")
    content = {
        "Account": ACCOUNT,
        "Certificates": [
            {"Domain": {"Main": "a.example", "SANs": None}, "Certificate": entry["certificate"]}
        ],
    }
    found = read(stored(tmp_path, content))
    assert [one["lineage"] for one in found.events] == ["a.example"]


def test_a_bad_entry_loses_no_other(tmp_path: Path) -> None:
    entries = [
        7,
        {},
        held("a.example", certificate="%%"),
        held("b.example", certificate="eHh4"),
        held("c.example"),
    ]
    found = read(stored(tmp_path, {"le": {"Account": ACCOUNT, "Certificates": entries}}))
    assert [one["lineage"] for one in found.events] == ["c.example"]
    assert [(one.position, one.content) for one in found.rejected] == [
        (f"acme.json#le/{number}", "") for number in range(4)
    ]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"a": 1}', "[" * 100_000])
def test_what_is_no_storage_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(SourceError, match=r"acme\.json"):
        read(stored(tmp_path, content))


JSON = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: (
        st.dictionaries(st.sampled_from(["Certificates", "Account", "domain", "certificate"]), inner)
        | st.lists(inner)
    ),
)


@given(content=JSON)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_read_set_aside_or_refused(tmp_path: Path, content: Any) -> None:
    try:
        read(stored(tmp_path, {"le": content}))
    except SourceError:
        return


def test_a_file_is_recognised(tmp_path: Path) -> None:
    stored(tmp_path, {"le": {"Account": ACCOUNT, "Certificates": []}})
    assert TraefikSource.recognises(tmp_path / "acme.json") == "Traefik's storage of ACME certificates"
    assert TraefikSource.recognises(tmp_path) is None
    (tmp_path / "other.json").write_text("{}")
    assert TraefikSource.recognises(tmp_path / "other.json") is None
