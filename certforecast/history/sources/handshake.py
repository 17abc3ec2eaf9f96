"""One TLS endpoint: resolve, connect, shake hands, and say in one word what went wrong."""

import asyncio
import errno
import re
import socket
import ssl
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from cryptography import x509

from certforecast.clock import Clock
from certforecast.errors import InputError
from certforecast.history.names import is_ip
from certforecast.history.sources.endpoints import Endpoint

__all__ = ["Contexts", "Look", "error_kind", "look"]

#: OpenSSL's verification errors (x509_vfy.h) that say more than "untrusted".
_VERDICTS: Final = {
    18: "self_signed",  # X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
    62: "wrong_name",  # X509_V_ERR_HOSTNAME_MISMATCH
    64: "wrong_name",  # X509_V_ERR_IP_ADDRESS_MISMATCH
}

#: What OpenSSL says when the answer is no TLS record at all.
_NOT_TLS: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "RECORD_TOO_LARGE"}
)
#: OpenSSL names the alerts it receives after the protocol that defined them.
_ALERT: Final = re.compile(r"(SSLV3|TLSV1|TLSV13)_")

_UNREACHABLE: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN})

#: Addresses of one name that are tried.
_ADDRESSES: Final = 4


class _ResolveError(Exception):
    """The name has no address, or none was found in time."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """The two ways to shake hands: as a careful client, and as one that takes whatever it gets."""

    verified: ssl.SSLContext
    lenient: ssl.SSLContext

    @classmethod
    def load(cls, ca_file: Path | str | None = None) -> Self:
        """Make both; `ca_file` is trusted beside the authorities of the system.

        Raises
        ------
        InputError
            If `ca_file` cannot be read as PEM certificates.
        """
        verified = ssl.create_default_context()
        verified.hostname_checks_common_name = False  # as browsers do (RFC 9525)
        # Python 3.13 made this the default; private authorities often fail it, and clients do not ask for it.
        verified.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if ca_file is not None:
            try:
                verified.load_verify_locations(cafile=str(ca_file))
            except (OSError, ssl.SSLError) as error:
                raise InputError(f"{ca_file} cannot be read as PEM certificates: {error}") from error
        lenient = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        lenient.check_hostname = False
        lenient.verify_mode = ssl.CERT_NONE
        lenient.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        lenient.set_ciphers("ALL:@SECLEVEL=0")
        lenient.options |= getattr(ssl, "OP_LEGACY_SERVER_CONNECT", 0x4)  # named since Python 3.12
        return cls(verified, lenient)


@dataclass(frozen=True, slots=True)
class Look:
    """What one endpoint showed.

    Attributes
    ----------
    der : bytes or None
        The leaf it served.
    chain_status, error : str or None
        As in the table ``observations``. With a leaf, `error` says why a client of today refuses the
        connection although the leaf could be fetched, as with TLS that is too old.
    latency_ms : float
        Connecting and handshake of the attempt that counts; for an error, the time until it.
    """

    der: bytes | None
    chain_status: str | None
    error: str | None
    latency_ms: float


async def look(
    endpoint: Endpoint, contexts: Contexts, *, timeout_s: float, resolvers: Executor, clock: Clock
) -> Look:
    """Look at one endpoint. Raises nothing: whatever happens is an answer.

    Parameters
    ----------
    endpoint : Endpoint
        Where to look.
    contexts : Contexts
        Shared by all looks of a scan.
    timeout_s : float
        Seconds for each stage: resolving, connecting, handshake.
    resolvers : Executor
        Threads for the name look-ups, which block.
    clock : callable
        Tells whether the leaf has expired.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    refused: ssl.SSLError
    try:
        addresses = await _resolve(endpoint, timeout_s, resolvers)
        started = loop.time()
        der = await _handshake(endpoint, addresses, contexts.verified, timeout_s)
        return Look(der, "valid", None, _ms(loop.time() - started))
    except ssl.SSLError as error:
        refused = error
    except Exception as error:  # one endpoint must never end a scan
        return Look(None, None, error_kind(error), _ms(loop.time() - started))
    kind, latency = error_kind(refused), _ms(loop.time() - started)
    if kind == "not_tls":
        return Look(None, None, kind, latency)
    try:
        started = loop.time()
        der = await _handshake(endpoint, addresses, contexts.lenient, timeout_s)
    except Exception as error:
        verified = isinstance(refused, ssl.SSLCertVerificationError)
        return Look(None, None, error_kind(error) if verified else kind, latency)
    latency = _ms(loop.time() - started)
    if isinstance(refused, ssl.SSLCertVerificationError):
        return Look(der, _chain_status(der, refused.verify_code, clock()), None, latency)
    return Look(der, None, kind, latency)


def error_kind(error: BaseException) -> str:
    """Sort what a connection raised into :data:`certforecast.history.schema.ERROR_KINDS`."""
    match error:
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


async def _resolve(endpoint: Endpoint, timeout_s: float, resolvers: Executor) -> list[Any]:
    """Give ``(family, address)`` pairs to connect to."""
    if is_ip(endpoint.host):
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        return [(family, (endpoint.host, endpoint.port))]
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            found = await loop.run_in_executor(
                resolvers, lambda: socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
            )
    except (OSError, UnicodeError) as error:
        raise _ResolveError(str(error)) from error
    return [(family, address) for family, _, _, _, address in found[:_ADDRESSES]]


async def _handshake(
    endpoint: Endpoint, addresses: list[Any], context: ssl.SSLContext, timeout_s: float
) -> bytes:
    """Give the leaf that the endpoint serves."""
    connection = await _connect(addresses, timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(
                sock=connection,
                ssl=context,
                server_hostname=endpoint.server_name,
                ssl_handshake_timeout=timeout_s + 1,  # never before ours, which is told apart
            )
    except BaseException:
        connection.close()
        raise
    try:
        leaf: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return leaf
    finally:
        writer.transport.abort()  # no goodbye: a peer that does not answer it would hold the place


async def _connect(addresses: list[Any], timeout_s: float) -> socket.socket:
    """Connect to the first address that answers; each gets its share of the time."""
    loop = asyncio.get_running_loop()
    failure: OSError = OSError("no address")
    for family, address in addresses:
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            async with asyncio.timeout(timeout_s / len(addresses)):
                await loop.sock_connect(connection, address)
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failure


def _chain_status(der: bytes, code: int, now: datetime) -> str:
    # Expiry comes first, whatever else is wrong: it is what a renewal mends.
    try:
        if x509.load_der_x509_certificate(der).not_valid_after_utc < now:
            return "expired"
    except ValueError:
        pass
    return _VERDICTS.get(code, "untrusted")


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
