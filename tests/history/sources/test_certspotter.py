"""SSLMate's CT Search API and certspotter's saved certificates.

The API is played by a server on loopback after its published reference ("Certificate Transparency Search
APIv1": issuances in the order of their discovery, pages by ``after``, an empty list at the end, 429 when
there were too many questions). The state folder has the layout that certspotter(8) and certspotter-script(8)
tell of. Nothing here has met the real service.
"""

import base64
import gzip
import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import CertForecastError, SourceError
from certforecast.history.schema import CERTIFICATES, EVENTS
from certforecast.history.sources.certspotter import CertspotterSource
from certforecast.history.validation import from_rows
from certforecast.history.x509 import fingerprint
from tests.certificates import authority, certificate, der, key_pem, pem
from tests.history.sources.reading import read
from tests.history.sources.serving import Answer, Question, Serving, serving

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@cache
def leaf(number: int) -> bytes:
    return der(certificate("a.example", "*.a.example", serial=number))


def issuance(number: int = 1, *, whole: bool = True, **changes: Any) -> dict[str, Any]:
    """Give an issuance as the API has it."""
    made = leaf(number)
    fields = {
        "id": str(number),
        "tbs_sha256": f"{number:064x}",
        "cert_sha256": fingerprint(made),
        "dns_names": ["*.a.example", "a.example"],
        "pubkey_sha256": "1b" * 32,
        "issuer": {"friendly_name": "Test", "name": 'C=US, O="Test, Inc.", CN=Test CA'},
        "not_before": "2026-03-01T00:00:00Z",
        "not_after": "2026-05-30T00:00:00Z",
        "revoked": False,
        "revocation": {"time": None, "reason": None, "checked_at": "2026-05-31T00:00:00Z"},
        "cert_der": base64.b64encode(made).decode() if whole else None,
    }
    return {name: value for name, value in (fields | changes).items() if value is not None}


def source(place: Path | str, **options: Any) -> CertspotterSource:
    return CertspotterSource(place, clock=lambda: NOW, **options)


def answer_file(folder: Path, *issuances: Any) -> Path:
    path = folder / "issuances.json"
    path.write_text(json.dumps(list(issuances)))
    return path


def dated(path: Path, moment: datetime) -> Path:
    os.utime(path, (moment.timestamp(), moment.timestamp()))
    return path


@contextmanager
def api(
    known: list[Any],
    size: int = 2,
    trouble: Callable[[int, Question], Answer | None] = lambda count, question: None,
) -> Iterator[Serving]:
    """Play the API: pages of `size` after the given id; `trouble` may answer a question otherwise."""
    counter = itertools.count()

    def answer(question: Question) -> Answer:
        if given := trouble(next(counter), question):
            return given
        ids = ["", *(item["id"] for item in known)]
        start = ids.index(question["after"])
        return Answer(known[start : start + size])

    with serving(answer) as service:
        yield service


# -- issuances ----------------------------------------------------------------------------------


def test_an_issuance_with_the_certificate_is_read_whole(tmp_path: Path) -> None:
    path = dated(answer_file(tmp_path, issuance(7)), NOW - timedelta(days=3))
    found = read(source(path))
    (whole,) = found.wholes
    assert whole.der == leaf(7)
    assert whole.known_at == NOW - timedelta(days=3)
    assert whole.position == "issuances.json#0"
    assert not found.events


def test_an_issuance_without_the_certificate_is_a_summary_of_the_same_fingerprint(tmp_path: Path) -> None:
    path = dated(answer_file(tmp_path, issuance(whole=False)), NOW + timedelta(days=9))
    (row,) = read(source(path)).certificates
    assert row["fingerprint"] == issuance()["cert_sha256"]
    assert row["issuer_dn"] == r"CN=Test CA,O=Test\, Inc.,C=US"
    assert row["names"] == ["*.a.example", "a.example"]
    assert row["wildcard"]
    assert row["spki_hash"] == "1b" * 32
    assert row["known_at"] == NOW, "no file is from the future"
    assert from_rows(CERTIFICATES, [row], [])[2] == []


def test_a_summary_without_a_fingerprint_has_a_stand_in(tmp_path: Path) -> None:
    (row,) = read(source(answer_file(tmp_path, issuance(whole=False, cert_sha256=None)))).certificates
    assert row["fingerprint"].startswith("~")
    assert len(row["fingerprint"]) == 64


def test_a_certificate_under_its_former_name_is_read(tmp_path: Path) -> None:
    old = issuance(whole=False, cert={"type": "cert", "data": issuance()["cert_der"]})
    assert len(read(source(answer_file(tmp_path, old))).wholes) == 1


@pytest.mark.parametrize(
    ("reason", "code"), [(4, "superseded"), ("keyCompromise", "keyCompromise"), (7, None)]
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_revocation_is_known_from_when_it_was_seen(
    tmp_path: Path, reason: Any, code: str | None, whole: bool
) -> None:
    revocation = {"time": "2026-04-01T00:00:00Z", "reason": reason, "checked_at": "2026-04-02T12:00:00Z"}
    revoked = issuance(whole=whole, revoked=True, revocation=revocation)
    found = read(source(answer_file(tmp_path, revoked)))
    (event,) = found.events
    assert (event["kind"], event["code"]) == ("revoked", code)
    assert (event["lineage"], event["host"]) == ("a.example", "a.example")
    assert event["at"] == datetime(2026, 4, 1, tzinfo=UTC)
    assert event["known_at"] == datetime(2026, 4, 2, 12, tzinfo=UTC)
    assert event["fingerprint"] == revoked["cert_sha256"]
    assert from_rows(EVENTS, [event], [])[2] == []


def test_a_revocation_without_times_or_names_is_known_from_the_file(tmp_path: Path) -> None:
    revoked = issuance(revoked=True, revocation=None, dns_names=None)
    (event,) = read(source(dated(answer_file(tmp_path, revoked), NOW - timedelta(days=1)))).events
    assert event["at"] == event["known_at"] == NOW - timedelta(days=1)
    assert event["host"] == "a.example"


def test_no_time_is_from_the_future(tmp_path: Path) -> None:
    revocation = {"time": "2031-01-01T00:00:00Z", "checked_at": "2032-01-01T00:00:00Z"}
    revoked = issuance(revoked=True, revocation=revocation)
    (event,) = read(source(dated(answer_file(tmp_path, revoked), NOW + timedelta(days=1)))).events
    assert event["at"] == event["known_at"] == NOW


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("words", "not a JSON object"),
        (issuance(whole=False, issuer=None), "issuer is missing"),
        (issuance(whole=False, issuer={"name": "\ud800"}), "issuer is missing"),
        (issuance(whole=False, issuer={"name": "Test CA"}), "not a distinguished name"),
        (issuance(whole=False, dns_names=None), "names no server"),
        (issuance(whole=False, dns_names="a.example"), "names no server"),
        (issuance(whole=False, not_before=None), "not_before 'None' is not a date"),
        (issuance(whole=False, not_after="2020-01-01T00:00:00Z"), "inverted"),
        (issuance(whole=False, cert_sha256=7, tbs_sha256=None), "neither cert_sha256 nor tbs_sha256"),
        (issuance(cert_der="?"), "not base64"),
        (issuance(cert_der=["a"]), "not base64"),
        (issuance(cert_der=issuance(2)["cert_der"]), "not the certificate"),
    ],
)
def test_a_broken_issuance_is_set_aside_and_loses_no_other(tmp_path: Path, broken: Any, reason: str) -> None:
    found = read(source(answer_file(tmp_path, issuance(3), broken, issuance(4))))
    assert len(found.wholes) == 2
    (rejected,) = found.rejected
    assert rejected.position == "issuances.json#1"
    assert reason in rejected.reason
    assert rejected.content


# -- files --------------------------------------------------------------------------------------


def test_a_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    path = answer_file(tmp_path, issuance(1))
    marks = {mark.place: mark.state for mark in read(source(path)).marks}
    again = read(source(path), marks)
    assert (again.skipped, again.wholes) == (1, [])
    assert len(read(source(path, anew=True), marks).wholes) == 1
    answer_file(tmp_path, issuance(1), issuance(2))
    assert len(read(source(path), marks).wholes) == 2


def test_gzip_and_lines_are_read(tmp_path: Path) -> None:
    packed = tmp_path / "issuances.json.gz"
    packed.write_bytes(gzip.compress(json.dumps([issuance(1)]).encode()))
    assert len(read(source(packed)).wholes) == 1
    assert CertspotterSource.recognises(packed) == "Cert Spotter issuances, JSON"
    lines = tmp_path / "issuances.jsonl"
    lines.write_text(f"{json.dumps(issuance(1))}\nbroken\n{json.dumps(issuance(2))}\n")
    found = read(source(lines))
    assert (len(found.wholes), [each.position for each in found.rejected]) == (2, ["issuances.jsonl#2"])


@pytest.mark.parametrize("content", [None, b"", b"<html>", b"3", b"\xff", b"\x1f\x8bbroken", b"[" * 200_000])
def test_a_file_that_holds_no_issuances_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "issuances.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match="issuances") as caught:
        read(source(path))
    assert str(path) in str(caught.value)
    assert CertspotterSource.recognises(path) is None


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_give_rows_or_an_input_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any-issuances.json"
    path.write_bytes(data)
    CertspotterSource.recognises(path)
    try:
        read(source(path))
    except CertForecastError:
        return


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
fields = [*issuance(), "cert", "revoked"]


@given(st.dictionaries(st.sampled_from(fields), json_values, max_size=4), st.booleans(), st.booleans())
def test_whatever_an_issuance_says_rows_are_sound(
    tmp_path_factory: pytest.TempPathFactory, damage: dict[str, Any], whole: bool, revoked: bool
) -> None:
    damaged = issuance(whole=whole, **{"revoked": revoked} | damage)
    found = read(source(answer_file(tmp_path_factory.getbasetemp(), damaged, issuance(9))))
    assert found.wholes[-1].position == "issuances.json#1"
    assert from_rows(CERTIFICATES, found.certificates, [])[2] == []
    assert from_rows(EVENTS, found.events, [])[2] == []
    assert all(event["at"] <= event["known_at"] <= NOW for event in found.events)


# -- the program's folder -----------------------------------------------------------------------


def saved(folder: Path, number: int, content: bytes | None = None, suffix: str = ".pem") -> Path:
    """Save a certificate as certspotter does: the leaf, then its chain, and a description beside it."""
    path = folder / "certs" / f"{number:02x}" / f"{number:064x}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    chain = pem(certificate("a.example", serial=number)) + pem(authority())
    path.write_bytes(chain if content is None else content)
    path.with_name(path.name.removesuffix(suffix) + ".v1.json").write_text(
        json.dumps(
            {
                "tbs_sha256": f"{number:064x}",
                "dns_names": ["a.example"],
                "issuer_der": "MA==",
                "subject_der": "MA==",
            }
        )
    )
    return dated(path, NOW - timedelta(days=number))


def test_saved_certificates_are_known_from_their_files_time(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    saved(tmp_path, 2, suffix=".precert.pem")
    (tmp_path / "certs" / "01" / "notes.txt").write_text("none of it")
    found = read(source(tmp_path))
    assert [x509.load_der_x509_certificate(whole.der).serial_number for whole in found.wholes] == [1, 2]
    assert [whole.known_at for whole in found.wholes] == [NOW - timedelta(days=1), NOW - timedelta(days=2)]
    assert CertspotterSource.recognises(tmp_path) == CertspotterSource.recognises(tmp_path / "certs")
    assert CertspotterSource.recognises(tmp_path) == "certificates that certspotter saved"
    marks = {mark.place: mark.state for mark in found.marks}
    saved(tmp_path, 3)
    again = read(source(tmp_path), marks)
    assert (len(again.wholes), again.skipped) == (1, 2)


def test_a_description_leads_to_its_certificate(tmp_path: Path) -> None:
    path = saved(tmp_path, 1)
    (whole,) = read(source(path.with_name(f"{1:064x}.v1.json"))).wholes
    assert whole.position == path.name


def test_broken_saved_files_lose_no_other(tmp_path: Path) -> None:
    saved(tmp_path, 1, b"")
    saved(tmp_path, 2, pem(certificate("a.example"))[:300])
    saved(tmp_path, 3, key_pem())
    saved(tmp_path, 4).unlink()
    (tmp_path / "certs" / "04" / f"{4:064x}.pem").symlink_to(f"{4:064x}.pem")
    (tmp_path / "certs" / "05" / f"{5:064x}.pem").mkdir(parents=True)
    saved(tmp_path, 6)
    found = read(source(tmp_path))
    assert len(found.wholes) == 1
    assert [each.position[6:8] for each in found.rejected] == ["01", "02", "03", "04", "05"]
    assert not any("PRIVATE" in each.content for each in found.rejected)


def test_a_folder_without_certificates_is_an_error(tmp_path: Path) -> None:
    assert CertspotterSource.recognises(tmp_path) is None
    with pytest.raises(SourceError, match="holds no certificate that certspotter saved"):
        read(source(tmp_path))


# -- live ---------------------------------------------------------------------------------------


def test_pages_are_read_to_the_end_and_then_only_what_is_new() -> None:
    known = [issuance(number) for number in (1, 2, 3)]
    with api(known) as service:
        found = read(source("a.example", url=service.url))
        assert len(found.wholes) == 3
        assert {whole.known_at for whole in found.wholes} == {NOW}
        assert [question["after"] for question in service.asked] == ["", "2", "3"]
        first = service.asked[0]
        assert first.path == "/v1/issuances"
        assert first.query["expand"] == ["dns_names", "issuer", "revocation", "cert_der"]
        assert (first["domain"], first["include_subdomains"]) == ("a.example", "true")
        marks = {mark.place: mark.state for mark in found.marks}
        assert list(marks.values()) == ["3"]
        known.append(issuance(4))
        again = read(source("a.example", url=service.url), marks)
        assert len(again.wholes) == 1
        assert service.asked[3]["after"] == "3"
        assert len(read(source("a.example", url=service.url, anew=True), marks).wholes) == 4
        assert len(read(source("a.example", url=service.url, subdomains=False), marks).wholes) == 4


def test_a_killed_import_goes_on_where_it_stopped() -> None:
    known = [issuance(number) for number in range(1, 8)]
    marks: dict[str, str] = {}

    def killed(count: int, question: Question) -> Answer | None:
        return Answer({"code": "internal"}, status=403) if count == 2 else None

    wholes = []

    def go_on(service: Serving) -> None:
        for batch in source("a.example", url=service.url).read(marks):
            wholes.extend(batch.wholes)
            marks.update({mark.place: mark.state for mark in batch.marks})

    with api(known, trouble=killed) as service:
        with pytest.raises(SourceError, match="403"):
            go_on(service)
        assert list(marks.values()) == ["4"]
        go_on(service)
    assert len({whole.der for whole in wholes}) == len(wholes) == 7


def test_it_waits_when_asked_to_and_asks_again_for_what_is_no_answer() -> None:
    troubles = {
        0: Answer({"code": "rate_limited"}, status=429, headers={"Retry-After": "1"}),
        1: Answer(b"<html>busy</html>"),
        3: Answer([issuance(1)], missing=50),
    }
    with api(
        [issuance(1), issuance(2), issuance(3)], trouble=lambda count, question: troubles.get(count)
    ) as service:
        found = read(source("a.example", url=service.url))
        assert len(found.wholes) == 3
        assert len(service.asked) == 6


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(b"<html>busy</html>"), "not JSON: '<html>busy</html>'"),
        (Answer([issuance(1)], missing=50), "breaks off"),
        (Answer({"code": "odd", "message": "no such thing"}), "no such thing"),
        (Answer([issuance(1)]), "does not get on"),
        (Answer([3]), "does not get on"),
        (Answer(b"[" * 100_000), "not JSON"),
        (Answer({"code": "unauthorized"}, status=401), "check the token"),
        (Answer({"code": "busy"}, status=503), "503"),
    ],
)
def test_an_api_that_makes_no_sense_is_an_error(answer: Answer, message: str) -> None:
    with (
        api([], trouble=lambda count, question: answer) as service,
        pytest.raises(SourceError, match=message),
    ):
        read(source("a.example", url=service.url, tries=2))


def test_the_key_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("from-file\n")
    with api([]) as service:
        monkeypatch.delenv("SSLMATE_API_KEY", raising=False)
        read(source("a.example", url=service.url))
        monkeypatch.setenv("SSLMATE_API_KEY", "from-environment")
        read(source("a.example", url=service.url))
        read(source("a.example", url=service.url, token_file=tmp_path / "key"))
    told = [question.headers.get("Authorization") for question in service.asked]
    assert told == [None, "Bearer from-environment", "Bearer from-file"]


@pytest.mark.parametrize("content", [None, b"two words", b"a\nb", b"\xff\xfe"])
def test_a_key_that_is_none_is_not_told(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(SourceError, match="token file") as caught:
        read(source("a.example", token_file=tmp_path / "key"))
    assert "words" not in str(caught.value)


@pytest.mark.parametrize("place", ["example", "*.a.example", "192.0.2.1", "not a domain", ""])
def test_a_place_is_a_file_or_a_domain(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError):
        read(source(place))
