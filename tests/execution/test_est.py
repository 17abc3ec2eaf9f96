"""Enrolment over Secure Transport: what answers is ours, because no EST server is to be had here.

It speaks TLS, keeps to RFC 7030 in paths, media types and base64, and signs with a real intermediate. This
is not tested against another EST server.
"""

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates

from certforecast.clock import system_clock
from certforecast.errors import IssuanceError
from certforecast.execution.checks import check_pair
from certforecast.execution.issuers.est import EstIssuer, EstIssuerSettings
from certforecast.execution.staging import Staging
from tests.certificates import certificate, name

NAMES = ["www.site.test", "192.0.2.7"]
PASSWORD = "swordfish-of-the-test"
BASIC = "Basic " + base64.b64encode(f"robot:{PASSWORD}".encode()).decode()


class Server:
    """An EST server with a root and an intermediate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        root_key, self.key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        authority = (x509.BasicConstraints(ca=True, path_length=None), True)
        names = name(COMMON_NAME="Root"), name(COMMON_NAME="Intermediate")
        start = datetime.now(UTC) - timedelta(days=1)
        common = {"start": start, "extensions": (authority,)}
        self.root = certificate(
            subject=names[0], issuer=None, signer=root_key, public_key=root_key.public_key(), **common
        )
        self.intermediate = certificate(
            subject=names[1], issuer=names[0], signer=root_key, public_key=self.key.public_key(), **common
        )
        (folder / "root.pem").write_bytes(self.root.public_bytes(Encoding.PEM))
        (folder / "password").write_text(PASSWORD + "\n")
        self.answers: list[tuple[int, dict[str, str], bytes]] = []  # given instead, once each
        self.asked: list[tuple[str, str]] = []
        self.issued = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(("GET", self.path))
                assert self.path.endswith("/cacerts")
                self.give(200, {}, outer.pkcs7([outer.root, outer.intermediate]))

            def do_POST(self) -> None:
                outer.asked.append(("POST", self.path))
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.answers:
                    self.give(*outer.answers.pop(0))
                elif self.headers.get("Authorization") != BASIC:
                    self.give(401, {"WWW-Authenticate": 'Basic realm="est"'}, b"who are you?")
                else:
                    assert self.headers["Content-Type"] == "application/pkcs10"
                    self.give(200, {}, outer.pkcs7([outer.sign(base64.b64decode(body))]))

            def give(self, status: int, headers: dict[str, str], content: bytes) -> None:
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Type", "application/pkcs7-mime; smime-type=certs-only")
                self.send_header("Content-Transfer-Encoding", "base64")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: Any) -> None:
                pass

        web = trustme.CA()
        web.cert_pem.write_to_path(folder / "web.pem")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        web.issue_cert("127.0.0.1").configure_cert(context)
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.thread = threading.Thread(
            target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self.thread.start()

    def pkcs7(self, certificates: list[x509.Certificate]) -> bytes:
        return base64.encodebytes(serialize_certificates(certificates, Encoding.DER))

    def sign(self, csr: bytes) -> x509.Certificate:
        request = x509.load_der_x509_csr(csr)
        assert request.is_signature_valid
        self.issued += 1
        found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder(
                issuer_name=self.intermediate.subject,
                subject_name=request.subject,
                public_key=request.public_key(),
                serial_number=x509.random_serial_number(),
                not_valid_before=now - timedelta(minutes=5),
                not_valid_after=now + timedelta(days=30),
            )
            .add_extension(found.value, critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def issuer(self, **options: Any) -> EstIssuer:
        given = {
            "kind": "est",
            "url": f"https://127.0.0.1:{self.http.server_address[1]}",
            "user": "robot",
            "password_file": self.folder / "password",
            "ca_file": self.folder / "web.pem",
            "directory": self.folder / "issued",
            "trust_file": self.folder / "root.pem",
        }
        made = EstIssuerSettings(**{**given, **options}).open(system_clock)
        assert isinstance(made, EstIssuer)
        return made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.http.shutdown()
    made.http.server_close()
    made.thread.join(5)


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    made = Staging(tmp_path / "staging" / "a")
    made.prepare()
    return made


def test_a_request_is_enrolled_once_an_order(server: Server, staging: Staging) -> None:
    issuer, csr = server.issuer(), staging.csr(NAMES)
    order = json.loads(json.dumps(issuer.order(csr)))
    assert server.asked == [("GET", "/.well-known/est/cacerts")], "an order issues nothing"
    chain = issuer.issue(order, csr)
    roots = (server.folder / "root.pem").read_bytes()
    check_pair(chain, staging.key, names=NAMES, roots_pem=roots, now=datetime.now(UTC))
    assert chain.count(b"BEGIN CERTIFICATE") == 2, "leaf and intermediate, without the root"
    assert server.issuer().issue(order, staging.csr(NAMES)) == chain
    assert server.issued == 1
    assert ("POST", "/.well-known/est/simpleenroll") in server.asked
    assert issuer.issue(issuer.order(csr), csr) != chain, "another order"


def test_labels_and_reenrolment_have_paths_of_their_own(server: Server, staging: Staging) -> None:
    url = f"https://127.0.0.1:{server.http.server_address[1]}/.well-known/est/web/"
    issuer, csr = server.issuer(url=url, operation="simplereenroll"), staging.csr(NAMES)
    issuer.issue(issuer.order(csr), csr)
    assert ("POST", "/.well-known/est/web/simplereenroll") in server.asked


def test_an_approval_is_waited_for_as_long_as_the_server_says(server: Server, staging: Staging) -> None:
    issuer, csr = server.issuer(), staging.csr(NAMES)
    server.answers = [(202, {"Retry-After": "0"}, b""), (202, {"Retry-After": "0"}, b"")]
    check_pair(issuer.issue(issuer.order(csr), csr), staging.key, names=NAMES)
    server.answers = [(202, {"Retry-After": "3600"}, b"")]
    with pytest.raises(IssuanceError, match="have it approved") as caught:
        issuer.issue(issuer.order(csr), csr)
    assert caught.value.code == "pending"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((400, {}, b"no such domain"), "rejected"),
        ((403, {}, b"not yours"), "unauthorized"),
        ((404, {}, b""), "config"),
        ((500, {}, b"oops"), "unreachable"),
        ((302, {"Location": "https://127.0.0.1:9/"}, b""), "unreachable"),
        ((200, {}, b"<html>"), "badCertificate"),
        ((200, {}, base64.b64encode(b"not pkcs7")), "badCertificate"),
    ],
)
def test_what_the_server_refuses_is_told(
    server: Server, staging: Staging, answer: tuple[int, dict[str, str], bytes], code: str
) -> None:
    issuer, csr = server.issuer(), staging.csr(NAMES)
    server.answers = [answer]
    with pytest.raises(IssuanceError) as caught:
        issuer.issue(issuer.order(csr), csr)
    assert caught.value.code == code
    assert not list(server.folder.rglob("chain.pem"))


def test_who_we_are_and_who_it_is(server: Server, staging: Staging, tmp_path: Path) -> None:
    csr = staging.csr(NAMES)

    def refused(**options: Any) -> IssuanceError:
        issuer = server.issuer(**options)
        with pytest.raises(IssuanceError) as caught:
            issuer.issue(issuer.order(csr), csr)
        return caught.value

    (tmp_path / "wrong").write_text("another-password")
    error = refused(password_file=tmp_path / "wrong")
    assert error.code == "unauthorized"
    assert "another-password" not in str(error)
    assert refused(password_file=tmp_path / "none").code == "config"
    assert refused(ca_file=None).code == "unreachable", "a server that is not trusted gets nothing"
    assert refused(url="https://127.0.0.1:9").code == "unreachable"
    assert server.issued == 0
    for options in ({"password_file": None}, {"client_key": tmp_path / "x"}, {"url": "http://x.test"}):
        with pytest.raises(ValueError, match=r"or neither|not https"):
            server.issuer(**options)
