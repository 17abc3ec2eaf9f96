"""The store: idempotent, resumable, nothing lost, clear refusals."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certforecast.errors import SchemaError, SourceError, StoreError
from certforecast.history import History
from certforecast.history.schema import CERTIFICATES, DETAILS, OBSERVATIONS, TABLES
from certforecast.history.sources import NO_MARKS, Batch, Mark, Marks, Rejected, Source, Whole
from certforecast.history.validation import check
from certforecast.history.x509 import certificate_row
from tests.certificates import START, authority, certificate, der
from tests.timeline import Timeline, day, digest


class FixedSource(Source):
    """Yields the batches it was given, then raises if told to."""

    name = "fixed"

    def __init__(self, *batches: Batch, error: Exception | None = None) -> None:
        self.batches, self.error = batches, error
        self.marks: Marks = {}

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:
        self.marks = marks
        yield from self.batches
        if self.error:
            raise self.error


def rich() -> Timeline:
    timeline = Timeline()
    served = timeline.certificate("a", ["a.example", "b.example"], 0)
    timeline.certificate("b", "c.example", 5)
    timeline.look(1, served)
    timeline.look(2, None, error="timeout")
    timeline.event(3, "a.example", "issued")
    timeline.batch.hosts.append({"host": "h1", "owner": "ops", "valid_from": day(0), "known_at": day(0)})
    return timeline


def contents(history: History) -> dict[str, pd.DataFrame]:
    return {
        name: table.order_by(list(TABLES[name].key)).to_pandas()
        for name, table in zip(TABLES, history.tables(), strict=True)
    }


def test_the_same_import_twice_changes_nothing() -> None:
    batch = rich().batch
    batch.rejected.append(Rejected("file#3", "broken", "{"))
    with History(None) as history:
        first = history.ingest(FixedSource(batch))
        before = contents(history)
        second = history.ingest(FixedSource(batch))
        assert (first.new, first.quarantined) == (6, 1)
        assert (second.changed, second.quarantined) == (0, 0)
        assert second.tables["certificates"].unchanged == 2
        for name, frame in contents(history).items():
            pd.testing.assert_frame_equal(frame, before[name])
        assert history.counts() == {
            "certificates": 2,
            "observations": 2,
            "events": 1,
            "hosts": 1,
            "quarantine": 1,
            "imports": 2,
        }


@given(st.permutations(range(6)), st.integers(1, 6))
@settings(max_examples=15, deadline=None)
def test_order_and_batching_of_an_import_do_not_matter(order: list[int], size: int) -> None:
    """Six sightings of three certificates, in any order and any batches, make the same three rows."""
    timeline = Timeline()
    for known in (9.0, 3.0):
        timeline.certificate("a", "a.example", 0, known=known)
        timeline.certificate("b", "a.example", 20, known=known, source=f"seen {known}")
        timeline.certificate(
            f"c{known}", "c.example", 0, known=known, serial="77", is_precertificate=known == 3.0
        )
    rows = [timeline.batch.certificates[index] for index in order]
    with History(None) as history:
        for start in range(0, 6, size):
            history.append(Batch(certificates=rows[start : start + size]))
        frame = history.tables().certificates.order_by("fingerprint").to_pandas()
    assert set(frame["fingerprint"]) == {digest("a"), digest("b"), digest("c9.0")}
    assert set(frame["known_at"]) == {day(3)}


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("together", [True, False])
def test_one_fingerprint_is_one_certificate_however_it_is_described(
    order: tuple[int, ...], together: bool
) -> None:
    timeline = Timeline()
    timeline.certificate("a", "a.example", 0, known=5)
    timeline.certificate("a", "a.example", 0, known=9, serial=None)
    timeline.certificate("a", "a.example", 0, known=7, issuer_dn="O=Test, CN=Test CA")
    rows = [timeline.batch.certificates[index] for index in order]
    with History(None) as history:
        for batch in [rows] if together else [[row] for row in rows]:
            history.append(Batch(certificates=batch))
        (row,) = history.tables().certificates.to_pandas().to_dict("records")
        assert history.append(Batch(certificates=rows)).changed == 0
    assert (row["serial"], row["known_at"]) == (digest("a")[:16], day(5))


def test_a_precertificate_and_its_final_certificate_are_one() -> None:
    timeline = Timeline()
    timeline.certificate("pre", "a.example", 0, known=0, serial="ab", is_precertificate=True)
    timeline.certificate("final", "a.example", 0, known=1, serial="ab")
    timeline.certificate("other", "a.example", 0, known=1, serial="ac")
    with timeline.history() as history:
        frame = history.tables().certificates.to_pandas().set_index("fingerprint")
    assert set(frame.index) == {digest("final"), digest("other")}
    assert frame.loc[digest("final"), "known_at"] == day(0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"names": []}, "names is empty"),
        ({"names": None}, "names is missing"),
        ({"not_after": day(-1)}, "not_after is not later than not_before"),
        ({"fingerprint": "AB"}, "fingerprint is not a SHA-256"),
        ({"known_at": "yesterday"}, "known_at is not timestamp"),
        ({"key_bits": 2**40}, "key_bits is not int32"),
        ({"colour": "red"}, "unknown column colour"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_reason_and_the_rest_is_kept(
    change: dict[str, Any], reason: str
) -> None:
    timeline = Timeline()
    timeline.certificate("good", "a.example", 0)
    timeline.certificate("bad", "b.example", 0)
    timeline.batch.certificates[1] |= change
    timeline.batch.positions["certificates"] = ["x.json#0", "x.json#1"]
    with History(None) as history:
        done = history.append(timeline.batch)
        aside = history.quarantine()
        assert (done.new, done.quarantined) == (1, 1)
        assert aside["position"].tolist() == ["x.json#1"]
        assert aside["reason"][0].startswith(reason)
        assert aside["table_name"][0] == "certificates"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fingerprint": None}, "neither fingerprint nor error is set"),
        ({"fingerprint": None, "error": "gremlins"}, "error is not a known kind"),
        ({"port": 0}, "port is not between"),
    ],
)
def test_observations_are_checked(change: dict[str, Any], reason: str) -> None:
    timeline = Timeline()
    timeline.look(1, digest("a"))
    timeline.batch.observations[0] |= change
    with History(None) as history:
        assert history.append(timeline.batch).quarantined == 1
        assert history.quarantine()["reason"][0].startswith(reason)


def test_nothing_is_known_before_it_happened() -> None:
    timeline = Timeline()
    timeline.look(5, digest("a"), known=1)
    with timeline.history() as history:
        assert history.tables().observations.known_at.execute().tolist() == [day(5)]


def marked(number: int) -> Batch:
    timeline = Timeline()
    timeline.certificate(f"k{number}", "z.example", number)
    timeline.batch.marks.append(Mark("log", str(number)))
    return timeline.batch


def test_a_source_that_breaks_keeps_what_it_gave_and_goes_on_from_there() -> None:
    with History(None) as history:
        with pytest.raises(SourceError, match="torn"):
            history.ingest(FixedSource(marked(1), marked(2), error=SourceError("torn")))
        assert history.counts()["certificates"] == 2
        assert history.imports()[["source", "new"]].values.tolist() == [["fixed", 2]]
        source = FixedSource(marked(3))
        history.ingest(source)
        assert source.marks == {"log": "2"}
        assert history.marks("fixed") == {"log": "3"}
        assert history.marks("other") == {}
        history.ingest(source, again=True)
        assert source.marks == {}


def test_a_batch_is_stored_whole_or_not_at_all() -> None:
    batch = marked(1)
    batch.events = [{"at": 3}, None]  # type: ignore[list-item]
    with History(None) as history:
        with pytest.raises(TypeError):
            history.ingest(FixedSource(batch))
        assert history.counts()["certificates"] == 0
        assert history.marks("fixed") == {}


def test_a_killed_import_keeps_what_it_stored_and_goes_on_from_there(tmp_path: Path) -> None:
    path = tmp_path / "history.duckdb"
    script = textwrap.dedent(
        """
        import sys, time
        from certforecast.history import History
        from certforecast.history.sources import NO_MARKS
        from tests.history.test_store import FixedSource, marked

        class Slow(FixedSource):
            def read(self, marks=NO_MARKS):
                for number in range(1000):
                    yield marked(number)
                    if number == 20:
                        print("half-way", flush=True)
                        time.sleep(60)

        History(sys.argv[1]).ingest(Slow())
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half-way\n"
        with pytest.raises(StoreError, match="in use by another process"):
            History(path)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
    deadline = time.monotonic() + 10
    while True:
        try:
            history = History(path)
            break
        except StoreError:
            assert time.monotonic() < deadline
    with history:
        assert history.counts()["certificates"] == 21
        assert history.marks("fixed") == {"log": "20"}


def test_five_sources_make_one_row_known_from_the_earliest() -> None:
    """A log's summary, a monitor's fingerprint, two files: one row, and each knowledge from its own time."""
    made = certificate("a.example", serial=0xABC)
    row = certificate_row(der(made), source="pem", known_at=day(6)) | {"details_known_at": None}
    start = row["not_before"]
    details = dict.fromkeys(DETAILS)
    summary = row | details | {"fingerprint": "~" + "1" * 63, "source": "log", "known_at": start}
    monitor = row | details | {"serial": None, "source": "monitor", "known_at": start + timedelta(days=2)}
    later = [row | {"source": name, "known_at": start + timedelta(days=days)} for name, days in FILES]
    for rows in permutations([summary, monitor, *later]):
        with History(None) as history:
            for given in rows:
                history.append(Batch(certificates=[given]))
            (kept,) = history.tables().certificates.to_pandas().to_dict("records")
            assert kept["fingerprint"] == row["fingerprint"]
            assert kept["known_at"] == start
            assert kept["details_known_at"] == start + timedelta(days=4)
            assert history.provenance()[["source", "known_at"]].values.tolist() == [
                ["cloud", start + timedelta(days=4)],
                ["log", start],
                ["monitor", start + timedelta(days=2)],
                ["pem", start + timedelta(days=6)],
            ]
            moments = [start + timedelta(days=days) for days in (1, 5)]
            seen = history.tables().at(moments).certificates.order_by("as_of").to_pandas()
            assert seen["key_algorithm"].isna().tolist() == [True, False]
            assert seen["serial"].tolist() == ["abc", "abc"]


FILES = [("pem", 6), ("cloud", 4)]


def test_whole_certificates_are_parsed_and_chain_certificates_passed_over() -> None:
    now = START + timedelta(days=10)
    wholes = [
        Whole(der(certificate("a.example")), START + timedelta(days=3), "a"),
        Whole(der(certificate("old-file.example")), START - timedelta(days=900), "b"),
        Whole(der(certificate("from-tomorrow.example")), now + timedelta(days=1), "c"),
        Whole(der(authority()), START, "d"),
        Whole(b"nonsense", START, "e"),
    ]
    with History(None, clock=lambda: now) as history:
        done = history.append(Batch(wholes=wholes), source="pem")
        assert (done.new, done.quarantined) == (3, 1)
        frame = history.tables().certificates.to_pandas()
        known = {names[0]: at for names, at in zip(frame["names"], frame["known_at"], strict=True)}
        assert known == {
            "a.example": START + timedelta(days=3),
            "old-file.example": START,
            "from-tomorrow.example": now,
        }
        aside = history.quarantine()
        assert (aside["position"][0], aside["content"][0]) == ("e", "")


def test_a_store_of_the_first_layout_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "history.duckdb"
    with History(path) as history:
        history.append(rich().batch)
        before = contents(history)
    with duckdb.connect(str(path)) as connection:
        for table in TABLES:
            connection.execute(f"ALTER TABLE {table} DROP COLUMN fact")
        connection.execute("ALTER TABLE certificates DROP COLUMN details_known_at")
        connection.execute("ALTER TABLE events DROP COLUMN fingerprint")
        for table in ("marks", "provenance"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("UPDATE meta SET schema_version = 1")
    with History(path) as history:
        for name, frame in contents(history).items():
            pd.testing.assert_frame_equal(frame, before[name])
        assert history.append(rich().batch).changed == 0
        assert len(history.provenance()) == 2


def test_the_executors_events_of_the_second_layout_name_their_certificate(tmp_path: Path) -> None:
    path = tmp_path / "history.duckdb"
    timeline = Timeline()
    about = timeline.certificate("a", "www.shop.example", 0)
    timeline.event(1, "www.shop.example", "order_created", source="executor", detail=about)
    timeline.event(2, "www.shop.example", "reload_failed", source="executor", detail="no such process")
    with History(path) as history:
        history.append(timeline.batch)
    with duckdb.connect(str(path)) as connection:
        connection.execute("ALTER TABLE events DROP COLUMN fingerprint")
        connection.execute("UPDATE meta SET schema_version = 2")
    with History(path) as history:
        events = contents(history)["events"].set_index("kind")
    assert events["fingerprint"].fillna("").to_dict() == {"order_created": about, "reload_failed": ""}
    assert events["detail"].fillna("").to_dict() == {"order_created": "", "reload_failed": "no such process"}


def test_an_event_learns_which_certificate_it_is_about() -> None:
    timeline = Timeline()
    about = timeline.certificate("a", "www.shop.example", 0)
    timeline.event(1, "www.shop.example", "issued")
    with timeline.history() as history:
        again = Timeline()
        again.event(1, "www.shop.example", "issued", fingerprint=about)
        assert history.append(again.batch).tables["events"].updated == 1
        assert contents(history)["events"]["fingerprint"].tolist() == [about]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_an_event_keeps_the_fingerprint_of_a_whole_certificate(order: tuple[int, ...]) -> None:
    told = [
        {"fingerprint": digest("a"), "known_at": day(9)},
        {"fingerprint": "~" + digest("b")[1:], "known_at": day(2)},
        {"detail": "first", "known_at": day(1)},
    ]
    with History(None) as history:
        for index in order:
            timeline = Timeline()
            timeline.event(1, "a.example", "issued", **told[index])
            history.append(timeline.batch)
        [event] = history.tables().events.to_pandas().to_dict("records")
    assert (event["fingerprint"], event["detail"], event["known_at"]) == (digest("a"), "first", day(1))


def test_a_fingerprint_of_an_event_must_be_one() -> None:
    timeline = Timeline()
    timeline.event(1, "a.example", "issued", fingerprint=digest("a").upper())
    with History(None) as history:
        history.append(timeline.batch)
        assert history.counts()["events"] == 0
        assert history.quarantine()["reason"].tolist() == ["fingerprint is not a SHA-256 in lower-case hex"]


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.duckdb"
    History(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE meta SET schema_version = 99")
    with pytest.raises(StoreError, match=r"has layout 99.*upgrade certforecast"):
        History(path)


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.duckdb"
    garbage.write_bytes(b"garbage" * 1000)
    with pytest.raises(StoreError, match="cannot be opened"):
        History(garbage)
    other = tmp_path / "other.duckdb"
    with duckdb.connect(str(other)) as connection:
        connection.execute("CREATE TABLE mine (x INT)")
    with pytest.raises(StoreError, match="not a certforecast store"):
        History(other)


def test_what_is_exported_can_be_read_again(tmp_path: Path) -> None:
    with rich().history() as history:
        history.export(tmp_path)
        before = contents(history)
    from certforecast.history.sources.tables import TablesSource

    with History(None) as copy:
        copy.ingest(TablesSource(tmp_path))
        for name, frame in contents(copy).items():
            pd.testing.assert_frame_equal(frame, before[name])


def test_a_table_without_a_required_column_is_refused_whole() -> None:
    with pytest.raises(SchemaError, match="has no column fingerprint"):
        check(CERTIFICATES, pa.table({"names": [["a.example"]]}))
    with pytest.raises(SchemaError, match=r"observations\.observed_at is not timestamp"):
        check(OBSERVATIONS, pa.table({name: ["x"] for name in OBSERVATIONS.columns}))


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_details_are_known_from_when_the_row_that_gives_them_was(order: tuple[int, ...]) -> None:
    """An outline, its key's hash alone, and the whole: whichever comes in first."""
    about = {"key_algorithm": None, "spki_hash": None}
    told = [
        {**about, "known_at": day(1), "is_precertificate": True},
        {**about, "known_at": day(5), "spki_hash": digest("key")},
        {"key_algorithm": "RSA", "spki_hash": digest("key"), "known_at": day(9)},
    ]
    timeline = Timeline()
    timeline.certificate("a", "a.example", 0)
    (row,) = timeline.batch.certificates
    with History(None) as history:
        for number, place in enumerate(order, 1):
            history.append(Batch(certificates=[row | told[place]]))
            seen = [told[place] for place in order[:number]]
            (stored,) = contents(history)["certificates"].to_dict("records")
            assert stored["known_at"] == min(one["known_at"] for one in seen)
            whole = [one["known_at"] for one in seen if one["key_algorithm"]]
            hashed = [one["known_at"] for one in seen if one["spki_hash"]]
            expected = min(whole or hashed, default=None)
            found = stored["details_known_at"]
            assert (None if pd.isna(found) else found) == expected
