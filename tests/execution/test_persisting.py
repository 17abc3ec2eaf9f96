"""What is asked again, how often, and after which pauses."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from acme import errors, messages

from certforecast.errors import IssuanceError
from certforecast.execution.issuers.acme.kinds import KINDS, is_theirs, kind_of
from certforecast.execution.issuers.acme.persisting import BusyError, persist, retry_after
from certforecast.execution.rehearsal.subject import Subject
from certforecast.settings import Settings


def tried(
    error: Callable[[], Exception], patience_s: float = 60.0, until: int = 100
) -> tuple[int, list[float]]:
    """Count the tries of what fails until then, and give the pauses between them."""
    tries, pauses = 0, list[float]()

    def call() -> int:
        nonlocal tries
        tries += 1
        if tries < until:
            raise error()
        return tries

    try:
        persist(call, url="https://ca.test/new-order", patience_s=patience_s, sleep=pauses.append)
    except (IssuanceError, requests.RequestException, messages.Error, errors.Error):
        assert tries < until
    return tries, pauses


def answer(status: int, **headers: str) -> requests.Response:
    made = requests.Response()
    made.status_code = status
    made.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return made


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (lambda: requests.ConnectionError(), 5),
        (lambda: requests.ReadTimeout(), 5),
        (lambda: requests.exceptions.ChunkedEncodingError(), 5),
        (lambda: requests.exceptions.SSLError(), 1),  # not trusted
        (lambda: requests.JSONDecodeError("", "", 0), 1),
        (lambda: messages.Error.with_code("serverInternal"), 5),
        (lambda: messages.Error.with_code("rateLimited"), 1),  # for how long is not said
        (lambda: messages.Error.with_code("malformed"), 1),
        (lambda: messages.Error(typ="urn:ietf:params:acme:error:userActionRequired"), 1),
        (lambda: errors.ClientError(answer(502)), 5),
        (lambda: errors.ClientError(answer(404)), 1),
        (lambda: errors.ClientError("no JSON"), 1),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Callable[[], Exception], tries: int) -> None:
    assert tried(error)[0] == tries


def test_pauses_grow_and_are_drawn_by_lot() -> None:
    _, pauses = tried(requests.ConnectionError)
    for number, pause in enumerate(pauses):
        assert 0.25 * 2**number <= pause <= 0.5 * 2**number
    assert pauses != tried(requests.ConnectionError)[1]


def test_nothing_is_waited_for_beyond_our_patience() -> None:
    def busy(seconds: float) -> Callable[[], Exception]:
        return lambda: BusyError("later", code="rateLimited", seconds=seconds)

    assert tried(busy(10.0), until=2) == (2, [10.0])
    assert tried(busy(61.0)) == (1, [])
    assert tried(requests.ConnectionError, patience_s=0.0) == (1, [])


def test_when_to_come_back_is_said_however_far_off() -> None:
    assert "after 3600 s, at 2" in str(BusyError("later", code="rateLimited", seconds=3600))
    assert "after 100000000000000 s" in str(BusyError("later", code="rateLimited", seconds=1e14))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry_After": "120"}, 120.0),
        ({"Retry_After": "999999"}, 999_999.0),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "-5"}, None),
        (
            {"Retry_After": "Mon, 07 Dec 2026 13:00:00 GMT", "Date": "Mon, 07 Dec 2026 12:00:00 GMT"},
            3600.0,
        ),
        ({"Retry_After": "Mon, 07 Dec 2026 11:00:00 GMT", "Date": "Mon, 07 Dec 2026 12:00:00 GMT"}, 0.0),
    ],
)
def test_reads_for_how_long_a_server_sends_us_away(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(answer(503, **headers)) == seconds


def test_every_kind_that_acme_knows_is_in_the_table() -> None:
    assert set(messages.ERROR_CODES) <= set(KINDS)
    assert kind_of("somethingNew").again == "never"
    assert not is_theirs("somethingNew")
    assert not is_theirs(None)


def test_a_rehearsal_goes_by_the_first_choice(tmp_path: Path) -> None:
    from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
    from certforecast.execution.issuers.failover import FailoverIssuerSettings

    one = AcmeIssuerSettings(kind="acme", directory_url="https://ca.example", account_key=tmp_path / "key")
    both = FailoverIssuerSettings(kind="failover", issuers=["one", "two"])
    settings = Settings(home=tmp_path, issuers={"main": both, "one": one, "two": one})
    authority = object()
    subject = Subject(
        candidate=SimpleNamespace(issuer="main"),  # type: ignore[arg-type]
        settings=settings,
        resolver=None,  # type: ignore[arg-type]
        authorities={"one": authority},  # type: ignore[dict-item]
        clock=None,  # type: ignore[arg-type]
    )
    assert subject.acme is authority
