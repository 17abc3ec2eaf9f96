"""What a server may answer that is no Vault, or a broken one; and what marks remember.

The server on loopback answers by the published interface ("PKI secrets engine (API)"). A real OpenBao is in
``tests/system/test_source_vault.py``.
"""

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import SourceError
from certforecast.history.schema import EVENTS
from certforecast.history.sources import Batch, Mark
from certforecast.history.sources.vault import VaultSource
from certforecast.history.validation import from_rows
from certforecast.history.x509 import fingerprint
from tests.certificates import START, authority, certificate, der, pem
from tests.history.sources.reading import read
from tests.history.sources.serving import Answer, Question, Serving, serving

NOW = START + timedelta(days=60)
LEAF = certificate("*.a.example", "a.example", serial=0x0A01)
#: Vault's answers to all that is not there, and to a path that no engine has.
NOTHING, NO_PATH = Answer({"errors": []}, 404), Answer({"errors": ["no handler for route"]}, 404)


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "s.secret")


def given_answers(answers: dict[str, Any]) -> Callable[[Question], Answer]:
    """Answer by path, below the mount; what is not listed is not there."""

    def answer(question: Question) -> Answer:
        found = answers.get(question.path.removeprefix("/v1/pki/"), NOTHING)
        return found if isinstance(found, Answer) else Answer(found, headers=JSON)

    return answer


JSON = {"Content-Type": "application/json"}
for each in (NOTHING, NO_PATH):
    each.headers.update(JSON)


def keys(*serials: Any) -> dict[str, Any]:
    return {"data": {"keys": list(serials)}}


def kept(made: Any = LEAF, revoked: Any = 0) -> dict[str, Any]:
    return {"data": {"certificate": pem(made).decode(), "revocation_time": revoked, "issuer_id": "1"}}


def ask(server: Serving, *before: Batch, **options: Any) -> Batch:
    marks = {mark.place: mark.state for batch in before for mark in batch.marks}
    return read(VaultSource(server.url, clock=options.pop("clock", lambda: NOW), **options), marks)


def test_a_certificate_is_known_half_a_minute_after_it_begins() -> None:
    with serving(given_answers({"certs": keys("0a-01"), "cert/0a:01": kept()})) as server:
        found = ask(server)
    (whole,) = found.wholes
    assert (whole.der, whole.known_at) == (der(LEAF), START + timedelta(seconds=30))
    assert whole.position == f"{server.url}/pki/cert/0a:01"
    assert {question.headers["X-Vault-Token"] for question in server.asked} == {"s.secret"}


def test_what_an_earlier_look_did_not_show_is_known_from_now() -> None:
    answers: dict[str, Any] = {"certs": keys()}
    with serving(given_answers(answers)) as server:
        first = ask(server, clock=lambda: START + timedelta(days=1))
        answers.update({"certs": keys("0a:01"), "cert/0a:01": kept()})
        assert ask(server, first).wholes[0].known_at == NOW
        earlier = Batch(marks=[Mark(first.marks[0].place, (START - timedelta(days=1)).isoformat())])
        assert ask(server, earlier).wholes[0].known_at == START + timedelta(seconds=30)


def test_of_a_ca_neither_certificate_nor_revocation_is_read() -> None:
    at = START + timedelta(days=3)
    answers = {
        "certs": keys("0a:01", "0a:02"),
        "certs/revoked": keys("0a:01", "0a:02"),
        "cert/0a:01": kept(revoked=int(at.timestamp())),
        "cert/0a:02": kept(authority(), revoked=int(at.timestamp())),
    }
    with serving(given_answers(answers)) as server:
        found = ask(server)
        again = ask(server, found)
    assert [whole.der for whole in found.wholes] == [der(LEAF)]
    (event,) = found.events
    assert (event["at"], event["known_at"], event["host"]) == (at, at, "a.example")
    assert event["fingerprint"] == fingerprint(der(LEAF))
    assert from_rows(EVENTS, [event], [])[2] == []
    assert (again.events, again.wholes) == ([], [])


def test_an_import_that_was_stopped_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("certforecast.history.sources.vault._CHUNK", 2)
    serials = [f"0b:{number:02x}" for number in range(5)]
    broken = Answer({"errors": ["internal error"]}, 400, JSON)
    answers = {f"cert/{serial}": kept(certificate("a.example")) for serial in serials}
    answers |= {"certs": keys(*serials), "cert/0b:04": broken}
    batches: list[Batch] = []
    with serving(given_answers(answers)) as server:
        with pytest.raises(SourceError, match="mount pki cannot be read: internal error"):
            batches.extend(VaultSource(server.url, clock=lambda: NOW).read())
        answers["cert/0b:04"] = kept()
        rest = ask(server, *batches)
    assert [len(batch.wholes) for batch in batches] == [2, 2]
    assert [whole.der for whole in rest.wholes] == [der(LEAF)]


def test_marks_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    serials = [":".join(f"{byte:02x}" for byte in number.to_bytes(20)) for number in range(300)]
    answers = {"certs": keys(*serials)} | {f"cert/{serial}": kept() for serial in serials}
    with serving(given_answers(answers)) as server:
        found = ask(server)
    assert len(found.wholes) == 300
    assert sum(len(mark.state) for mark in found.marks) < 300 * 11 + 50


def test_what_is_broken_is_set_aside_and_the_rest_is_read() -> None:
    answers = {
        "certs": keys("0a:01", "0a:02", "0a:03", "0a:04", "../sys/seal", None, "0a:05"),
        "cert/0a:01": kept(),
        "cert/0a:02": {"data": {"certificate": "-----BEGIN CERTIFICATE-----\nAAAA"}},
        "cert/0a:03": {"data": {}},
        "cert/0a:05": kept(revoked="soon"),
    }
    with serving(given_answers(answers)) as server:
        found = ask(server)
        again = ask(server, found)
    reasons = {each.position.rpartition("cert/")[2]: each.reason for each in found.rejected}
    assert set(reasons) == {"0a:02", "0a:03", "0a:04", "0a:05", "../sys/seal", "none"}
    assert "gone" in reasons["0a:04"]
    assert "hexadecimal" in reasons["../sys/seal"]
    assert not any("seal" in question.path for question in server.asked)
    assert len(found.wholes) == 1
    assert len(again.rejected) == 6, "and asked for again"
    assert all(".pem" not in each.content for each in found.rejected)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (NO_PATH, "lists no certificates; give the path of a PKI mount"),
        (Answer({"errors": ["permission denied"]}, 403, JSON), "permission denied.*check the token"),
        (Answer({"errors": ["bad"]}, 400, JSON), "cannot be read: bad"),
        (Answer(b"<html>", 200), "does not answer as Vault does"),
        (Answer(b"[" * 100_000, 200, JSON), "cannot be read|does not answer"),
        (Answer({"data": []}, 200), "does not answer as Vault does"),
        (Answer({"data": {"keys": "all"}}, 200), "something else than a list"),
        (Answer({"data": {"keys": []}}, 200, missing=9), "cannot be read"),
    ],
)
def test_a_server_that_is_none_is_told(answer: Answer, told: str) -> None:
    with serving(given_answers({"certs": answer})) as server, pytest.raises(SourceError, match=told) as error:
        ask(server)
    assert "s.secret" not in str(error.value)


@pytest.mark.parametrize(
    ("place", "options", "told"),
    [
        ("vault.example.org", {}, "is no address"),
        ("ftp://vault.example.org", {}, "is no address"),
        ("http://127.0.0.1:9", {"mount": "../sys"}, "is no path of a mount"),
        ("http://127.0.0.1:9", {"mount": ("pki", "")}, "is no path of a mount"),
        ("http://127.0.0.1:9", {"token_file": Path("/nowhere")}, "/nowhere cannot be read: No such file"),
    ],
)
def test_what_cannot_be_asked_is_told(place: str, options: Any, told: str) -> None:
    with pytest.raises(SourceError, match=told):
        read(VaultSource(place, **options))


def test_tokens_come_from_a_file_the_environment_or_the_usual_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with serving(given_answers({"certs": keys()})) as server:
        (tmp_path / "file").write_text("s.file\n")
        ask(server, token_file=tmp_path / "file")
        monkeypatch.delenv("VAULT_TOKEN")
        with pytest.raises(SourceError, match="there is no token for Vault"):
            ask(server)
        (tmp_path / ".vault-token").write_text("s.home")
        ask(server)
        monkeypatch.setenv("BAO_TOKEN", "s.bao")
        ask(server, namespace="team")
        monkeypatch.setenv("BAO_TOKEN", "two words")
        with pytest.raises(SourceError, match="BAO_TOKEN holds no token") as error:
            ask(server)
    sent = [
        key for key, _ in itertools.groupby(question.headers["X-Vault-Token"] for question in server.asked)
    ]
    assert sent == ["s.file", "s.home", "s.bao"]
    assert server.asked[-1].headers["X-Vault-Namespace"] == "team"
    assert "two words" not in str(error.value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    certificate=anything | st.just(pem(LEAF).decode()),
    revoked=anything,
    mark=st.text() | st.just("AAAA"),
)
def test_no_answer_crashes(certificate: Any, revoked: Any, mark: str) -> None:
    data = {"certificate": certificate, "revocation_time": revoked}
    answers = {"certs": {"keys": ["0a:01"]}, "cert/0a:01": data}

    class Adapter:
        def list(self, path: str) -> Any:
            return {"data": answers.get(path.removeprefix("/v1/pki/"), {"keys": []})}

        def get(self, path: str) -> Any:
            return {"data": answers[path.removeprefix("/v1/pki/")]}

    source = VaultSource("http://vault", threads=1, clock=lambda: NOW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("certforecast.history.sources.vault.connect", lambda *_: Adapter())
        found = read(source, {"http://vault/pki": mark, "http://vault/pki#1": mark})
    assert len(found.wholes) + len(found.rejected) == 1
    assert all(event["at"] <= NOW for event in found.events)
    assert json.dumps([each.reason for each in found.rejected])


def test_the_present_is_in_utc() -> None:
    with serving(given_answers({"certs": keys()})) as server:
        (mark,) = read(VaultSource(server.url)).marks
    assert datetime.fromisoformat(mark.state).tzinfo == UTC
