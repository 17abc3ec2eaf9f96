"""A log read in both protocols, page by page; the log is ours (tests/history/sources/ctlogs.py)."""

import base64
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from certforecast.errors import InputError, SourceError
from certforecast.history import History
from certforecast.history.sources import Batch
from certforecast.history.sources.ctlog import CtLogSource
from tests.certificates import certificate, der
from tests.history.sources.ctlogs import LOGGED, OurLog, precert_leaf, precertificate, whole, x509_leaf
from tests.history.sources.reading import parsed, read
from tests.history.sources.serving import Answer, Question, Serving, serving

NOW = datetime(2026, 6, 1, tzinfo=UTC)
AT = int(LOGGED.timestamp() * 1000)
KINDS = ["rfc6962", "static"]

both = pytest.mark.parametrize("kind", KINDS)
Reply = Callable[[Question], Answer]


def protocol(log: OurLog, kind: str) -> Reply:
    return log.tiles if kind == "static" else log.rfc6962


@contextmanager
def running(log: OurLog, kind: str) -> Iterator[Serving]:
    with serving(protocol(log, kind)) as server:
        yield server


def source(server: Serving, log: OurLog, **options: Any) -> CtLogSource:
    options = {"domains": ("ours.example",), "key": log.key, "clock": lambda: NOW, "partial": True} | options
    return CtLogSource(f"{server.url}/2026", **options)


def numbers(batch: Batch) -> list[int]:
    return [int(one.position.rpartition("#")[2]) for one in batch.wholes]


def refused(batch: Batch) -> dict[int, str]:
    return {int(one.position.rpartition("#")[2]): one.reason for one in batch.rejected}


def marks_of(batch: Batch) -> dict[str, str]:
    return {mark.place: mark.state for mark in batch.marks}


@both
@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 1300])
def test_every_entry_of_ours_is_kept_whatever_the_size(kind: str, size: int) -> None:
    log = OurLog(size)
    with running(log, kind) as server:
        found = parsed(source(server, log), now=NOW)
    ours = range(0, size, 10)
    assert [row["names"] for row in found.certificates] == [[log.name(number)] for number in ours]
    assert [row["known_at"] for row in found.certificates] == [
        LOGGED + timedelta(seconds=number) for number in ours
    ]
    assert [row["is_precertificate"] for row in found.certificates] == [number % 3 == 0 for number in ours]
    assert found.rejected == []


@both
def test_the_next_import_goes_on_where_the_last_one_ended(kind: str) -> None:
    log = OurLog(1100)
    with running(log, kind) as server, History(None, clock=lambda: NOW) as history:
        assert history.ingest(source(server, log, limit=1030)).new == 103
        assert history.ingest(source(server, log)).new == 7
        log.size = 1300
        asked = len(server.asked)
        assert history.ingest(source(server, log)).new == 20
        assert len(server.asked) - asked < 10
        asked = len(server.asked)
        assert history.ingest(source(server, log)).skipped == 1
        assert not any("data" in one.path or "get-entries" in one.path for one in server.asked[asked:])
        assert history.counts()["certificates"] == 130
        # Other domains have a mark of their own.
        assert history.ingest(source(server, log, domains=("n7.example",))).new == 1


@both
def test_an_import_that_was_stopped_goes_on_with_what_it_stored(kind: str) -> None:
    log = OurLog(3000)
    answer, broken = protocol(log, kind), True

    def failing(question: Question) -> Answer:
        late = int(question["start"] or 0) >= 2500 or question.path.endswith("tile/data/010")
        return Answer(b"gone", 410) if broken and late else answer(question)

    with serving(failing) as server, History(None, clock=lambda: NOW) as history:
        with pytest.raises(SourceError, match="410"):
            history.ingest(source(server, log))
        assert history.counts()["certificates"] == 205
        broken, asked = False, len(server.asked)
        assert history.ingest(source(server, log)).new == 95
        starts = [int(one["start"]) for one in server.asked[asked:] if one["start"]]
        tiles = [
            one.path[-3:] for one in server.asked[asked:] if "/data/" in one.path and ".p" not in one.path
        ]
        assert min(starts, default=2048) == 2048
        assert tiles == ([] if kind == "rfc6962" else ["008", "009", "010"])


@both
def test_a_reader_may_stop_after_any_page(kind: str) -> None:
    log = OurLog(3000)
    with running(log, kind) as server:
        pages = source(server, log).read()
        first = next(pages)
        pages.close()  # type: ignore[attr-defined]
        assert numbers(first) == list(range(0, 1024, 10))
        rest = read(source(server, log), marks_of(first))
    assert numbers(rest) == list(range(1030, 3000, 10))


@both
def test_a_start_in_the_middle_is_proven_too(kind: str) -> None:
    log = OurLog(900)
    for start in (1, 300, 512, 899, 900):
        with running(log, kind) as server:
            found = read(source(server, log, start=start, limit=450))
        assert numbers(found) == list(range(-(-start // 10) * 10, min(start + 450, 900), 10))
    with running(log, kind) as server, pytest.raises(InputError, match="start 901 is none of"):
        read(source(server, log, start=901))
    log.leaves[100] = x509_leaf(whole("other.example"), AT)
    honest = OurLog(900)
    honest.secret = log.secret

    def answer(question: Question) -> Answer:
        head = question.path.endswith(("checkpoint", "get-sth"))
        return protocol(honest if head else log, kind)(question)

    log.signed_sizes.add(900)
    with serving(answer) as server, pytest.raises(SourceError, match="does not contain the 750"):
        read(source(server, log, start=300, limit=450))


def test_a_tile_that_is_not_full_waits_until_it_is_or_nothing_comes() -> None:
    log = OurLog(600)
    with running(log, "static") as server:
        first = read(source(server, log, partial=False))
        assert numbers(first)[-1] == 510
        assert not any(".p/" in one.path for one in server.asked if "data" in one.path)
        # The part that is left is in the head all the same, and the head is checked to the end.
        assert any("tile/0/002.p/88" in one.path for one in server.asked)
        log.size = 640
        again = read(source(server, log, partial=False), marks_of(first))
        assert numbers(again) == list(range(520, 640, 10))
        log.size = 700
        assert numbers(read(source(server, log, partial=False), marks_of(again))) == list(range(640, 700, 10))
        log.size = 800
        assert numbers(read(source(server, log, partial=False), marks_of(again))) == list(range(640, 768, 10))


def test_a_log_smaller_than_a_tile_is_read_by_the_second_import() -> None:
    log = OurLog(40)
    with running(log, "static") as server:
        first = read(source(server, log, partial=False))
        assert not first.wholes
        assert numbers(read(source(server, log, partial=False), marks_of(first))) == [0, 10, 20, 30]


def test_a_partial_tile_that_is_gone_is_in_the_full_one() -> None:
    log = OurLog(300)

    def answer(question: Question) -> Answer:
        if ".p/" in question.path:
            log.size = 512  # grown since the checkpoint
            return Answer(b"gone", 404)
        return log.tiles(question)

    with serving(answer) as server:
        assert numbers(read(source(server, log, limit=300))) == list(range(0, 300, 10))


def test_packed_tiles_are_read() -> None:
    log = OurLog(300)
    log.packed = True
    with running(log, "static") as server:
        assert len(read(source(server, log)).wholes) == 30


@both
def test_an_entry_that_the_log_did_not_sign_stops_the_import(kind: str) -> None:
    log, forged = OurLog(1300), OurLog(1300)
    forged.leaves[1201] = x509_leaf(whole("evil.ours.example"), AT)
    honest, lying = protocol(log, kind), protocol(forged, kind)
    forged.signed_sizes.add(1300)

    def answer(question: Question) -> Answer:
        return lying(question) if "data" in question.path or "entries" in question.path else honest(question)

    with serving(answer) as server, History(None, clock=lambda: NOW) as history:
        with pytest.raises(SourceError, match="does not contain the 1,300 that it gave"):
            history.ingest(source(server, log))
        assert history.counts()["certificates"] == 103  # of the page before


@both
def test_entries_missing_or_out_of_order_stop_the_import(kind: str) -> None:
    log, other = OurLog(300), OurLog(300)
    other.leaves[10], other.leaves[20] = other.entry(20)[0], other.entry(10)[0]
    honest, lying = protocol(log, kind), protocol(other, kind)
    other.signed_sizes.add(300)

    def answer(question: Question) -> Answer:
        return lying(question) if "data" in question.path or "entries" in question.path else honest(question)

    with serving(answer) as server, pytest.raises(SourceError, match="does not contain the 300"):
        read(source(server, log))


@both
def test_a_log_that_takes_back_or_rewrites_is_caught(kind: str) -> None:
    log = OurLog(600)
    with running(log, kind) as server, History(None, clock=lambda: NOW) as history:
        history.ingest(source(server, log))
        log.size = 500
        with pytest.raises(SourceError, match=r"has 500 entries now, but had 600 before.*rollback"):
            history.ingest(source(server, log))
        for size in (600, 700):
            log.size = size
            log.leaves[3] = x509_leaf(whole("other.example"), AT)
            with pytest.raises(SourceError, match="split view"):
                history.ingest(source(server, log))
        assert history.counts()["certificates"] == 60


@both
def test_a_split_view_beyond_what_was_read_is_caught(kind: str) -> None:
    log = OurLog(600)
    with running(log, kind) as server:
        first = read(source(server, log, limit=256))
        log.size, log.leaves[590] = 700, x509_leaf(whole("other.example"), AT)
        with pytest.raises(SourceError, match="does not go on from the one of 600"):
            read(source(server, log), marks_of(first))


@both
def test_a_head_by_another_key_is_refused(kind: str) -> None:
    log = OurLog(10)
    with running(log, kind) as server:
        with pytest.raises(SourceError, match="not signed by the key given"):
            read(source(server, log, key=OurLog(1).key))
        assert numbers(read(source(server, log, key=None))) == [0]


@both
def test_a_head_that_was_changed_is_refused(kind: str) -> None:
    log = OurLog(10)

    def answer(question: Question) -> Answer:
        given = protocol(log, kind)(question)
        if isinstance(given.body, dict) and "tree_size" in given.body:
            given.body["tree_size"] = 9
        elif question.path.endswith("checkpoint"):
            given.body = given.body.replace(b"\n10\n", b"\n9\n")
        return given

    with serving(answer) as server, pytest.raises(SourceError, match="not signed by the key given"):
        read(source(server, log))


@both
@pytest.mark.parametrize("rsa_key", [False, True])
def test_the_key_may_be_a_file_or_text(kind: str, rsa_key: bool, tmp_path: Path) -> None:
    log = OurLog(10, rsa_key=rsa_key)
    (tmp_path / "key.der").write_bytes(log.public)
    lines = base64.encodebytes(log.public).decode()
    (tmp_path / "key.pem").write_text(f"-----BEGIN PUBLIC KEY-----\n{lines}-----END PUBLIC KEY-----\n")
    with running(log, kind) as server:
        for key in (tmp_path / "key.der", str(tmp_path / "key.pem"), log.key):
            assert numbers(read(source(server, log, key=key))) == [0]


def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    edwards = ed25519.Ed25519PrivateKey.generate().public_key()
    (tmp_path / "other.der").write_bytes(
        edwards.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "empty.pem").write_bytes(b"")
    log = OurLog(1)
    with running(log, "rfc6962") as server:
        for key, said in [
            (tmp_path / "other.der", "neither ECDSA nor RSA"),
            (tmp_path / "empty.pem", "is not a public key"),
            (tmp_path / "missing.pem", "cannot be read"),
            (tmp_path, "cannot be read"),
            ("x" * 5000, "cannot be read"),
        ]:
            with pytest.raises(InputError, match=said):
                read(source(server, log, key=key))


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("get-sth", {}, "tree head that cannot be read"),
        ("get-sth", [], "is no JSON object"),
        ("get-sth", b"<html>", "is not JSON"),
        ("get-sth", b"[" * 200_000, "is not JSON"),
        ("get-sth", {"tree_size": -1, "sha256_root_hash": "A" * 43 + "="}, "impossible"),
        ("get-sth", {"tree_size": 5, "sha256_root_hash": "AAAA"}, "impossible"),
        ("get-sth", {"tree_size": 1e400, "sha256_root_hash": "AAAA"}, "cannot be read"),
        ("get-entries", {"entries": []}, "gave no entries from 0 on"),
        ("get-entries", {"entries": [7]}, "entry after 0 that cannot be read"),
        ("get-entries", {"entries": [{"leaf_input": "%", "extra_data": ""}]}, "not base64"),
        ("get-entries", {"entries": [{"leaf_input": "AAA=", "extra_data": None}]}, "missing"),
        (
            "get-entry-and-proof",
            {"leaf_input": "", "audit_path": 7},
            "proof for entry 1023 that cannot be read",
        ),
        ("get-entry-and-proof", {"leaf_input": "", "audit_path": ["AAAA"]}, "does not contain the 1,024"),
    ],
)
def test_answers_that_are_none_stop_the_import(path: str, content: Any, said: str) -> None:
    log = OurLog(1300)

    def answer(question: Question) -> Answer:
        return Answer(content) if question.path.endswith(path) else log.rfc6962(question)

    with serving(answer) as server, pytest.raises(SourceError, match=said):
        read(source(server, log, kind="rfc6962"))


@pytest.mark.parametrize(
    ("part", "cut", "said"),
    [
        ("checkpoint", slice(4), "is no checkpoint of a log"),
        ("checkpoint", slice(-90), "not signed by the key given"),
        ("tile/data/000", slice(-70), "tile/data/000 is damaged"),
        ("tile/data/000", slice(0), "tile/data/000 is damaged"),
        ("tile/1/000.p/2", slice(-7), "tile/1/000.p/2 is cut off"),
    ],
)
def test_tiles_that_are_cut_off_stop_the_import(part: str, cut: slice, said: str) -> None:
    log = OurLog(600)

    def answer(question: Question) -> Answer:
        given = log.tiles(question)
        return Answer(given.content()[cut]) if part in question.path else given

    with serving(answer) as server, pytest.raises(SourceError, match=said):
        read(source(server, log, kind="static", limit=256))


def test_an_answer_that_breaks_off_stops_the_import() -> None:
    log = OurLog(300)

    def answer(question: Question) -> Answer:
        given = log.tiles(question)
        given.missing = 100 if "data" in question.path else 0
        return given

    with serving(answer) as server, pytest.raises(SourceError, match="cannot be reached"):
        read(source(server, log))


def test_more_entries_than_asked_for_are_left() -> None:
    log = OurLog(600)

    def answer(question: Question) -> Answer:
        if question["end"]:
            question.query["end"] = ["599"]
        return log.rfc6962(question)

    with serving(answer) as server:
        assert numbers(read(source(server, log, limit=95))) == list(range(0, 95, 10))


@both
def test_a_busy_log_is_asked_again(kind: str) -> None:
    log, busy = OurLog(300), dict[str, int]()

    def answer(question: Question) -> Answer:
        asked = f"{question.path} {question.query}"
        busy[asked] = busy.get(asked, 0) + 1
        if busy[asked] == 1 and ("data" in question.path or "entries" in question.path):
            return Answer(b"slowly", 429, {"Retry-After": "0"})
        return protocol(log, kind)(question)

    with serving(answer) as server:
        assert len(read(source(server, log)).wholes) == 30
    assert max(busy.values()) == 2


def test_a_web_page_for_everything_is_no_checkpoint() -> None:
    log = OurLog(20)

    def answer(question: Question) -> Answer:
        known = question.path.startswith("/2026/ct/")
        return log.rfc6962(question) if known else Answer(b"<html>welcome</html>\n\n")

    with serving(answer) as server:
        assert numbers(read(source(server, log))) == [0, 10]
        with pytest.raises(SourceError, match="is no checkpoint of a log"):
            read(source(server, log, kind="static"))


@both
def test_a_broken_entry_is_set_aside_and_the_tree_still_holds(kind: str) -> None:
    log = OurLog(60)
    log.leaves[10] = x509_leaf(b"no certificate of ours.example", AT)
    log.leaves[11] = x509_leaf(b"no certificate of anybody", AT)
    log.leaves[20] = x509_leaf(whole("h20.ours.example"), 2**64 - 1)
    log.leaves[40] = x509_leaf(whole("h40.ours.example")[:-9], AT)
    with running(log, kind) as server:
        found = read(source(server, log))
    assert refused(found) == {
        10: "bytes are not a whole DER certificate; they are truncated or something else",
        20: "entry has a time beyond the calendar",
        40: "bytes are not a whole DER certificate; they are truncated or something else",
    }
    assert [one.content for one in found.rejected] == ["", "", ""]
    assert numbers(found) == [0, 30, 50]


@both
def test_a_precertificate_that_is_not_the_signed_one_is_refused(kind: str) -> None:
    log = OurLog(200)
    log.beside[30] = precertificate("h60.ours.example")
    log.beside[60] = b"nonsense"
    log.beside[90] = precertificate("n1.example")  # would hide ours
    log.beside[3] = precertificate("evil.ours.example")  # would pass for ours
    log.leaves[120] = precert_leaf(b"nonsense of ours.example", AT)
    with running(log, kind) as server:
        found = read(source(server, log, limit=150))
    other = "precertificate is not the one that the log has signed"
    broken = "bytes are not a whole DER certificate; they are truncated or something else"
    assert refused(found) == {30: other, 60: broken, 90: other, 120: broken}
    assert numbers(found) == [0, 10, 20, 40, 50, 70, 80, 100, 110, 130, 140]


@both
def test_nothing_is_known_from_the_future(kind: str) -> None:
    log = OurLog(1)
    log.leaves[0] = x509_leaf(whole("h0.ours.example"), AT + 10**12)
    with running(log, kind) as server:
        assert [one.known_at for one in read(source(server, log)).wholes] == [NOW]


def test_a_precertificate_and_its_certificate_become_one() -> None:
    log = OurLog(2)
    log.leaves[1] = x509_leaf(whole("h0.ours.example"), AT + 5000)
    with running(log, "static") as server, History(None, clock=lambda: NOW) as history:
        history.ingest(source(server, log, domains=("h0.ours.example",)))
        frame = history.tables().certificates.to_pandas()
    assert frame[["known_at", "is_precertificate"]].to_numpy().tolist() == [[LOGGED, False]]


def test_domains_have_to_be_named() -> None:
    log = OurLog(20)
    with running(log, "rfc6962") as server:
        for domains, said in [
            ((), "no domains are named"),
            (("192.0.2.1",), "is no domain"),
            (("not a name",), "neither a DNS name"),
        ]:
            with pytest.raises(InputError, match=said):
                read(source(server, log, domains=domains))
        assert len(read(source(server, log, domains=("*",))).wholes) == 20
        assert numbers(read(source(server, log, domains=("example",)))) == list(range(20))
        assert numbers(read(source(server, log, domains=("H0.Ours.example.",)))) == [0]
        assert numbers(read(source(server, log, domains=("*.ours.example", "n7.example")))) == [0, 7, 10]
        assert numbers(read(source(server, log, domains=("rs.example", "s.example")))) == []


def test_names_are_found_however_they_are_written() -> None:
    log = OurLog(5)
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "Ours.Example", _type=x509.name._ASN1Type.BMPString)]
    )
    for place, made in enumerate(
        [
            certificate("WWW.OURS.EXAMPLE"),
            certificate("*.ours.example"),
            certificate(subject=subject),
            certificate("xn--bcher-kva.example"),
            certificate(subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bücher.example")])),
        ]
    ):
        log.leaves[place] = x509_leaf(der(made), AT)
    with running(log, "rfc6962") as server:
        assert numbers(read(source(server, log))) == [0, 1, 2]
        assert numbers(read(source(server, log, domains=("bücher.example",)))) == [3, 4]


def test_pages_are_fetched_several_at_a_time() -> None:
    log, under_way, most = OurLog(4 * 1024), 0, 0

    def answer(question: Question) -> Answer:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        time.sleep(0.002)
        under_way -= 1
        return log.tiles(question)

    with serving(answer) as server:
        read(source(server, log, kind="static"))
    assert most > 1
