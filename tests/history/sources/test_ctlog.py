"""A log read in both protocols, page by page; the log is ours (tests/history/sources/ctlogs.py)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import InputError, SourceError
from certforecast.history import History
from certforecast.history.sources import Batch
from certforecast.history.sources.ct_entries import from_leaf, load_key
from certforecast.history.sources.ctlog import CtLogSource
from tests.certificates import key_pem
from tests.history.sources.ctlogs import LOGGED, FakeLog
from tests.history.sources.reading import parsed, read
from tests.history.sources.serving import Answer, Question, Serving, serving

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KINDS = ["rfc6962", "static"]


@contextmanager
def running(log: FakeLog, kind: str) -> Iterator[Serving]:
    answer: Callable[[Question], Answer] = log.tiles if kind == "static" else log.rfc6962
    with serving(answer) as server:
        yield server


def source(server: Serving, log: FakeLog, **options: Any) -> CtLogSource:
    options = {"domains": ("ours.example",), "key": log.key, "clock": lambda: NOW, "partial": True} | options
    return CtLogSource(f"{server.url}/2026", **options)


def numbers(batch: Batch) -> list[int]:
    return [int(one.position.rpartition("#")[2]) for one in batch.wholes]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 1300])
def test_every_entry_of_ours_is_kept_whatever_the_size(kind: str, size: int) -> None:
    log = FakeLog(size)
    with running(log, kind) as server:
        found = parsed(source(server, log), now=NOW)
    assert [row["names"] for row in found.certificates] == [[log.name(n)] for n in range(0, size, 10)]
    assert [row["known_at"] for row in found.certificates] == [
        LOGGED + timedelta(seconds=number) for number in range(0, size, 10)
    ]
    assert [row["is_precertificate"] for row in found.certificates] == [
        number % 3 == 0 for number in range(0, size, 10)
    ]
    assert found.rejected == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_import_goes_on_where_the_last_one_ended(kind: str) -> None:
    log = FakeLog(1300)
    with running(log, kind) as server, History(None, clock=lambda: NOW) as history:
        log.size = log.head_size = 1100
        assert history.ingest(source(server, log, limit=1030)).new == 103
        asked = len(server.asked)
        assert history.ingest(source(server, log)).new == 7
        assert len(server.asked) - asked < 8
        log.size = log.head_size = 1300
        assert history.ingest(source(server, log)).new == 20
        assert history.ingest(source(server, log)).changed == 0
        assert history.counts()["certificates"] == 130
        # Other domains have a mark of their own.
        assert history.ingest(source(server, log, domains=("n7.example",))).new == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_in_the_middle_is_proven_too(kind: str) -> None:
    log = FakeLog(900)
    for start in (1, 300, 512, 899, 900):
        with running(log, kind) as server:
            found = read(source(server, log, start=start))
        assert numbers(found) == list(range(-(-start // 10) * 10, 900, 10))
    with running(log, kind) as server, pytest.raises(InputError, match="beyond the log's 900 entries"):
        read(source(server, log, start=901))


def test_a_tile_that_is_not_full_is_left_for_later() -> None:
    log = FakeLog(600)
    with running(log, "static") as server:
        assert numbers(read(source(server, log, partial=False)))[-1] == 510
        assert not any(".p/" in one.path for one in server.asked if "data" in one.path)


def test_packed_tiles_are_read() -> None:
    log = FakeLog(300)
    log.packed = True
    with running(log, "static") as server:
        assert len(read(source(server, log)).wholes) == 30


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_that_the_log_did_not_sign_stops_the_import(kind: str) -> None:
    log = FakeLog(1300)
    honest = log.tiles if kind == "static" else log.rfc6962
    forged = FakeLog(1300)
    forged.changed[1200] = forged.entry(1201)[0][20:400]
    lying = forged.tiles if kind == "static" else forged.rfc6962

    def answer(question: Question) -> Answer:
        return lying(question) if "data" in question.path or "entries" in question.path else honest(question)

    with serving(answer) as server:
        batches = source(server, log).read()
        kept = [next(batches)]
        with pytest.raises(SourceError, match=r"does not contain the 1,300\s+that it gave"):
            next(batches)
    assert [len(batch.wholes) for batch in kept] == [103]


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_that_takes_back_or_rewrites_is_caught(kind: str) -> None:
    log = FakeLog(600)
    with running(log, kind) as server, History(None, clock=lambda: NOW) as history:
        history.ingest(source(server, log))
        log.head_size = log.size = 500
        with pytest.raises(SourceError, match=r"has 500 entries now, but had 600 before"):
            history.ingest(source(server, log))
        log.head_size = log.size = 700
        log.changed[3] = log.entry(4)[0][20:300]
        with pytest.raises(SourceError, match="does not contain"):
            history.ingest(source(server, log))
        assert history.counts()["certificates"] == 60


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_by_another_key_is_refused(kind: str) -> None:
    log = FakeLog(10)
    with (
        running(log, kind) as server,
        pytest.raises(SourceError, match=r"its key has not signed|not signed by"),
    ):
        read(source(server, log, key=FakeLog(1).key))


def test_the_key_may_be_a_file(tmp_path: Path) -> None:
    import base64

    log = FakeLog(10)
    (tmp_path / "key.der").write_bytes(base64.b64decode(log.key))
    with running(log, "rfc6962") as server:
        assert len(read(source(server, log, key=tmp_path / "key.der")).wholes) == 1
    with pytest.raises(InputError, match="key of the log cannot be read"):
        load_key(b"nonsense")
    with pytest.raises(InputError, match="key of the log cannot be read"):
        load_key(key_pem())


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("get-sth", {}, "no tree head that can be read"),
        ("get-sth", [], "is no JSON object"),
        ("get-entries", {"entries": []}, "gave no entries from 0 on"),
        ("get-entries", {"entries": [7]}, "an entry that cannot be read"),
        ("get-entries", {"entries": [{"leaf_input": "%", "extra_data": ""}]}, "not base64"),
        ("get-sth-consistency", {"consistency": 7}, "no proof that can be read"),
    ],
)
def test_answers_that_are_none_stop_the_import(path: str, content: Any, said: str) -> None:
    log = FakeLog(1300)

    def answer(question: Question) -> Answer:
        return Answer(content) if question.path.endswith(path) else log.rfc6962(question)

    with serving(answer) as server, pytest.raises(SourceError, match=said):
        read(source(server, log))


@pytest.mark.parametrize(
    ("part", "said"), [("checkpoint", "no signed note"), ("data", "damaged"), ("/1/", "")]
)
def test_tiles_that_are_none_stop_the_import(part: str, said: str) -> None:
    log = FakeLog(600)

    def answer(question: Question) -> Answer:
        if part in question.path:
            return Answer(b"12\nx" if part == "checkpoint" else log.tiles(question).content()[:-70])
        return log.tiles(question)

    with serving(answer) as server, pytest.raises(SourceError, match=said):
        read(source(server, log, kind="static", limit=256))


def test_a_broken_entry_is_set_aside_and_the_tree_still_holds() -> None:
    log = FakeLog(40)
    log.changed[10] = b"no certificate of ours.example"
    log.changed[11] = b"no certificate of anybody"
    with running(log, "rfc6962") as server:
        found = read(source(server, log))
    assert [(one.position.rpartition("#")[2], one.content) for one in found.rejected] == [("10", "")]
    assert numbers(found) == [0, 20, 30]


def test_domains_have_to_be_named() -> None:
    log = FakeLog(20)
    with running(log, "rfc6962") as server:
        with pytest.raises(InputError, match="no domains are named"):
            read(source(server, log, domains=()))
        assert len(read(source(server, log, domains=("*",))).wholes) == 20
        assert numbers(read(source(server, log, domains=("example",)))) == list(range(20))
        assert numbers(read(source(server, log, domains=("H0.Ours.example",)))) == [0]


@given(st.binary(max_size=80), st.binary(max_size=20))
def test_any_leaf_is_read_or_told(leaf: bytes, extra: bytes) -> None:
    entry = from_leaf(leaf, extra)
    assert (entry.reason is None) == (entry.logged_at is not None)
    assert entry.leaf == leaf
