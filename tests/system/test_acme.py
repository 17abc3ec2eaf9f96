"""The ACME issuer against a real ACME server."""

import functools
import http.server
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from certforecast.errors import IssuanceError
from certforecast.execution import Executor
from certforecast.execution.checks import check_pair
from certforecast.execution.issuers import ChallengeError
from certforecast.execution.issuers.acme.issuer import AcmeIssuer
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.staging import Staging
from certforecast.history import History
from tests.system.pebble import Pebble, pebble
from tests.system.site import Prober, Site

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("pebble"), nonce_reject=30, blocked=("blocked.test",)) as running:
        yield running


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    staged = Staging(tmp_path / "staging")
    staged.prepare()
    return staged


def issuer(server: Pebble, **changes: Any) -> AcmeIssuer:
    return AcmeIssuer(AcmeIssuerSettings(**server.section(**changes)))


def test_issues_for_all_names_although_nonces_are_rejected(server: Pebble, staging: Staging) -> None:
    names = ["a.site.test", "b.site.test"]
    csr = staging.csr(names)
    acme = issuer(server)
    for _ in range(4):  # at 30 % rejected nonces, plain `acme` fails 13 of 20
        chain = acme.issue(acme.order(csr), csr)
    leaf = x509.load_pem_x509_certificates(chain)[0]
    check_pair(
        chain,
        staging.key,
        names=names,
        roots_pem=server.trust_file.read_bytes(),
        now=leaf.not_valid_before_utc,
    )


def test_an_order_gives_one_certificate_however_often_it_is_asked_for(
    server: Pebble, staging: Staging
) -> None:
    csr, key = staging.csr(["once.site.test"]), server.home / "account" / "key.pem"
    order = issuer(server, account_key=key).order(csr)
    # Each a new process, as it were: the account is found again.
    first = issuer(server, account_key=key).issue(order, csr)
    assert issuer(server, account_key=key).issue(order, csr) == first
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_writes_challenges_below_a_web_root(server: Pebble, staging: Staging, tmp_path: Path) -> None:
    webroot = tmp_path / "www"
    webroot.mkdir()
    quiet = functools.partial(Quiet, directory=str(webroot))
    with http.server.ThreadingHTTPServer(("127.0.0.1", server.http_port), quiet) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        acme = issuer(server, webroot=webroot)
        csr = staging.csr(["web.site.test"])
        assert acme.issue(acme.order(csr), csr).startswith(b"-----BEGIN CERTIFICATE-----")
        web.shutdown()
    assert not [path for path in webroot.rglob("*") if path.is_file()]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_says_what_kind_of_failure_it_was(server: Pebble, staging: Staging, free_port: Any) -> None:
    server.dns("set-servfail", host="nodns.test")

    def failure(name: str, **changes: Any) -> IssuanceError:
        acme, csr = issuer(server, **changes), staging.csr([name])
        with pytest.raises(IssuanceError) as caught:
            acme.issue(acme.order(csr), csr)
        return caught.value

    unresolved = failure("nodns.test")
    assert isinstance(unresolved, ChallengeError)
    # RFC 8555 has "dns" for this; pebble 2.4 says "connection", and we repeat what the server says.
    assert unresolved.code == "connection"
    assert "could not resolve" in str(unresolved)
    unseen = failure("unseen.test", http_port=free_port())
    assert isinstance(unseen, ChallengeError)
    assert unseen.code == "connection"
    assert failure("www.blocked.test").code == "rejectedIdentifier"
    assert failure("*.site.test").code == "unsupported"
    assert failure("a.test", directory_url=f"https://127.0.0.1:{free_port()}/dir").code == "unreachable"
    assert failure("a.test", ca_file=None).code == "unreachable"  # its own TLS certificate is not trusted


def test_a_taken_challenge_port_is_named(server: Pebble, staging: Staging) -> None:
    acme, csr = issuer(server), staging.csr(["busy.site.test"])
    order = acme.order(csr)
    with (
        http.server.HTTPServer(("", server.http_port), http.server.BaseHTTPRequestHandler),
        pytest.raises(IssuanceError, match=str(server.http_port)) as caught,
    ):
        acme.issue(order, csr)
    assert caught.value.code == "http_port"


def test_an_unreadable_account_key_is_no_reason_for_a_new_account(server: Pebble, tmp_path: Path) -> None:
    broken = tmp_path / "key.pem"
    broken.write_text("garbage")
    with pytest.raises(IssuanceError, match="account key"):
        issuer(server, account_key=broken).order(b"")
    assert broken.read_text() == "garbage"


def test_renews_a_live_site(server: Pebble, tmp_path: Path) -> None:
    with Site(tmp_path).served() as site, History(None) as history:
        both = tmp_path / "both.pem"
        both.write_bytes(site.roots.read_bytes() + server.trust_file.read_bytes())
        section = server.section(trust_file=both)
        settings = site.settings(issuers={"acme": section})
        plan = site.plan(site.action(issuer="acme"))
        with Prober(site.endpoint, both) as prober:
            (result,) = Executor(settings, history).run(plan, execute=True)
        assert result.status == "verified", result.detail
        assert result.fingerprint_before == site.before
        assert result.fingerprint_after not in (None, site.before)
        assert prober.refused == []
        assert set(prober.looks) == {site.before, result.fingerprint_after}


def test_a_failed_challenge_lands_in_the_store_and_changes_nothing(server: Pebble, tmp_path: Path) -> None:
    server.dns("set-servfail", host="broken.site.test")
    with Site(tmp_path, "broken.site.test").served() as site, History(None) as history:
        settings = site.settings(issuers={"acme": server.section()})
        (result,) = Executor(settings, history).run(site.plan(site.action(issuer="acme")), execute=True)
        assert result.status == "failed"
        assert "no file was changed" in result.detail
        events = history.tables().events.to_pandas()
        failed = events[events["kind"] == "challenge_failed"]
        assert list(failed["code"]) == ["connection"]
        assert "could not resolve" in failed["detail"].iloc[0]
        assert list(events["actor"].unique()) == ["certforecast"]
        assert site.look().fingerprint == site.before
        assert not (site.certificate.parent / ".certforecast").exists()
        assert not list(settings.staging_path.iterdir())
