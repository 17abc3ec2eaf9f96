"""tls-alpn-01, IP addresses, and orders side by side, against a real ACME server."""

import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from certforecast.errors import IssuanceError
from certforecast.execution.issuers.acme import http01, tlsalpn01
from certforecast.execution.issuers.acme.answers import Answer
from certforecast.execution.issuers.acme.issuer import AcmeIssuer
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.staging import Staging
from tests.certificates import names_of
from tests.execution.issuers.parts import account_key
from tests.system.pebble import Pebble, pebble

pytestmark = pytest.mark.system

BESIDE = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("pebble")) as running:
        yield running


def issuer(server: Pebble, **changes: Any) -> AcmeIssuer:
    return AcmeIssuer(AcmeIssuerSettings(**server.section(**changes)))


def request(folder: Path, *names: str) -> bytes:
    staging = Staging(folder / names[0])
    staging.prepare()
    return staging.csr(names)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_names_and_addresses_are_validated(server: Pebble, tmp_path: Path, challenge: str) -> None:
    names = ("127.0.0.1", "b.site.test", "c.site.test")
    acme, csr = issuer(server, challenge=challenge), request(tmp_path, *names)
    assert names_of(acme.issue(acme.order(csr), csr)) == set(names)


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_orders_side_by_side_share_an_account_and_a_port(
    server: Pebble, tmp_path: Path, challenge: str
) -> None:
    acme = issuer(server, challenge=challenge, account_key=tmp_path / "account.pem")
    requests = [request(tmp_path, f"n{number}.site.test") for number in range(BESIDE)]
    together = threading.Barrier(BESIDE)

    def issue(csr: bytes) -> bytes:
        together.wait(30)
        return acme.issue(acme.order(csr), csr)

    with ThreadPoolExecutor(BESIDE) as pool:
        chains = list(pool.map(issue, requests))
    assert [names_of(chain) for chain in chains] == [{f"n{number}.site.test"} for number in range(BESIDE)]
    assert not is_open(server.http_port)
    assert not is_open(server.tls_port)


def test_a_wildcard_is_refused_before_it_is_ordered(server: Pebble, tmp_path: Path) -> None:
    for challenge in ("http-01", "tls-alpn-01"):
        with pytest.raises(IssuanceError, match='challenge = "dns-01"') as caught:
            issuer(server, challenge=challenge).order(request(tmp_path, "a.site.test", "*.site.test"))
        assert caught.value.code == "unsupported"


def test_a_taken_port_is_named(server: Pebble, tmp_path: Path) -> None:
    acme, csr = issuer(server, challenge="tls-alpn-01"), request(tmp_path, "busy.site.test")
    order = acme.order(csr)
    with (
        socket.create_server(("", server.tls_port)),
        pytest.raises(IssuanceError, match=str(server.tls_port)) as caught,
    ):
        acme.issue(order, csr)
    assert caught.value.code == "tls_port"
    assert acme.issue(order, csr)  # and once it is free the order goes on


def test_an_answer_stays_until_the_last_that_shows_it_has_ended(free_port: Any) -> None:
    """Two orders may wait for the same authorization, and so show the same answer."""
    port, key = free_port(), account_key()
    one = Answer("a.site.test", http01.challenges.HTTP01(token=b"1" * 32), key)
    other = Answer("b.site.test", http01.challenges.HTTP01(token=b"2" * 32), key)
    solver, again = http01.Http01Solver(None, port), http01.Http01Solver(None, port)

    def served(answer: Answer) -> bool:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(f"GET {answer.challenge.path} HTTP/1.0\r\n\r\n".encode())
            with connection.makefile("rb") as file:
                return answer.challenge.validation(key).encode() in file.read()

    with solver.show([one]):
        with again.show([one, other]):
            assert served(one)
            assert served(other)
        assert served(one)
        assert not served(other)
    assert not is_open(port)
    with pytest.raises(ZeroDivisionError), solver.show([one]):
        raise ZeroDivisionError
    assert not is_open(port)


def test_strangers_are_shown_no_certificate_and_keep_nobody_waiting(free_port: Any) -> None:
    port, key = free_port(), account_key()
    answer = Answer("a.site.test", tlsalpn01.TlsAlpn01(token=b"1" * 32), key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def shake(name: str, protocol: str) -> x509.Certificate:
        context.set_alpn_protocols([protocol])
        with (
            socket.create_connection(("127.0.0.1", port), 5) as connection,
            context.wrap_socket(connection, server_hostname=name) as tls,
        ):
            assert tls.selected_alpn_protocol() == "acme-tls/1"
            return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")

    with (
        tlsalpn01.TlsAlpn01Solver(port).show([answer]),
        socket.create_connection(("127.0.0.1", port), 5) as silent,
    ):
        shown = shake("A.Site.test", "acme-tls/1")
        with pytest.raises(OSError, match=r"(?i)alert|eof|reset"):
            shake("b.site.test", "acme-tls/1")
        with pytest.raises(OSError, match=r"(?i)alert|eof|reset"):
            shake("a.site.test", "http/1.1")
        silent.sendall(b"nonsense")
    extension = shown.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"))
    assert extension.critical
    assert extension.value.value[2:] == answer.challenge.validation(key)  # type: ignore[attr-defined]
