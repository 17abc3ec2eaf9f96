"""crt.sh exports, in both forms."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import CertForecastError, SourceError
from certforecast.history import History
from certforecast.history.schema import CERTIFICATES
from certforecast.history.sources.crtsh import CrtshSource
from certforecast.history.sources.pem import PemSource
from certforecast.history.validation import from_rows
from tests.certificates import START, certificate, pem
from tests.history.sources.reading import read


def entry(**changes: Any) -> dict[str, Any]:
    """Give an entry of the present form."""
    fields: dict[str, Any] = {
        "issuer_ca_id": 7,
        "issuer_name": 'C=US, O="Test, Inc.", CN=Test CA',
        "common_name": "a.example",
        "name_value": "a.example\nwww.a.example",
        "id": 100,
        "entry_timestamp": "2026-03-01T01:00:00.25",
        "not_before": "2026-03-01T00:00:00",
        "not_after": "2026-05-30T00:00:00",
        "serial_number": "00ab",
        "result_count": 2,
    }
    return {key: value for key, value in (fields | changes).items() if value is not None}


def older(**changes: Any) -> dict[str, Any]:
    """Give an entry of the older form."""
    return entry(**{"serial_number": None, "common_name": None, "result_count": None} | changes)


def export(folder: Path, *entries: Any) -> CrtshSource:
    path = folder / "export.json"
    path.write_text(json.dumps(list(entries)))
    return CrtshSource(path)


def test_a_row_is_filled_from_an_entry(tmp_path: Path) -> None:
    (row,) = read(export(tmp_path, entry())).certificates
    assert row["serial"] == "ab"
    assert row["issuer_dn"] == r"CN=Test CA,O=Test\, Inc.,C=US"
    assert (row["issuer_org"], row["issuer_cn"]) == ("Test, Inc.", "Test CA")
    assert row["subject_cn"] == "a.example"
    assert row["names"] == ["a.example", "www.a.example"]
    assert row["registered_domains"] == ["a.example"]
    assert row["known_at"] == datetime(2026, 3, 1, 1, 0, 0, 250000, tzinfo=UTC)
    assert row["not_before"] == START
    assert row["validity_days"] == 90
    assert row["fingerprint"].startswith("~")


def test_precertificate_and_certificate_are_one(tmp_path: Path) -> None:
    pair = entry(id=101, entry_timestamp="2026-03-01T00:30:00"), entry(id=100, name_value="b.a.example")
    other = entry(id=102, serial_number="ac")
    rows = read(export(tmp_path, *pair, other)).certificates
    assert [row["serial"] for row in rows] == ["ab", "ac"]
    assert rows[0]["names"] == ["a.example", "b.a.example", "www.a.example"]
    assert rows[0]["known_at"] == datetime(2026, 3, 1, 0, 30, tzinfo=UTC)


def test_the_older_form_joins_names_by_entry_and_entries_by_content(tmp_path: Path) -> None:
    found = read(
        export(
            tmp_path,
            older(id=1, name_value="a.example"),
            older(id=1, name_value="b.example"),
            older(id=2, name_value="b.example\na.example", entry_timestamp="2026-03-01T00:10:00"),
            older(id=None, min_cert_id=3, name_value="a.example", entry_timestamp=None,
                  min_entry_timestamp="2026-03-01T00:20:00"),
        )
    )  # fmt: skip
    assert [row["names"] for row in found.certificates] == [["a.example", "b.example"], ["a.example"]]
    assert [row["known_at"].minute for row in found.certificates] == [10, 20]
    assert [row.get("serial") for row in found.certificates] == [None, None]


def test_the_fingerprint_does_not_depend_on_order(tmp_path: Path) -> None:
    entries = [older(id=1), older(id=2, name_value="c.example"), entry()]
    forward = {row["fingerprint"] for row in read(export(tmp_path, *entries)).certificates}
    assert forward == {row["fingerprint"] for row in read(export(tmp_path, *entries[::-1])).certificates}
    assert len(forward) == 3


def test_mail_addresses_and_organisations_are_no_names(tmp_path: Path) -> None:
    mixed = entry(common_name="Us Ltd.", name_value="me@a.example\na.example\nUs Ltd.")
    only = entry(serial_number="ff", common_name="Me", name_value="me@a.example")
    found = read(export(tmp_path, mixed, only))
    assert [row["names"] for row in found.certificates] == [["a.example"]]
    assert [(rejected.position, rejected.reason) for rejected in found.rejected] == [
        ("export.json#1", "entry names no server: name_value has neither a DNS name nor an IP address")
    ]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (entry(not_after=None), "not_after is missing"),
        (entry(entry_timestamp=None), "entry_timestamp is missing"),
        (entry(issuer_name=None), "issuer_name is missing"),
        (entry(name_value=None), "name_value is missing"),
        (entry(not_before="yesterday"), "not a date"),
        (entry(not_before=20260301), "not_before is not text"),
        (entry(not_after="2020-01-01T00:00:00"), "inverted"),
        (entry(serial_number="xyz"), "not hexadecimal"),
        (entry(issuer_name="Test CA"), "not a distinguished name"),
        (entry(common_name="\ud800"), "not Unicode"),
        ("words", "not a JSON object"),
        (None, "not a JSON object"),
    ],
)
def test_a_broken_entry_is_set_aside_and_loses_no_other(tmp_path: Path, broken: Any, reason: str) -> None:
    found = read(export(tmp_path, entry(), broken, entry(serial_number="cd")))
    assert [row["serial"] for row in found.certificates] == ["ab", "cd"]
    (rejected,) = found.rejected
    assert rejected.position == "export.json#1"
    assert reason in rejected.reason
    assert json.loads(rejected.content) == broken


def test_json_lines_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    lines = [json.dumps(entry()), "", "{broken", json.dumps(entry(serial_number="cd"))]
    path.write_text("\n".join(lines))
    found = read(CrtshSource(path))
    assert [row["serial"] for row in found.certificates] == ["ab", "cd"]
    assert [rejected.position for rejected in found.rejected] == ["export.jsonl#3"]
    path.write_text(lines[0])
    assert len(read(CrtshSource(path)).certificates) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b"<html>busy</html>", "line 1 column 1"),
        (b'[{"id": 1},\n {"id": ]', "line 2 column 9"),
        (b"3", "no list of entries"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 200_000, "not JSON"),
    ],
)
def test_a_file_that_is_no_export_is_an_error(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "export.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        read(CrtshSource(path))
    assert str(path) in str(caught.value)


def test_an_export_without_results_gives_nothing(tmp_path: Path) -> None:
    assert read(export(tmp_path)).certificates == []


def test_a_large_export_comes_in_batches(tmp_path: Path) -> None:
    source = export(tmp_path, *(entry(serial_number=f"{n:x}") for n in range(12_500)))
    assert [len(batch.certificates) for batch in source.read()] == [10_000, 2_500]


def test_the_log_and_the_file_of_one_certificate_are_one_fact(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_bytes(pem(certificate("a.example", "www.a.example", serial=0xAB)))
    with History(None) as history:
        assert history.ingest(export(tmp_path, entry())).new == 1
        done = history.ingest(PemSource(tmp_path / "a.pem"))
        assert (done.new, done.changed) == (0, 1)
        (row,) = history.tables().certificates.to_pyarrow().to_pylist()
    assert not row["fingerprint"].startswith("~")
    assert row["known_at"] == datetime(2026, 3, 1, 1, 0, 0, 250000, tzinfo=UTC)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
damaged = st.tuples(st.sampled_from(sorted(entry())), json_values).map(lambda change: entry(**dict([change])))


@given(st.lists(damaged | json_values, max_size=4), st.integers(0, 4))
def test_whatever_stands_beside_it_a_good_entry_is_kept(
    tmp_path_factory: pytest.TempPathFactory, others: list[Any], place: int
) -> None:
    good = entry(serial_number="900d", issuer_name="CN=Good")
    others.insert(place, good)
    found = read(export(tmp_path_factory.getbasetemp(), *others))
    assert [row["serial"] for row in found.certificates if row["issuer_cn"] == "Good"].count("900d") == 1
    assert from_rows(CERTIFICATES, found.certificates, [])[2] == []


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_give_rows_or_an_input_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(data)
    try:
        read(CrtshSource(path))
    except CertForecastError:
        return
