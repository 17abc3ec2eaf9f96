"""Every fault of a CA ends in the right code: nothing lost, nothing doubled, nothing wrong installed.

Pebble is real, the proxy before it has the faults (tests/system/chaos.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certforecast.errors import IssuanceError
from certforecast.execution import Executor
from certforecast.execution.issuers import ChallengeError
from certforecast.execution.issuers.acme.issuer import AcmeIssuer
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.issuers.suggestions import certid_of
from certforecast.execution.results import ActionResult
from certforecast.execution.staging import Staging
from certforecast.history import History
from tests.system.chaos import Chaos, chaos
from tests.system.faults import (
    PASSING,
    Answer,
    Fault,
    busy,
    garbled,
    hang,
    internal,
    problem,
    reset,
    stalled,
    wrong_chain,
)
from tests.system.pebble import Pebble, pebble
from tests.system.site import Prober, Site

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """Half of all nonces are refused, and no validation is ever used again."""
    with pebble(tmp_path_factory.mktemp("pebble"), nonce_reject=50, reuse=0) as running:
        yield running


@pytest.fixture
def proxy(server: Pebble) -> Iterator[Chaos]:
    with chaos(server) as running:
        yield running


@pytest.fixture
def csr(tmp_path: Path) -> bytes:
    staging = Staging(tmp_path / "staging")
    staging.prepare()
    return staging.csr(["a.site.test"])


def issuer(proxy: Chaos, **changes: Any) -> AcmeIssuer:
    quick = {"timeout_s": 1.0, "patience_s": 8.0, "deadline_s": 20.0}
    return AcmeIssuer(AcmeIssuerSettings(**proxy.section(**{**quick, **changes})))


def serial(chain: bytes) -> int:
    return x509.load_pem_x509_certificates(chain)[0].serial_number


#: Places where a request may fail, and what passes by itself there.
PLACES = (
    "directory",
    "newAccount",
    "newOrder",
    "order",
    "authorization",
    "challenge",
    "finalize",
    "certificate",
)


@pytest.mark.parametrize("what", PLACES)
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_passes_by_itself_is_waited_for(
    server: Pebble, proxy: Chaos, csr: bytes, what: str, fault: Fault
) -> None:
    before = server.issued()
    proxy.fail(what, fault)
    acme = issuer(proxy)
    order = acme.order(csr)
    chain = acme.issue(order, csr)
    assert acme.issue(order, csr) == chain
    assert server.issued() == before + 1  # lost answers double nothing


@pytest.mark.parametrize(
    ("what", "fault", "code", "tries"),
    [
        ("newOrder", internal, "serverInternal", 5),
        ("newOrder", busy(503), "serverInternal", 5),
        ("newOrder", busy(429, "3600"), "rateLimited", 1),
        ("newOrder", busy(429), "rateLimited", 1),
        ("newOrder", busy(503, "3600"), "serverInternal", 1),
        ("newOrder", problem("userActionRequired", 403), "userActionRequired", 1),
        ("newOrder", problem("externalAccountRequired", 403), "externalAccountRequired", 1),
        ("newOrder", problem("rejectedIdentifier"), "rejectedIdentifier", 1),
        ("newOrder", problem("unauthorized", 403), "unauthorized", 1),
        ("newOrder", problem("malformed"), "malformed", 1),
        ("newAccount", problem("externalAccountRequired", 403), "externalAccountRequired", 1),
        ("finalize", reset, "unreachable", 5),
        ("finalize", busy(503, "3600"), "serverInternal", 1),
        ("finalize", problem("badCSR"), "badCSR", 1),
        ("finalize", problem("caa", 403), "caa", 1),
        ("certificate", internal, "serverInternal", 5),
        ("certificate", busy(429, "3600"), "rateLimited", 1),
    ],
)
def test_what_does_not_pass_ends_in_its_code(
    server: Pebble, proxy: Chaos, csr: bytes, what: str, fault: Fault, code: str, tries: int
) -> None:
    before, met = server.issued(), []

    def counted(forward: Any) -> Answer:
        met.append(what)
        return fault(forward)

    proxy.fail(what, counted, times=100)
    acme = issuer(proxy)

    def order() -> None:
        acme.issue(acme.order(csr), csr)

    with pytest.raises(IssuanceError) as caught:
        order()
    assert (caught.value.code, len(met)) == (code, tries)
    assert not isinstance(caught.value, ChallengeError)
    assert server.issued() == before + (what == "certificate")
    proxy.heal()
    if what == "certificate":  # what was issued is not lost
        again = issuer(proxy)
        assert again.issue({"url": _order_url(proxy)}, csr).startswith(b"-----BEGIN")
        assert server.issued() == before + 1


def _order_url(proxy: Chaos) -> str:
    return f"https://127.0.0.1:{proxy.port}{proxy.about('order')[-1].path}"


@pytest.mark.parametrize("what", ["directory", "newOrder", "order", "authorization"])
def test_an_answer_that_is_no_acme(proxy: Chaos, csr: bytes, what: str) -> None:
    proxy.fail(what, garbled, times=100)
    acme = issuer(proxy)
    with pytest.raises(IssuanceError) as caught:
        acme.issue(acme.order(csr), csr)
    assert caught.value.code == "protocol"


@pytest.mark.parametrize("fault", [hang(30.0), stalled(30.0)], ids=["hang", "stalled"])
def test_a_server_that_is_silent_for_good(proxy: Chaos, csr: bytes, fault: Fault) -> None:
    proxy.fail("newOrder", fault, times=100)
    with pytest.raises(
        IssuanceError, match=r"order-plz: no answer, or no end of it, in \d tries and"
    ) as caught:
        issuer(proxy, patience_s=2.5).order(csr)
    assert caught.value.code == "unreachable"


@pytest.mark.parametrize("what", ["newOrder", "certificate"])
def test_half_an_answer_and_silence_is_asked_for_again(
    server: Pebble, proxy: Chaos, csr: bytes, what: str
) -> None:
    before = server.issued()
    proxy.fail(what, stalled(30.0))
    acme = issuer(proxy)
    assert acme.issue(acme.order(csr), csr).startswith(b"-----BEGIN")
    assert server.issued() == before + 1


def test_parts_of_a_problem_are_told(proxy: Chaos, csr: bytes) -> None:
    parts = [
        {
            "type": "urn:ietf:params:acme:error:caa",
            "detail": "not allowed",
            "identifier": {"type": "dns", "value": "a.site.test"},
        }
    ]
    proxy.fail("newOrder", problem("compound", 403, "several", subproblems=parts))
    with pytest.raises(IssuanceError, match=r"several \(caa\); a\.site\.test: not allowed \(caa\)") as caught:
        issuer(proxy).order(csr)
    assert caught.value.code == "caa"


def test_an_account_that_is_gone_is_made_anew_once(server: Pebble, proxy: Chaos, csr: bytes) -> None:
    acme = issuer(proxy)
    acme.order(csr)
    proxy.fail("newOrder", problem("accountDoesNotExist"))
    assert acme.issue(acme.order(csr), csr)
    proxy.fail("newOrder", problem("accountDoesNotExist"), times=2)
    with pytest.raises(IssuanceError) as caught:
        acme.order(csr)
    assert caught.value.code == "accountDoesNotExist"


def test_an_order_says_what_it_replaces_once(proxy: Chaos, csr: bytes) -> None:
    acme = issuer(proxy)
    first = acme.issue(acme.order(csr), csr)
    old = certid_of(x509.load_pem_x509_certificates(first)[0].public_bytes(Encoding.DER))
    assert old is not None
    acme.issue(acme.order_replacing(csr, old), csr)
    assert proxy.replaced == {old}
    # Of another order, as after a kill: the renewal matters more than to say what it replaces.
    acme.issue(acme.order_replacing(csr, old), csr)
    said = [(seen.payload.get("replaces"), seen.status) for seen in proxy.about("newOrder")]
    assert [one for one in said if one[1] != 400] == [(None, 201), (old, 201), (old, 409), (None, 201)]


def test_where_nobody_wants_to_know_nothing_is_said(proxy: Chaos, csr: bytes) -> None:
    proxy.ari = False
    issuer(proxy).order_replacing(csr, "aaaa.bbbb")
    assert {seen.payload.get("replaces") for seen in proxy.about("newOrder")} == {None}


def test_what_replaces_is_exempt_from_the_rate_limit(proxy: Chaos, csr: bytes) -> None:
    proxy.orders_left = 1
    acme = issuer(proxy)
    first = acme.issue(acme.order(csr), csr)
    with pytest.raises(IssuanceError, match="too many new orders"):
        acme.order(csr)
    old = certid_of(x509.load_pem_x509_certificates(first)[0].public_bytes(Encoding.DER))
    assert acme.order_replacing(csr, old or "")


@dataclass
class Renewal:
    """One renewal of a live site through the proxy."""

    site: Site
    proxy: Chaos
    result: ActionResult
    events: Any
    served: set[str]
    refused: list[Any]


@pytest.fixture
def renew(server: Pebble, proxy: Chaos, tmp_path: Path) -> Any:
    def run(what: str | None = None, fault: Fault | None = None, times: int = 1) -> Renewal:
        with Site(tmp_path).served() as site, History(None) as history:
            both = tmp_path / "both.pem"
            both.write_bytes(site.roots.read_bytes() + server.trust_file.read_bytes())
            quick = {"timeout_s": 1.0, "patience_s": 8.0, "deadline_s": 20.0}
            section = AcmeIssuerSettings(**proxy.section(trust_file=both, **quick))
            settings = site.settings(issuers={"acme": section})
            if what is not None and fault is not None:
                proxy.fail(what, fault, times)
            with Prober(site.endpoint, both) as prober:
                (result,) = Executor(settings, history).run(
                    site.plan(site.action(issuer="acme")), execute=True
                )
            events = history.tables().events.to_pandas()
            return Renewal(site, proxy, result, events, set(prober.looks), prober.refused)

    return run


@pytest.mark.parametrize(
    ("fault", "code", "kind"),
    [
        ("another key", "key_mismatch", "install_failed"),
        (wrong_chain, "chain", "install_failed"),
    ],
    ids=["another key", "wrong chain"],
)
def test_a_wrong_certificate_is_refused_before_anything_is_touched(
    renew: Any, proxy: Chaos, fault: Any, code: str, kind: str
) -> None:
    chosen = proxy.for_another_key() if fault == "another key" else fault
    done: Renewal = renew("certificate", chosen)
    assert done.result.status == "failed"
    assert "no file was changed" in done.result.detail
    assert list(done.events[done.events["kind"] == kind]["code"]) == [code]
    assert done.served == {done.site.before}
    assert done.refused == []
    assert not (done.site.certificate.parent / ".certforecast").exists()


def test_a_limit_that_holds_for_an_hour_ends_the_action(renew: Any) -> None:
    done: Renewal = renew("newOrder", busy(429, "3600"), 100)
    failed = done.events[done.events["kind"] == "order_failed"]
    assert list(failed["code"]) == ["rateLimited"]
    assert "after 3600 s, at 20" in failed["detail"].iloc[0]
    assert done.served == {done.site.before}


def test_a_renewal_says_what_it_replaces(renew: Any, proxy: Chaos) -> None:
    done: Renewal = renew()
    assert done.result.status == "verified", done.result.detail
    (replaced,) = proxy.replaced
    leaf = x509.load_pem_x509_certificate(
        next(path for path in (done.site.home / "ca" / "issued").iterdir()).read_bytes()
    )
    assert replaced == certid_of(leaf.public_bytes(Encoding.DER))


NOW = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("start", "end", "retry_after", "valid", "again"),
    [
        ("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z", "7200", True, 7200.0),  # in the past: at once
        ("2090-01-01T00:00:00Z", "2090-01-02T00:00:00Z", "1", True, 60.0),
        (NOW, NOW, "999999", False, 86_400.0),
        ("yesterday", "tomorrow", "7200", False, 21_600.0),
    ],
)
def test_windows_of_every_kind(
    proxy: Chaos, start: str, end: str, retry_after: str, valid: bool, again: float
) -> None:
    proxy.window("aaaa.bbbb", start, end, retry_after=retry_after, url="https://ca.example/why")
    found = issuer(proxy).suggestion("aaaa.bbbb")
    assert (found.start is not None, found.retry_after_s) == (valid, again)
    assert found.url == ("https://ca.example/why" if valid else None)
    assert issuer(proxy).suggestion("cccc.dddd").problem == "it answered 404"


@pytest.mark.parametrize("fault", [internal, reset, busy(503)], ids=["500", "reset", "503"])
def test_a_window_is_asked_for_again(proxy: Chaos, fault: Fault) -> None:
    proxy.window("aaaa.bbbb", "2090-01-01T00:00:00Z", "2090-01-02T00:00:00Z")
    proxy.fail("renewalInfo", fault, times=2)
    assert issuer(proxy).suggestion("aaaa.bbbb").problem is None
    proxy.fail("renewalInfo", fault, times=100)
    assert issuer(proxy).suggestion("aaaa.bbbb").problem is not None
