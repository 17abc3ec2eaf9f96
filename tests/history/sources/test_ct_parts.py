"""Entries, keys and heads of logs, from any bytes, and heads that logs have published."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import InputError, SourceError
from certforecast.history.sources.ct_entries import Reader, from_leaf, from_tile
from certforecast.history.sources.ct_heads import Head, LogKey, unbase64
from certforecast.history.sources.ct_rfc6962 import Rfc6962Log
from certforecast.history.sources.ct_static import StaticLog
from certforecast.history.sources.http import Service
from certforecast.history.sources.merkle import Frontier
from certforecast.history.x509 import parse
from tests.history.sources.ctlogs import OurLog, issued, precert_leaf, precertificate, whole, x509_leaf
from tests.history.sources.serving import Answer, serving

#: A tree head that a log has signed in 2020, and a checkpoint that Sunlight has made. Both stand with their
#: keys in the tests of Sunlight (filippo.io/sunlight: checkpoint_test.go, and cmd/skylight/testdata/tree).
HEAD: dict[str, Any] = {
    "tree_size": 90785920,
    "timestamp": 1588741228371,
    "sha256_root_hash": "l+XrWXWRyp4SmATORgTfz4CcYS/VlE7CeTuWI0FAk3o=",
    "tree_head_signature": (
        "BAMASDBGAiEAnaHGuwnyyHWvrfgEn3qtl1j2heMzocku6ZAItYD75m8CIQCpotlpH5GEPEfMMzky72BCuIl14FB65t5SWZ91vgTQOg=="
    ),
}
HEAD_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAESYlKFDLLFmA9JScaiaNnqlU8oWDytxIYMfswHy9Esg0aiX+WnP/yj4O0ViEHtLwbmOQeSWBG"
    "kIu9YK9CLeer+g=="
)
CHECKPOINT = """rome2026h1.example.org
300
lCkHUpkmVBEms2r2T1K6Og69+wUuuN3MIEW1/ezu2v0=

— rome2026h1.example.org kVB1JgAAAZtxtEwABAMARzBFAiEAi+mTa2xjL1IdWpH82OeciGsGvwRAP+f1WkfKaSZCfFECIHoN\
PZ/Q3y6UNzvKOO9cuLr6V16vPNfhwhle9f6r5H/Z
"""
CHECKPOINT_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEPIcer7RB32jt4bTEbhgUKLKvOctFD+I2hoDItFxUBlJiGFvftBuRk3fO7e1T7gC2ekyfL7XoO2oN"
    "/ObcZyc4EA=="
)
CHECKPOINT_LOG_ID = "CKIDXIl+znJaHUyhzhNVaSxIUov59RCXLh3fJXJExnk="


def test_a_published_tree_head_is_by_its_log() -> None:
    with serving(lambda _: Answer(HEAD)) as server:
        head = Rfc6962Log(Service(server.url), LogKey(HEAD_KEY)).head()
        assert head == Head(90785920, unbase64(HEAD["sha256_root_hash"]))
        with pytest.raises(SourceError, match="not signed by the key given"):
            Rfc6962Log(Service(server.url), LogKey(CHECKPOINT_KEY)).head()


def test_a_published_checkpoint_is_by_its_log() -> None:
    key = LogKey(CHECKPOINT_KEY)
    assert key.id == unbase64(CHECKPOINT_LOG_ID)
    with serving(lambda _: Answer(CHECKPOINT.encode())) as server:
        assert StaticLog(Service(server.url), key).head().size == 300
        with pytest.raises(SourceError, match="not signed by the key given"):
            StaticLog(Service(server.url), LogKey(HEAD_KEY)).head()


def test_a_signature_is_followed_by_nothing() -> None:
    key, head = LogKey(HEAD_KEY), Head.of(HEAD["tree_size"], HEAD["sha256_root_hash"])
    signature = unbase64(HEAD["tree_head_signature"])
    assert key.has_signed(head, HEAD["timestamp"], signature)
    assert not key.has_signed(head, HEAD["timestamp"], signature + b"\0")
    assert not key.has_signed(head, HEAD["timestamp"] + 1, signature)


def test_a_head_follows_another_only_if_the_hash_tiles_lead_to_both() -> None:
    log = OurLog(600)
    with serving(log.tiles) as server:
        static = StaticLog(Service(f"{server.url}/2026"), LogKey(log.key))
        earlier = static.head()
        log.size = 700
        head = static.head()
        assert static.follows(head, earlier)
        assert not static.follows(Head(700, bytes(32)), earlier)
        assert not static.follows(head, Head(600, bytes(32)))


def test_an_entry_tells_its_certificate_and_what_the_tree_holds_of_it() -> None:
    final, poisoned = issued("a.example"), precertificate("a.example")
    assert from_leaf(x509_leaf(whole("a.example"), 5), b"").vouched == whole("a.example")
    entry = from_leaf(
        precert_leaf(final.tbs_certificate_bytes, 5), len(poisoned).to_bytes(3, "big") + poisoned
    )
    assert entry.der == poisoned
    assert parse([entry.vouched])["names"].to_pylist() == [["a.example"]]


@given(st.integers(0, 70_000))
def test_what_the_tree_holds_is_one_structure_of_its_length(size: int) -> None:
    made = from_leaf(precert_leaf(bytes(size), 5), bytes(3)).vouched
    count = made[1] - 0x80 if made[1] > 0x7F else 0
    length = int.from_bytes(made[2 : 2 + count], "big") if count else made[1]
    assert (made[0], length) == (0x30, len(made) - 2 - count)
    assert count == 0 or length >= max(0x80, 1 << 8 * (count - 1))


LEAVES = st.one_of(
    st.binary(max_size=80),
    st.builds(x509_leaf, st.binary(max_size=40), st.integers(0, 2**64 - 1)),
    st.builds(precert_leaf, st.binary(max_size=40), st.integers(0, 2**64 - 1)),
)


@given(LEAVES, st.binary(max_size=20), st.integers(0, 90))
def test_any_leaf_is_read_or_told(leaf: bytes, extra: bytes, cut: int) -> None:
    for data in (leaf, leaf[:cut], leaf + extra):
        entry = from_leaf(data, extra)
        assert (entry.reason is None) == (entry.logged_at is not None)
        assert entry.leaf == data


@given(LEAVES, st.binary(max_size=40))
def test_any_tile_is_read_or_told(leaf: bytes, rest: bytes) -> None:
    reader = Reader(leaf[2:] + rest)
    try:
        while reader.at < len(reader.data):
            before = reader.at
            assert reader.data.startswith(from_tile(reader).leaf[2:], before)
    except InputError:
        return
    assert reader.at == len(reader.data)


FIELDS = [*HEAD, "entries", "leaf_input", "audit_path", "consistency"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just("AAAA"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner),
    max_leaves=9,
)


class _Canned(Service):
    """A service that gives one answer to everything."""

    def __init__(self, answer: Any) -> None:
        super().__init__("http://127.0.0.1")
        self.answer = answer

    def json(self, path: str = "", **parameters: Any) -> Any:
        return self.answer


@given(JSON | st.fixed_dictionaries(dict.fromkeys(FIELDS, JSON)))
def test_any_answer_is_read_or_told(answer: Any) -> None:
    log = Rfc6962Log(_Canned(answer), LogKey(HEAD_KEY))
    head = Head(5, bytes(32))
    for ask in (
        log.head,
        lambda: log.entries(head, 0, 2),
        lambda: log.frontier(head, 3),
        lambda: log.contains(head, Frontier(1, [bytes(32)])),
        lambda: log.follows(head, Head(2, bytes(32))),
    ):
        with suppress(SourceError):
            ask()


@given(st.binary(max_size=200) | st.text(max_size=50).map(str.encode))
def test_any_signature_is_none(signature: bytes) -> None:
    assert not LogKey(HEAD_KEY).has_signed(Head(1, bytes(32)), 7, signature)


def test_keys_are_told_apart() -> None:
    assert LogKey(OurLog(0).key).id != LogKey(OurLog(0).key).id
