"""tls-alpn-01 (RFC 8737): a TLS server that shows certificates made for challenges."""

import ipaddress
import select
import socket
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from socketserver import BaseRequestHandler, TCPServer, ThreadingMixIn
from typing import Any, Final

from acme import challenges, standalone  # noqa: TID253
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwk import JWK
from OpenSSL import SSL

from certforecast.execution.issuers.acme.answers import Answer
from certforecast.execution.issuers.acme.listeners import Listener, Listeners, Shown
from certforecast.execution.staging import general_name

__all__ = ["TlsAlpn01", "TlsAlpn01Solver", "make_certificate"]

_PROTOCOL: Final = b"acme-tls/1"
#: id-pe-acmeIdentifier (RFC 8737, section 6.1).
_IDENTIFIER: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
_HANDSHAKE_S: Final = 10.0


@challenges.ChallengeResponse.register
class TlsAlpn01Response(challenges.KeyAuthorizationChallengeResponse):
    """What tells the server that the answer is shown."""

    typ = "tls-alpn-01"


@challenges.Challenge.register
class TlsAlpn01(challenges.KeyAuthorizationChallenge):
    """The challenge; ``acme`` had it until version 4."""

    response_cls = TlsAlpn01Response
    typ = response_cls.typ

    def validation(self, account_key: JWK, **_: Any) -> bytes:
        """Give what the certificate must hold: the hash of the key authorization."""
        return sha256(self.key_authorization(account_key).encode()).digest()


class TlsAlpn01Solver:
    """Serves certificates made for challenges.

    Parameters
    ----------
    port : int
        The authority looks at 443.
    """

    kind = "tls-alpn-01"

    def __init__(self, port: int) -> None:
        self._port = port

    def show(self, answers: Sequence[Answer]) -> AbstractContextManager[None]:
        """Show answers for the time of the block.

        Raises
        ------
        IssuanceError
            If the port is taken or needs more rights than we have.
        """
        return _LISTENERS.showing(
            self._port,
            {
                _server_name(one.name): _context(
                    *make_certificate(one.name, one.challenge.validation(one.key))
                )
                for one in answers
            },
        )


def make_certificate(name: str, digest: bytes) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Make the self-signed certificate of a challenge (RFC 8737, section 3; RFC 8738 for IP addresses)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ACME challenge")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(
            subject_name=subject,
            issuer_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(days=1),
            not_valid_after=now + timedelta(days=7),
        )
        .add_extension(x509.SubjectAlternativeName([general_name(name)]), critical=False)
        # The value is an OCTET STRING: its tag, its length, and the hash.
        .add_extension(
            x509.UnrecognizedExtension(_IDENTIFIER, bytes((4, len(digest))) + digest), critical=True
        )
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _server_name(name: str) -> str:
    """Give the name by which the authority asks for an answer (RFC 8738, section 6)."""
    try:
        return ipaddress.ip_address(name).reverse_pointer
    except ValueError:
        return name.lower()


def _context(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> SSL.Context:
    context = _plain_context()
    context.use_certificate(certificate)
    context.use_privatekey(key)
    return context


def _plain_context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_alpn_select_callback(_select)
    return context


def _select(_: SSL.Connection, offered: list[bytes]) -> bytes:
    """Take the authority's protocol; whoever offers others is turned away by an alert."""
    if _PROTOCOL not in offered:
        raise SSL.Error
    return _PROTOCOL


class _Handler(BaseRequestHandler):
    """Shakes hands, and says nothing."""

    server: "_Server"

    def handle(self) -> None:
        stop = time.monotonic() + _HANDSHAKE_S
        self.request.setblocking(False)
        connection = SSL.Connection(self.server.context, self.request)
        connection.set_accept_state()
        with suppress(SSL.Error, OSError):
            while (left := stop - time.monotonic()) > 0:
                try:
                    connection.do_handshake()
                except SSL.WantReadError:
                    select.select([self.request], [], [], left)
                    continue
                except SSL.WantWriteError:
                    select.select([], [self.request], [], left)
                    continue
                connection.shutdown()
                return


class _Server(ThreadingMixIn, TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], shown: Shown[SSL.Context], ipv6: bool = False) -> None:
        self.address_family = socket.AF_INET6 if ipv6 else socket.AF_INET
        self._shown = shown
        self.context = _plain_context()
        self.context.set_tlsext_servername_callback(self._choose)
        super().__init__(address, _Handler)

    def serve_forever(self, poll_interval: float = 0.02) -> None:
        super().serve_forever(poll_interval)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of what strangers send."""

    def _choose(self, connection: SSL.Connection) -> None:
        name = (connection.get_servername() or b"").decode("ascii", "replace").lower()
        context = self._shown.find(name)
        if context is not None:  # else there is no certificate, and the handshake fails
            connection.set_context(context)


def _listen(port: int, shown: Shown[SSL.Context]) -> Listener:
    return standalone.BaseDualNetworkedServers(_Server, ("", port), shown)


_LISTENERS: Final = Listeners[SSL.Context](_listen, "tls_port", "set another tls_port, or another challenge")
