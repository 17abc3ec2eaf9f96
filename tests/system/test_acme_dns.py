"""dns-01: pebble validates what a real BIND shows, which we change by signed updates."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from acme import challenges

from certforecast.errors import IssuanceError
from certforecast.execution.issuers import ChallengeError
from certforecast.execution.issuers.acme.answers import Answer
from certforecast.execution.issuers.acme.dns import rfc2136
from certforecast.execution.issuers.acme.dns01 import Dns01Solver
from certforecast.execution.issuers.acme.issuer import AcmeIssuer
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.staging import Staging
from tests.certificates import names_of
from tests.execution.issuers.parts import account_key
from tests.execution.rehearsal.parts import candidate, only
from tests.system.named import Named, named
from tests.system.pebble import Pebble, pebble

pytestmark = pytest.mark.system

ZONES = {
    "site.test": '_acme-challenge.kept TXT "keep me"\nsub NS ns.sub\nns.sub A 127.0.0.1\n',
    "sub.site.test": "",
    "acme.test": "",
    "closed.test": (
        "_acme-challenge CNAME closed.acme.test.\n_acme-challenge.lost CNAME gone.elsewhere.test.\n"
    ),
}


@pytest.fixture(scope="module")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Named]:
    with named(tmp_path_factory.mktemp("bind") / "home", ZONES, closed=["closed.test"]) as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, bind: Named) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("pebble"), resolver=bind.address) as running:
        yield running


def issuer(server: Pebble, dns: dict[str, Any]) -> AcmeIssuer:
    return AcmeIssuer(AcmeIssuerSettings(**server.section(challenge="dns-01", dns=dns)))


def request(folder: Path, *names: str) -> bytes:
    staging = Staging(folder / names[0].replace("*", "all"))
    staging.prepare()
    return staging.csr(names)


def failure(acme: AcmeIssuer, csr: bytes) -> IssuanceError:
    with pytest.raises(IssuanceError) as caught:
        acme.issue(acme.order(csr), csr)
    return caught.value


def test_a_name_and_its_wildcard_are_validated_together(server: Pebble, bind: Named, tmp_path: Path) -> None:
    acme, csr = issuer(server, bind.section()), request(tmp_path, "kept.site.test", "*.kept.site.test")
    assert names_of(acme.issue(acme.order(csr), csr)) == {"kept.site.test", "*.kept.site.test"}
    # Ours are gone, and what others wrote at the same name is there.
    assert bind.texts("_acme-challenge.kept.site.test") == ["keep me"]


def test_the_zone_is_found_by_its_soa_record(server: Pebble, bind: Named, tmp_path: Path) -> None:
    acme, csr = issuer(server, bind.section()), request(tmp_path, "*.deep.sub.site.test")
    assert names_of(acme.issue(acme.order(csr), csr)) == {"*.deep.sub.site.test"}
    wrong = failure(issuer(server, bind.section(zone="acme.test")), csr)
    assert "NOTZONE" in str(wrong)
    assert "dns.zone" in str(wrong)
    elsewhere = failure(issuer(server, bind.section()), request(tmp_path, "a.nowhere.test"))
    assert "gives no zone" in str(elsewhere) or "has no zone" in str(elsewhere)
    assert elsewhere.code == "dns"


def test_an_alias_is_followed_into_a_zone_that_may_be_changed(
    server: Pebble, bind: Named, tmp_path: Path
) -> None:
    csr = request(tmp_path, "closed.test", "*.closed.test")
    acme = issuer(server, bind.section())
    assert names_of(acme.issue(acme.order(csr), csr)) == {"closed.test", "*.closed.test"}
    assert bind.texts("closed.acme.test") == []
    refused = failure(issuer(server, bind.section(follow_cname=False)), csr)
    assert "REFUSED" in str(refused)
    assert "update-policy" in str(refused)


def test_records_are_removed_after_a_failure(
    server: Pebble, bind: Named, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csr = request(tmp_path, "fails.site.test", "*.fails.site.test")
    acme, seen = issuer(server, bind.section()), []
    client = acme.account.client()

    def give_up(*_: object) -> None:
        seen.extend(bind.texts("_acme-challenge.fails.site.test"))
        raise IssuanceError("the server went away", code="unreachable")

    monkeypatch.setattr(client, "answer_challenge", give_up)
    assert failure(acme, csr).code == "unreachable"
    assert len(seen) == 2
    assert bind.texts("_acme-challenge.fails.site.test") == []


def test_no_more_records_are_left_when_one_cannot_be_written(
    server: Pebble, bind: Named, tmp_path: Path
) -> None:
    csr = request(tmp_path, "first.site.test", "lost.closed.test")
    error = failure(issuer(server, bind.section()), csr)
    assert isinstance(error, ChallengeError)
    assert "gone.elsewhere.test" in str(error)
    assert bind.texts("_acme-challenge.first.site.test") == []


def refuse(*_: object) -> None:
    raise ChallengeError("removing was refused", code="dns")


def test_a_record_that_stays_is_logged_and_stops_nothing(
    server: Pebble, bind: Named, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    csr, acme = request(tmp_path, "stays.site.test"), issuer(server, bind.section())
    with pytest.MonkeyPatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(rfc2136.Rfc2136Provider, "remove", refuse)
        acme.issue(acme.order(csr), csr)
    assert "removing was refused" in caplog.text
    assert len(bind.texts("_acme-challenge.stays.site.test")) == 1


def test_every_server_must_show_a_record_before_the_authority_is_told(tmp_path: Path) -> None:
    """The authority asks a secondary, which has the change only when it is told to fetch it."""
    with (
        named(tmp_path / "primary", {"site.test": ""}) as primary,
        named(tmp_path / "secondary", {"site.test": ""}, primary=primary) as secondary,
        pebble(tmp_path / "pebble", resolver=secondary.address) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        both = [primary.address, secondary.address]
        csr = request(tmp_path, "slow.site.test")
        late = failure(issuer(server, primary.section(nameservers=both, propagation_timeout_s=0.3)), csr)
        assert isinstance(late, ChallengeError)
        assert f"{secondary.address}: _acme-challenge.slow.site.test lacks" in str(late)
        assert f"{primary.address}:" not in str(late)
        hasty = failure(issuer(server, primary.section(propagation_timeout_s=0)), csr)
        assert "could not be validated" in str(hasty)
        acme = issuer(server, primary.section(nameservers=both, propagation_timeout_s=30))
        waiting = pool.submit(acme.issue, acme.order(csr), csr)
        pause = threading.Event()
        while not waiting.done() and not primary.texts("_acme-challenge.slow.site.test"):
            pause.wait(0.02)
        secondary.tell("site.test")
        assert names_of(waiting.result(30)) == {"slow.site.test"}


@pytest.mark.parametrize(
    ("secret", "mode", "words"),
    [
        ("bm90IHRoaXMgc2VjcmV0IG9uZSwgYnV0IGFub3RoZXI=", 0o600, "does not take key renewals.key"),
        ("not base64!", 0o600, "is not base64"),
        ("", 0o600, "holds no secret"),
        ("bm90IHRoaXMgc2VjcmV0IG9uZSwgYnV0IGFub3RoZXI=", 0o644, "open to every user"),
    ],
)
def test_a_bad_secret_is_named_and_never_shown(
    server: Pebble, bind: Named, tmp_path: Path, secret: str, mode: int, words: str
) -> None:
    file = tmp_path / "secret"
    file.write_text(secret)
    file.chmod(mode)
    error = failure(issuer(server, bind.section(key_file=file)), request(tmp_path, "a.site.test"))
    assert words in str(error)
    chain: BaseException | None = error
    while chain is not None:
        assert not secret or secret not in repr(chain)
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)


def test_a_secret_may_be_in_the_environment(
    server: Pebble, bind: Named, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = bind.section(key_file=None, key_env="TSIG_OF_THE_TEST")
    csr = request(tmp_path, "environment.site.test")
    monkeypatch.delenv("TSIG_OF_THE_TEST", raising=False)
    assert "TSIG_OF_THE_TEST" in str(failure(issuer(server, section), csr))
    monkeypatch.setenv("TSIG_OF_THE_TEST", bind.secret)
    acme = issuer(server, section)
    assert acme.issue(acme.order(csr), csr)


def test_orders_side_by_side_do_not_disturb_each_other(server: Pebble, bind: Named, tmp_path: Path) -> None:
    """Three for the same two names (more texts than six do not fit into the answer that pebble reads)."""
    acme = issuer(server, bind.section())
    requests = [request(tmp_path, "*.many.site.test", "many.site.test")] * 3
    requests += [request(tmp_path, f"*.n{number}.site.test") for number in range(17)]
    together = threading.Barrier(len(requests))

    def issue(csr: bytes) -> bytes:
        together.wait(30)
        return acme.issue(acme.order(csr), csr)

    with ThreadPoolExecutor(len(requests)) as pool:
        chains = list(pool.map(issue, requests))
    assert len(set(chains)) == 20
    assert bind.texts("_acme-challenge.many.site.test") == []


def test_a_record_stays_until_the_last_order_that_needs_it_has_ended(bind: Named) -> None:
    """Authorities give two orders the same pending authorization."""
    section = AcmeIssuerSettings(
        kind="acme", directory_url="https://a.test", account_key="k", challenge="dns-01", dns=bind.section()
    ).dns
    assert section is not None
    answer = Answer("twice.site.test", challenges.DNS01(token=b"1" * 32), account_key())
    with Dns01Solver(section).show([answer]):
        with Dns01Solver(section).show([answer]):
            pass
        assert len(bind.texts("_acme-challenge.twice.site.test")) == 1
    assert bind.texts("_acme-challenge.twice.site.test") == []


def test_an_address_is_refused_before_it_is_ordered(server: Pebble, bind: Named, tmp_path: Path) -> None:
    error = failure(issuer(server, bind.section()), request(tmp_path, "127.0.0.1"))
    assert isinstance(error, ChallengeError)
    assert error.code == "unsupported"
    assert "http-01" in str(error)


def test_a_rehearsal_writes_and_removes_a_record(server: Pebble, bind: Named, tmp_path: Path) -> None:
    from certforecast.settings import Settings

    def rehearsed(*names: str, **changes: Any) -> Any:
        section = AcmeIssuerSettings(**server.section(challenge="dns-01", dns=bind.section(**changes)))
        settings = Settings(home=tmp_path, issuers={"ca": section}, rehearsal={"resolver": bind.address})
        return only("records", candidate(*names), settings)

    assert rehearsed("kept.site.test", "*.kept.site.test", "closed.test").status == "passed"
    assert bind.texts("_acme-challenge.kept.site.test") == ["keep me"]
    (found,) = rehearsed("closed.test", follow_cname=False).findings
    assert found.code == "dns"
    assert "REFUSED" in found.message
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rfc2136.Rfc2136Provider, "remove", refuse)
        (left,) = rehearsed("left.site.test").findings
    assert left.message == "removing was refused"
    (address,) = rehearsed("127.0.0.1", "site.test").findings
    assert (address.code, address.host) == ("unsupported", "127.0.0.1")
