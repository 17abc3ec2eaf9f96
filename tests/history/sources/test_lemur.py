"""Netflix Lemur, played by a server on loopback.

It follows the published source: ``CertificateOutputSchema`` with camelCase names, ``GET /certificates``
with ``page``, ``count``, ``sortBy``, ``sortDir``, ``showExpired`` and ``filter=field;value``, answered with
``{"items": [...], "total": n}`` (``total`` 0 beyond the last page). Nothing here has met a running Lemur.
"""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import CertForecastError, SourceError
from certforecast.history import History
from certforecast.history.schema import EVENTS, HOSTS
from certforecast.history.sources import Batch
from certforecast.history.sources.lemur import LemurSource
from certforecast.history.validation import from_rows
from certforecast.history.x509 import fingerprint
from tests.certificates import START, certificate, der, pem
from tests.history.sources.reading import read
from tests.history.sources.serving import Answer, Question, Serving, serving

NOW = START + timedelta(days=60)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


@cache
def leaf(number: int) -> Any:
    return certificate("*.a.example", "a.example", serial=number)


def entry(number: int = 1, *replaces: int, **changes: Any) -> dict[str, Any]:
    """Give a certificate as the API has it; None takes a field away."""
    fields = {
        "id": number,
        "name": f"a.example-{number}",
        "body": pem(leaf(number)).decode(),
        "chain": "",
        "commonName": "*.a.example",
        "cn": "*.a.example",
        "domains": [{"id": 1, "name": "*.a.example"}, {"id": 2, "name": "A.example"}],
        "dateCreated": day(number).isoformat(),
        "validityEnd": day(90).isoformat(),
        "deleted": False,
        "owner": "web@example.org",
        "notify": True,
        "rotation": True,
        "rotationPolicy": {"id": 1, "name": "default", "days": 30},
        "status": "valid",
        "serialHex": f"{number:X}",
        "signingAlgorithm": "sha256",
        "issuer": "TestInc",
        "authority": {"id": 4, "name": "TestCA", "active": True},
        "endpoints": [{"name": "lb", "dnsname": "lb.example", "type": "elbv2", "active": True}],
        "destinations": [{"label": "aws", "options": [{"name": "token", "value": "s3cret"}]}],
        "replaces": [{"id": old, "name": f"a.example-{old}"} for old in replaces],
        "replacedBy": [],
    }
    return {name: value for name, value in (fields | changes).items() if value is not None}


def lemur(known: list[Any]) -> Callable[[Question], Answer]:
    """Play the API over what is known, which may change meanwhile."""

    def answer(question: Question) -> Answer:
        if question.path != "/api/1/certificates":
            return Answer({"message": "Not Found"}, 404)
        if question.headers.get("Authorization") != "Bearer key":
            return Answer({"message": "Missing authorization header"}, 401)
        assert (question["sortBy"], question["sortDir"], question["showExpired"]) == ("id", "asc", "1")
        field, _, value = question["filter"].partition(";")
        chosen = [item for item in known if not field or value in str(item.get(field))]
        page, count = int(question["page"]), int(question["count"])
        listed = chosen[(page - 1) * count : page * count]
        return Answer({"items": listed, "total": len(chosen) if listed else 0})

    return answer


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEMUR_TOKEN", "key")


def ask(server: Serving, *before: Batch, **options: Any) -> Batch:
    marks = {mark.place: mark.state for batch in before for mark in batch.marks}
    options = {"clock": lambda: NOW, "page_size": 2} | options
    return read(LemurSource(f"{server.url}/api/1", **options), marks)


def kinds(batch: Batch) -> dict[str, list[dict[str, Any]]]:
    """Give the events by kind, after the store's own check."""
    assert from_rows(EVENTS, batch.events, [])[2] == []
    found: dict[str, list[dict[str, Any]]] = {}
    for event in batch.events:
        found.setdefault(event["kind"], []).append(event)
    return found


# -- certificates -------------------------------------------------------------------------------


def test_a_certificate_is_known_from_when_lemur_took_it_in() -> None:
    with serving(lemur([entry()])) as server:
        found = ask(server)
    (whole,) = found.wholes
    assert (whole.der, whole.known_at) == (der(leaf(1)), day(1))
    assert whole.position == f"{server.url}/api/1/certificates/1"
    (issued,) = kinds(found)["issued"]
    assert (issued["at"], issued["known_at"]) == (day(1), day(1))
    assert (issued["lineage"], issued["host"]) == ("a.example-1", "a.example")
    assert (issued["detail"], issued["fingerprint"]) == (None, fingerprint(der(leaf(1))))


def test_certificates_that_replace_one_another_are_a_lineage_of_the_first_name() -> None:
    with serving(lemur([entry(1), entry(2, 1), entry(3), entry(4, 2), entry(5, 3, 4)])) as server:
        issued = kinds(ask(server))["issued"]
    assert [event["lineage"] for event in issued] == [
        "a.example-1",
        "a.example-1",
        "a.example-3",
        "a.example-1",
        "a.example-3",
    ]
    assert issued[4]["detail"] == "replaces a.example-3, a.example-4"


def test_a_lineage_goes_on_over_imports() -> None:
    known = [entry(1), entry(2, 1)]
    with serving(lemur(known)) as server:
        first = ask(server)
        known.append(entry(3, 2))
        second = ask(server, first)
        known.append(entry(4, 3))
        third = ask(server, first, second)
    assert kinds(second)["issued"][0]["lineage"] == "a.example-1"
    assert kinds(third)["issued"][0]["lineage"] == "a.example-1"


@pytest.mark.parametrize("replaces", [(7,), (8,)])
def test_a_link_to_itself_or_to_a_later_one_names_no_lineage(replaces: tuple[int, ...]) -> None:
    with serving(lemur([entry(7, *replaces)])) as server:
        assert kinds(ask(server))["issued"][0]["lineage"] == "a.example-7"


def test_settings_and_owner_are_known_from_now() -> None:
    with serving(lemur([entry(rotation=False)])) as server:
        found = ask(server)
    (event,) = kinds(found)["config_changed"]
    assert event["detail"] == "rotation off, 30 days before the end, notify on"
    assert (event["at"], event["known_at"]) == (day(1), NOW)
    (row,) = found.hosts
    assert row == {
        "host": "a.example",
        "owner": "web@example.org",
        "automation": None,
        "issuer": "TestCA",
        "installer": "elbv2",
        "valid_from": NOW,
        "known_at": NOW,
    }
    assert found.observations == []


@pytest.mark.parametrize(
    "changes",
    [
        {"replacedBy": [{"id": 2, "name": "b"}]},
        {"validityEnd": day(59).isoformat()},
        {"deleted": True},
        {"status": "revoked"},
    ],
)
def test_what_is_out_of_force_tells_no_settings(changes: dict[str, Any]) -> None:
    with serving(lemur([entry(**changes)])) as server:
        found = ask(server)
    assert (len(found.wholes), found.hosts, kinds(found).get("config_changed")) == (1, [], None)


def test_a_revocation_is_told_once_when_it_is_seen() -> None:
    known = [entry(1), entry(2, status="revoked"), entry(3)]
    with serving(lemur(known)) as server:
        first = ask(server)
        known[0]["status"] = "revoked"
        second = ask(server, first, clock=lambda: day(61))
        third = ask(server, first, second, clock=lambda: day(62), anew=True)
    assert [(event["lineage"], event["at"]) for event in kinds(first)["revoked"]] == [("a.example-2", NOW)]
    assert [(event["lineage"], event["known_at"]) for event in kinds(second)["revoked"]] == [
        ("a.example-1", day(61))
    ]
    assert second.wholes == []
    assert (len(third.wholes), kinds(third).get("revoked")) == (3, None)


# -- pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("new", [0, 1, 2, 3])
def test_a_second_import_reads_only_what_is_new(count: int, new: int) -> None:
    known = [entry(number) for number in range(1, count + 1)]
    with serving(lemur(known)) as server:
        first = ask(server)
        known.extend(entry(number) for number in range(count + 1, count + new + 1))
        asked = len(server.asked)
        second = ask(server, first)
    assert (len(first.wholes), len(second.wholes)) == (count, new)
    pages = [question["page"] for question in server.asked[asked:] if not question["filter"]]
    assert len(pages) <= new // 2 + 3


def test_nothing_is_missed_after_deletions() -> None:
    known = [entry(number) for number in range(1, 9)]
    with serving(lemur(known)) as server:
        first = ask(server)
        del known[1:7]
        known.extend(entry(number) for number in range(9, 13))
        second = ask(server, first)
    assert [whole.position.rpartition("/")[2] for whole in second.wholes] == ["9", "10", "11", "12"]


def test_an_import_that_was_stopped_goes_on() -> None:
    known: list[Any] = [entry(number) for number in range(1, 6)]
    calls, play = 0, lemur(known)

    def answer(question: Question) -> Answer:
        nonlocal calls
        calls += 1
        return Answer({"message": "no"}, 403) if calls == 3 else play(question)

    batches: list[Batch] = []
    with serving(answer) as server:
        with pytest.raises(SourceError, match=r"403.*check what the token may read"):
            batches.extend(LemurSource(f"{server.url}/api/1", page_size=2, clock=lambda: NOW).read())
        rest = ask(server, *batches)
    assert [len(batch.wholes) for batch in batches] == [2, 2]
    assert len(rest.wholes) == 1


def test_a_server_that_gives_less_or_the_same_is_told() -> None:
    page = [entry(1), entry(2)]
    with (
        serving(lambda question: Answer({"items": page, "total": 9})) as server,
        pytest.raises(SourceError, match="repeats its pages"),
    ):
        ask(server)
    with (
        serving(lambda question: Answer({"items": page, "total": 9})) as server,
        pytest.raises(SourceError, match="gives 2 at once, not 5; set page_size"),
    ):
        ask(server, page_size=5)


# -- what goes wrong ----------------------------------------------------------------------------


def test_what_is_broken_is_set_aside_without_its_secrets() -> None:
    broken = [
        entry(1, body=None),
        entry(2, body="-----BEGIN CERTIFICATE-----\nAAAA"),
        entry(3, dateCreated="yesterday"),
        "nothing",
        entry(5, validityEnd=[]),
        entry(6),
    ]
    with serving(lemur(broken)) as server:
        found = ask(server, page_size=50)
    assert [each.position.rpartition("/")[2] for each in found.rejected] == ["1", "2", "3", "None", "5"]
    assert "short=true" in found.rejected[0].reason
    assert "s3cret" not in str(found.rejected)
    assert len(found.wholes) == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer({"message": "x"}, 401), "401.*check the token"),
        (Answer({"message": "x"}, 404), "404.*check the address"),
        (Answer({"items": {}}), "gave no list; give the API's address"),
        (Answer([]), "gave no list"),
    ],
)
def test_a_server_that_is_none_is_told(answer: Answer, told: str) -> None:
    with serving(lambda question: answer) as server, pytest.raises(SourceError, match=told):
        ask(server)


def test_the_key_comes_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEMUR_TOKEN")
    (tmp_path / "key").write_text("key\n")
    with serving(lemur([entry()])) as server:
        assert len(ask(server, token_file=tmp_path / "key").wholes) == 1
        with pytest.raises(SourceError, match="401"):
            ask(server)


@pytest.mark.parametrize("place", ["https://", "http:///api/1"])
def test_an_address_without_a_server_is_told(place: str) -> None:
    with pytest.raises(SourceError, match=r"is no address|cannot be read"):
        read(LemurSource(place))


# -- files --------------------------------------------------------------------------------------


def saved(folder: Path, content: Any) -> Path:
    path = folder / "lemur.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    os.utime(path, (day(50).timestamp(),) * 2)
    return path


PAGE = {"items": [entry(3, 2), entry(2, 1), entry(1)], "total": 3}


@pytest.mark.parametrize(
    "content",
    [PAGE, PAGE["items"], "\n".join(json.dumps(item) for item in PAGE["items"]), json.dumps(PAGE) + "\n{"],
    ids=["answer", "list", "lines", "answer and rubbish"],
)
def test_an_answer_in_a_file_is_read_as_of_the_files_time(tmp_path: Path, content: Any) -> None:
    path = saved(tmp_path, content)
    found = read(LemurSource(path, clock=lambda: NOW))
    assert [whole.known_at for whole in found.wholes] == [day(1), day(2), day(3)]
    assert {event["lineage"] for event in found.events} == {"a.example-1"}
    assert {row["known_at"] for row in found.hosts} == {day(50)}
    assert from_rows(HOSTS, found.hosts, [])[2] == []
    assert read(LemurSource(path), {mark.place: mark.state for mark in found.marks}).skipped == 1
    assert LemurSource.recognises(path) == "certificates of Lemur, JSON"


def test_only_lemurs_files_are_recognised(tmp_path: Path) -> None:
    for content in ("", "[]", '{"body": 1}', '[{"tbs_sha256": ""}]'):
        assert LemurSource.recognises(saved(tmp_path, content)) is None
    assert LemurSource.recognises(tmp_path) is None
    assert LemurSource.recognises(tmp_path / "none") is None


def test_the_history_goes_into_a_store() -> None:
    known = [
        entry(1),
        entry(2, 1),
        entry(3, body="-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----"),
    ]
    with serving(lemur(known)) as server, History(None) as store:
        source = LemurSource(f"{server.url}/api/1", clock=lambda: NOW)
        store.ingest(source)
        counts = store.counts()
        assert store.ingest(source).changed == 0
    assert (counts["certificates"], counts["hosts"], counts["quarantine"]) == (2, 1, 1)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(changes=st.dictionaries(st.sampled_from(list(entry())), anything), text=st.text() | st.none())
def test_no_file_crashes(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any], text: str | None
) -> None:
    path = tmp_path_factory.mktemp("lemur", numbered=True) / "a.json"
    path.write_bytes((text or json.dumps([{**entry(), **changes}, entry(2, 1)])).encode("utf-8", "replace"))
    try:
        found = read(LemurSource(path, clock=lambda: NOW))
    except CertForecastError:
        return
    assert len(found.wholes) + len(found.rejected) >= 1
    assert all(whole.known_at <= NOW for whole in found.wholes)
    assert all(event["known_at"] <= NOW for event in found.events)
    assert from_rows(EVENTS, found.events, [])[2] == []


def test_no_certificate_is_from_the_future() -> None:
    with serving(lemur([entry(dateCreated=day(99).isoformat()), entry(2, dateCreated=None)])) as server:
        found = ask(server)
    assert {whole.known_at for whole in found.wholes} == {NOW}
    assert {event["known_at"] for event in found.events} == {NOW}


def test_times_without_a_zone_are_utc() -> None:
    with serving(lemur([entry(dateCreated="2026-03-05T06:00:00")])) as server:
        assert ask(server).wholes[0].known_at == datetime(2026, 3, 5, 6, tzinfo=UTC)
