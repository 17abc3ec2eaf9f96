"""crt.sh: its exports in each form, and its search.

JSON follows what crt.sh gives, older and newer; CSV has the columns of its result page, which
``https://crt.sh/csv?q=...`` gives too. The search is played by a server on loopback as the published
``web_apis.fnc`` describes it: names matched by containment, cut after so many (10,000 there, few here)
without a word, ``excludeCAs``, ``exclude=expired``, a web page instead of JSON when it is busy.
"""

import gzip
import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from tests.history.sources.serving import Answer, Question, Serving, serving


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


def test_an_older_and_a_newer_export_are_one_in_the_store(tmp_path: Path) -> None:
    # The older one was asked for a host: it has fewer names.
    older_pair = [older(id=100, name_value="a.example"), older(id=107, name_value="a.example")]
    newer_pair = [entry(id=107, entry_timestamp="2026-03-01T00:30:00"), entry(id=100)]
    for first, second in ((older_pair, newer_pair), (newer_pair, older_pair)):
        with History(None) as history:
            assert history.ingest(export(tmp_path, *first)).new == 1
            assert history.ingest(export(tmp_path, *second)).new == 0
            (row,) = history.tables().certificates.to_pyarrow().to_pylist()
        assert row["serial"] == "ab"
        assert row["names"] == ["a.example", "www.a.example"]
        assert row["known_at"] == datetime(2026, 3, 1, 0, 30, tzinfo=UTC)


def test_both_forms_of_an_entry_in_one_file_are_one(tmp_path: Path) -> None:
    mixed = older(id=100, name_value="b.a.example"), entry(id=100), entry(id=101), older(id=7)
    rows = read(export(tmp_path, *mixed)).certificates
    assert [row["serial"] for row in rows] == ["ab", None]
    assert rows[0]["names"] == ["a.example", "b.a.example", "www.a.example"]


def test_what_was_logged_later_than_now_is_known_from_now(tmp_path: Path) -> None:
    now = datetime(2026, 3, 1, 0, 10, tzinfo=UTC)
    path = export(tmp_path, entry()).place
    assert [row["known_at"] for row in read(CrtshSource(path, clock=lambda: now)).certificates] == [now]


CSV = """crt.sh ID,Logged At,Not Before,Not After,Common Name,Matching Identities,Issuer Name\r
100,2026-03-01,2026-03-01,2026-05-30,a.example,"a.example\nwww.a.example","O=""Test, Inc."", CN=Test CA"\r
107,2026-03-02,2026-03-01,2026-05-30,a.example,"a.example\nwww.a.example","O=""Test, Inc."", CN=Test CA"\r
108,2026-03-02,soon,2026-05-30,a.example,a.example,CN=Test CA\r
109,2026-03-02\r
"""


def test_csv_is_read_and_known_from_the_end_of_the_day(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text(CSV, newline="")
    found = read(CrtshSource(path))
    (row,) = found.certificates
    assert row["names"] == ["a.example", "www.a.example"]
    assert row["issuer_dn"] == r"CN=Test CA,O=Test\, Inc."
    assert row["known_at"] == datetime(2026, 3, 2, tzinfo=UTC)
    assert row["validity_days"] == 90
    assert [(each.position, each.reason.split()[0]) for each in found.rejected] == [
        ("export.csv#3", "not_before"),
        ("export.csv#4", "not_before"),
    ]
    assert CrtshSource.recognises(path) == "crt.sh export, CSV"
    (json_row,) = read(export(tmp_path, entry(id=100))).certificates
    assert json_row["fingerprint"] == row["fingerprint"], "they meet in the store"


def test_csv_without_matches_has_the_common_name_and_many_names_fit(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    many = "\n".join(f"{number:040}.a.example" for number in range(10_000))
    path.write_text(
        "id,entry_timestamp,not_before,not_after,common_name,issuer_name\n"
        "1,2026-03-01 00:10:00,2026-03-01,2026-05-30,a.example,CN=CA\n"
    )
    (row,) = read(CrtshSource(path)).certificates
    assert (row["names"], row["known_at"].minute) == (["a.example"], 10)
    path.write_text(CSV.replace("www.a.example", many))
    assert len(read(CrtshSource(path)).certificates[0]["names"]) == 10_001


def test_gzip_is_unpacked_and_told(tmp_path: Path) -> None:
    path = tmp_path / "export.json.gz"
    path.write_bytes(gzip.compress(json.dumps([entry()]).encode()))
    assert len(read(CrtshSource(path)).certificates) == 1
    assert CrtshSource.recognises(path) == "crt.sh export, JSON"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceError, match="cannot be read"):
        read(CrtshSource(path))
    assert CrtshSource.recognises(path) is None


def test_a_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    source = export(tmp_path, entry())
    marks = {mark.place: mark.state for mark in read(source).marks}
    again = read(source, marks)
    assert (again.skipped, again.certificates) == (1, [])
    assert len(read(export(tmp_path, entry(), entry(serial_number="cd")), marks).certificates) == 2


def test_what_is_no_export_is_not_recognised_and_not_read(tmp_path: Path) -> None:
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    for path in (loop, pipe, tmp_path, tmp_path / "none.json"):
        assert CrtshSource.recognises(path) is None
        with pytest.raises(SourceError, match="cannot be read"):
            read(CrtshSource(path))
    other = tmp_path / "other.json"
    other.write_text('[{"tbs_sha256": "00"}]')
    assert CrtshSource.recognises(other) is None


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
    CrtshSource.recognises(path)
    try:
        read(CrtshSource(path))
    except CertForecastError:
        return


@given(st.text(), st.integers(0, len(CSV)), st.integers(0, len(CSV)))
def test_any_damage_to_csv_gives_rows_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, text: str, start: int, stop: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes((CSV[:start] + text + CSV[stop:]).encode("utf-8", "replace"))
    try:
        found = read(CrtshSource(path))
    except CertForecastError:
        return
    assert from_rows(CERTIFICATES, found.certificates, [])[2] == []


# -- live ---------------------------------------------------------------------------------------

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def numbered(number: int, issuer: int = 7, *names: str, **changes: Any) -> dict[str, Any]:
    """Give an entry of its own certificate."""
    listed = names or (f"n{number}.a.example", "a.example")
    return entry(
        id=number,
        serial_number=f"{number:x}",
        issuer_ca_id=issuer,
        issuer_name=f"CN=CA {issuer}",
        common_name=listed[0],
        name_value="\n".join(listed),
        result_count=len(listed),
        **changes,
    )


@contextmanager
def crtsh(
    known: list[dict[str, Any]],
    cut: int = 10_000,
    *,
    literal: bool = False,
    trouble: Callable[[int], Answer | None] = lambda count: None,
) -> Iterator[Serving]:
    """Play crt.sh; `trouble` may answer a question otherwise, `literal` takes ``%.`` for what LIKE does."""
    counter = itertools.count()

    def answer(question: Question) -> Answer:
        if given := trouble(next(counter)):
            return given
        assert question["output"] == "json"
        excluded = question["excludeCAs"].split(",")
        room, entries = cut, []
        for item in known:
            names = [name for name in item["name_value"].split("\n") if matches(question["q"], name)]
            expired = question["exclude"] == "expired" and item["not_after"] < NOW.isoformat()
            if names and not expired and str(item["issuer_ca_id"]) not in excluded and room > 0:
                names = names[:room]
                room -= len(names)
                entries.append(item | {"name_value": "\n".join(names), "result_count": len(names)})
        return Answer(entries)

    def matches(query: str, name: str) -> bool:
        if literal:
            return name.endswith(query[1:]) if query.startswith("%") else name == query
        return query.removeprefix("%.") in name

    with serving(answer) as service:
        yield service


def live(service: Serving, domain: str = "a.example", **options: Any) -> CrtshSource:
    return CrtshSource(domain, url=service.url, clock=lambda: NOW, **options)


def test_a_domain_is_asked_live_and_then_only_what_is_new_is_told() -> None:
    known = [numbered(1), numbered(2)]
    with crtsh(known) as service:
        found = read(live(service, "A.Example"))
        assert [row["serial"] for row in found.certificates] == ["1", "2"]
        assert found.positions["certificates"] == ["a.example#1", "a.example#2"]
        assert len(service.asked) == 1, "the answer had the domain itself: no second question"
        marks = {mark.place: mark.state for mark in found.marks}
        assert list(marks.values()) == ["2"]
        known += [numbered(3), numbered(2) | {"id": 4, "entry_timestamp": "2026-03-02T00:00:00"}]
        again = read(live(service), marks)
        # 4 is another entry of 2: it keeps its stand-in and its time.
        assert [row["serial"] for row in again.certificates] == ["2", "3"]
        assert again.certificates[0] == found.certificates[1]
        assert [mark.state for mark in again.marks] == ["4"]
        marks |= {mark.place: mark.state for mark in again.marks}
        assert read(live(service), marks) == read(live(service), marks)
        assert read(live(service), marks).certificates == []
        assert len(read(live(service, expired=False), marks).certificates) == 0, "all have expired"


def test_the_domain_itself_is_asked_for_where_the_pattern_leaves_it_out() -> None:
    with crtsh([numbered(1, 7, "a.example"), numbered(2)], literal=True) as service:
        rows = read(live(service)).certificates
        assert [question["q"] for question in service.asked] == ["%.a.example", "a.example"]
    assert {row["serial"]: row["names"] for row in rows} == {
        "1": ["a.example"],
        "2": ["a.example", "n2.a.example"],
    }


def test_names_that_only_look_like_the_domain_are_left_out() -> None:
    known = [
        numbered(1),
        numbered(2, 7, "a.example.org"),
        numbered(3, 7, "nota.example"),
        numbered(4, 7, "*.a.example"),
    ]
    with crtsh(known) as service:
        assert [row["serial"] for row in read(live(service)).certificates] == ["1", "4"]


def test_a_cut_answer_is_asked_for_by_issuer() -> None:
    known = [numbered(number, issuer=number % 5) for number in range(1, 31)]
    with crtsh(known, cut=14) as service:
        found = read(live(service, cut=14))
        assert sorted(int(row["serial"], 16) for row in found.certificates) == list(range(1, 31))
        assert found.rejected == []
        assert [mark.state for mark in found.marks] == ["30"]
        assert len(service.asked) > 4


def test_what_one_issuer_has_too_many_of_is_told_and_not_taken_for_read() -> None:
    current = {"not_before": "2026-05-01T00:00:00", "not_after": "2026-07-30T00:00:00"}
    known = [numbered(number, issuer=1) for number in range(1, 21)]
    known += [numbered(21, issuer=2), numbered(22, issuer=1, **current)]
    with crtsh(known, cut=10) as service:
        found = read(live(service, cut=10))
    assert {"15", "16"} <= {row["serial"] for row in found.certificates}, "other issuers, and what is current"
    (rejected,) = found.rejected
    assert "more certificates of issuer [1]" in rejected.reason
    assert found.marks == [], "the next import looks again"


def test_it_waits_when_asked_to_and_asks_again_for_what_is_no_answer() -> None:
    troubles = {
        0: Answer(b"Too many", status=429, headers={"Retry-After": "1"}),
        1: Answer(b"<html>busy</html>"),
        2: Answer([numbered(1)], missing=9),
    }
    with crtsh([numbered(1)], trouble=troubles.get) as service:
        assert len(read(live(service)).certificates) == 1
        assert len(service.asked) == 4


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(b"<html>busy</html>"), "not JSON: '<html>busy</html>'"),
        (Answer([numbered(1)], missing=9), "breaks off"),
        (Answer({"error": "no"}), "no list of entries"),
        (Answer(b"<html></html>", status=503), "503.*expired=false"),
        (Answer(b"none", status=404), "check the address"),
    ],
)
def test_a_crtsh_that_makes_no_sense_is_an_error(answer: Answer, message: str) -> None:
    with crtsh([], trouble=lambda count: answer) as service, pytest.raises(SourceError, match=message):
        read(live(service, tries=2))


def test_an_answer_too_large_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("certforecast.history.sources.answers.LIMIT", 1 << 20)
    with (
        crtsh([], trouble=lambda count: Answer(b" " * (4 << 20))) as service,
        pytest.raises(SourceError, match="more than 1 MiB"),
    ):
        read(live(service))


def test_a_killed_import_asks_only_for_what_it_has_not_got(tmp_path: Path) -> None:
    known = [numbered(number, issuer=number % 5) for number in range(1, 31)]
    dead = Answer(b"gone", status=404)
    with crtsh(known, cut=14, trouble=lambda count: dead if count == 3 else None) as service:
        options: dict[str, Any] = {"cut": 14, "cache": tmp_path / "cache"}
        with pytest.raises(SourceError, match="404"):
            read(live(service, **options))
        assert len(read(live(service, **options)).certificates) == 30
        questions = [json.dumps(question.query) for question in service.asked]
        assert len(questions) == len(set(questions)) + 1, "only the one that failed was asked twice"
        read(live(service, **options))
        assert len(service.asked) == len(questions), "all comes from the cache"
        kept = sorted((tmp_path / "cache").iterdir())
        assert all(CrtshSource.recognises(path) == "crt.sh export, JSON" for path in kept)
        kept[0].write_text("{broken")
        assert len(read(live(service, **options)).certificates) == 30
        assert len(service.asked) == len(questions) + 1
        read(live(service, **options, cache_hours=0.0))
        assert len(service.asked) > 2 * len(set(questions))


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with crtsh([numbered(1)]) as service, pytest.raises(SourceError, match=r"cache .* cannot be written"):
        read(live(service, cache=tmp_path / "file"))


@given(st.lists(damaged | json_values, max_size=4))
def test_whatever_crtsh_answers_gives_rows_or_an_input_error(answered: list[Any]) -> None:
    source = CrtshSource("a.example", clock=lambda: NOW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("certforecast.history.sources.crtsh_live.json_answer", lambda *_, **__: answered)
        found = read(source)
    assert from_rows(CERTIFICATES, found.certificates, [])[2] == []
