"""One TLS endpoint: resolve, connect, shake hands, and say in one word what went wrong."""

import errno
import re
import socket
import ssl
import time
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

from certforecast.history.names import is_ip
from certforecast.history.sources.endpoints import Endpoint
from certforecast.history.sources.starttls import PreludeError, prelude

__all__ = ["Look", "error_kind", "lenient_context", "look"]

#: What OpenSSL says when the answer is no TLS record at all.
_NOT_TLS: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "RECORD_TOO_LARGE"}
)
#: OpenSSL names the alerts it receives after the protocol that defined them.
_ALERT: Final = re.compile(r"(SSLV3|TLSV1|TLSV13)_")

_UNREACHABLE: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN})

#: Versions that clients of today refuse (RFC 8996).
_TOO_OLD: Final = frozenset({"SSLv2", "SSLv3", "TLSv1", "TLSv1.1"})

#: ``_ssl.ENCODING_DER``
_DER: Final = 2

#: Addresses of one name that are tried.
_ADDRESSES: Final = 4


class _ResolveError(Exception):
    """The name has no address, or none was found in time."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one endpoint showed.

    Attributes
    ----------
    chain : tuple of bytes
        The certificates it sent, the leaf first; empty if it sent none.
    error : str or None
        As in the table ``observations``. With a leaf, `error` says why a client of today refuses the
        connection although the leaf was seen, as with TLS that is too old.
    latency_ms : float
        Connecting and handshake; for an error, the time until it.
    """

    chain: tuple[bytes, ...]
    error: str | None
    latency_ms: float


def lenient_context() -> ssl.SSLContext:
    """Make a client's context that takes whatever it gets, so that one handshake shows the certificates.

    What they are worth is judged afterwards, by :mod:`certforecast.history.sources.trust`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.options |= getattr(ssl, "OP_LEGACY_SERVER_CONNECT", 0x4)  # named since Python 3.12
    return context


def look(endpoint: Endpoint, context: ssl.SSLContext, *, timeout_s: float, resolvers: Executor) -> Look:
    """Look at one endpoint. Raises nothing: whatever happens is an answer.

    Parameters
    ----------
    endpoint : Endpoint
        Where to look.
    context : ssl.SSLContext
        From `lenient_context`; shared by all looks of a scan.
    timeout_s : float
        Seconds for each stage: resolving, connecting, asking for TLS, handshake.
    resolvers : Executor
        Threads for the name look-ups, which know no time limit.
    """
    started = time.perf_counter()
    chain: tuple[bytes, ...] = ()
    error: str | None = None
    try:
        addresses = _resolve(endpoint, timeout_s, resolvers)
        started = time.perf_counter()
        with _connect(addresses, timeout_s) as connection:
            if endpoint.protocol != "tls":
                prelude(endpoint.protocol, connection, endpoint.server_name, timeout_s=timeout_s)
            chain, error = _shake_hands(connection, context, endpoint.server_name, timeout_s)
    except Exception as failure:  # one endpoint must never end a scan
        error = error_kind(failure)
    return Look(chain, error, round(1000 * (time.perf_counter() - started), 3))


def error_kind(error: BaseException) -> str:
    """Sort what a connection raised into :data:`certforecast.history.schema.ERROR_KINDS`."""
    match error:
        case PreludeError():
            return error.kind
        case _ResolveError() | socket.gaierror() | UnicodeError():
            return "dns"
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return "reset"
        case ssl.SSLError():
            reason = error.reason or ""
            if reason in _NOT_TLS:
                return "not_tls"
            return "tls_alert" if _ALERT.match(reason) else "handshake"
        case ConnectionRefusedError():
            return "refused"
        case TimeoutError():
            return "timeout"
        case ConnectionError():
            return "reset"
        case OSError() if error.errno in _UNREACHABLE:
            return "unreachable"
    return "other"


def _resolve(endpoint: Endpoint, timeout_s: float, resolvers: Executor) -> list[Any]:
    """Give ``(family, address)`` pairs to connect to."""
    if is_ip(endpoint.host):
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        return [(family, (endpoint.host, endpoint.port))]
    search = resolvers.submit(socket.getaddrinfo, endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    try:
        found = search.result(timeout_s)
    except (OSError, UnicodeError) as error:
        search.cancel()
        raise _ResolveError(str(error)) from error
    return [(family, address) for family, _, _, _, address in found[:_ADDRESSES]]


def _connect(addresses: list[Any], timeout_s: float) -> socket.socket:
    """Connect to the first address that answers; each gets its share of the time."""
    failure: OSError = OSError("no address")
    for family, address in addresses:
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(timeout_s / len(addresses))
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
        else:
            connection.settimeout(timeout_s)
            return connection
    raise failure


def _shake_hands(
    connection: socket.socket, context: ssl.SSLContext, server_name: str, timeout_s: float
) -> tuple[tuple[bytes, ...], str | None]:
    """Give the chain that the endpoint sends, and why a client of today would refuse it all the same."""
    connection.settimeout(timeout_s)  # Python bounds the whole handshake by it, not each read
    with context.wrap_socket(connection, server_hostname=server_name, do_handshake_on_connect=False) as tls:
        try:
            tls.do_handshake()
        except ssl.SSLError as error:
            # A server that wants a certificate of ours has shown its own by the time it turns us away.
            if chain := _chain(tls):
                return chain, error_kind(error)
            raise
        return _chain(tls), "handshake" if tls.version() in _TOO_OLD else None


def _chain(tls: ssl.SSLSocket) -> tuple[bytes, ...]:
    # Public since Python 3.13; the same method is there, one level down, since 3.10.
    inner: Any = tls if hasattr(tls, "get_unverified_chain") else getattr(tls, "_sslobj", None)
    sent = inner.get_unverified_chain() if inner is not None else None
    return tuple(part if isinstance(part, bytes) else part.public_bytes(_DER) for part in sent or ())
