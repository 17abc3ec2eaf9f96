"""The proof: what clients are served, seen by shaking hands."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509

from certforecast.errors import VerificationError
from certforecast.history.sources.starttls import PreludeError, prelude
from certforecast.history.x509 import fingerprint
from certforecast.planning.plan import Endpoint

__all__ = ["Served", "handshake", "prove"]

_SYSTEM_S: Final = 300

#: Seconds between two looks at an endpoint: the first pause, and the longest.
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.5

#: Endpoints looked at side by side.
_ABREAST: Final = 16


@dataclass(frozen=True, slots=True)
class Served:
    """What an endpoint showed.

    Attributes
    ----------
    fingerprint : str or None
        SHA-256 of the leaf; None if none was served.
    chain_ok : bool
        A client that verifies chain, validity and name accepts it.
    error : str or None
        Why not.
    latency_ms : float
        Connecting and shaking hands.
    not_after : datetime or None
        When the leaf expires.
    der : bytes or None
        The leaf.
    """

    fingerprint: str | None
    chain_ok: bool
    error: str | None
    latency_ms: float
    not_after: datetime | None
    der: bytes | None


def handshake(endpoint: Endpoint, *, roots: Path | None = None, timeout_s: float = 5.0) -> Served:
    """Shake hands with an endpoint as a client that verifies.

    If that fails on the certificate, a second handshake without verification fetches the leaf all the same.

    Parameters
    ----------
    endpoint : Endpoint
        Where; `server_name` is both what is asked for (SNI) and what the certificate must cover, `starttls`
        what is spoken before TLS, which begins at once without it.
    roots : path, optional
        PEM file of the only roots to trust. Default: those of the system.
    timeout_s : float
        Seconds for each of connecting, and every read and write of the handshake.

    Raises
    ------
    VerificationError
        If `roots` cannot be read. Whatever the endpoint does is an answer.
    """
    started = time.perf_counter()
    try:
        der = _leaf(endpoint, _verifying(roots), timeout_s)
        return _served(der, None, started)
    except ssl.SSLCertVerificationError as error:
        refused = error.verify_message
    except OSError as error:
        return _served(None, _reason(error), started)
    started = time.perf_counter()
    try:
        return _served(_leaf(endpoint, _lenient(), timeout_s), refused, started)
    except OSError as error:
        return _served(None, _reason(error), started)


def prove(
    endpoints: Sequence[Endpoint],
    fingerprint: str,
    *,
    roots: Path | None = None,
    in_a_row: int = 3,
    timeout_s: float = 15.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Served]:
    """Prove that every endpoint serves a leaf, with a valid chain and name.

    One good answer proves little: old workers of a reloaded server answer for a while. So several in a row
    are wanted.

    Parameters
    ----------
    endpoints : sequence of Endpoint
        Where it must be served.
    fingerprint : str
        SHA-256 of the leaf expected.
    roots : path, optional
        PEM file of the only roots to trust. Default: those of the system.
    in_a_row : int
        Matching handshakes in a row that are proof.
    timeout_s : float
        Seconds until an endpoint must have given proof.
    clock, sleep : callable
        Seconds that only grow, and waiting.

    Returns
    -------
    list of Served
        The last answer of each endpoint, in order.

    Raises
    ------
    VerificationError
        For the first endpoint without proof: what it served instead.
    """

    def prove_one(endpoint: Endpoint) -> Served:
        deadline = clock() + timeout_s
        matched, pause = 0, _FIRST_PAUSE
        while True:
            remaining = max(deadline - clock(), _FIRST_PAUSE)
            served = handshake(endpoint, roots=roots, timeout_s=min(remaining, 5.0))
            if served.chain_ok and served.fingerprint == fingerprint:
                matched, pause = matched + 1, _FIRST_PAUSE
            else:
                matched = 0
            if matched >= in_a_row:
                return served
            if clock() + pause > deadline:
                raise VerificationError(_unproven(endpoint, fingerprint, served, timeout_s))
            sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    if not endpoints:
        raise VerificationError("there is no endpoint where the certificate could be proven: name one")
    with ThreadPoolExecutor(min(len(endpoints), _ABREAST)) as threads:
        return list(threads.map(prove_one, endpoints))


def _unproven(endpoint: Endpoint, fingerprint: str, served: Served, timeout_s: float) -> str:
    look = "did its server reload?"
    if served.fingerprint is None:
        seen, look = f"no certificate ({served.error})", "is its server up, and reached from here?"
    elif served.fingerprint != fingerprint:
        seen = f"{served.fingerprint[:12]}" + (f" ({served.error})" if served.error else "")
    else:
        seen = f"it, but {served.error}" if served.error else "it only now and then"
    return (
        f"{endpoint} ({endpoint.server_name}) does not serve {fingerprint[:12]} after {timeout_s:g} s,"
        f" it serves {seen}: {look}"
    )


def _verifying(roots: Path | None) -> ssl.SSLContext:
    """Give a context that trusts some roots.

    It is read again when the file has changed, and the system's every five minutes: that takes 20 ms.
    """
    if roots is None:
        return _trusting(None, time.monotonic() // _SYSTEM_S)
    try:
        told = roots.stat()
    except OSError as error:
        raise VerificationError(f"trust roots {roots} cannot be read as PEM certificates: {error}") from error
    return _trusting(roots, (told.st_mtime_ns, told.st_size, told.st_ino))


@lru_cache(maxsize=32)
def _trusting(roots: Path | None, _: object) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=roots)
    except OSError as error:
        raise VerificationError(f"trust roots {roots} cannot be read as PEM certificates: {error}") from error
    context.hostname_checks_common_name = False  # as browsers do (RFC 9525)
    # Python 3.13 made this the default; private authorities often fail it, and clients do not ask for it.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


@cache
def _lenient() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _leaf(endpoint: Endpoint, context: ssl.SSLContext, timeout_s: float) -> bytes:
    with _answered("a connection", timeout_s):
        opened = socket.create_connection((endpoint.host, endpoint.port), timeout_s)
    with opened as connection:
        if endpoint.starttls not in (None, "tls"):
            try:
                with _answered(f"the words before TLS ({endpoint.starttls})", timeout_s):
                    prelude(str(endpoint.starttls), connection, endpoint.server_name, timeout_s=timeout_s)
            except PreludeError as error:
                raise ConnectionError(str(error)) from error
        with (
            _answered("the TLS handshake", timeout_s),
            context.wrap_socket(connection, server_hostname=endpoint.server_name) as wrapped,
        ):
            der = wrapped.getpeercert(binary_form=True)
    if der is None:
        raise ConnectionError("the server showed no certificate")
    return der


@contextmanager
def _answered(what: str, timeout_s: float) -> Iterator[None]:
    """Say to what nothing came back, and for how long."""
    try:
        yield
    except TimeoutError as error:
        raise ConnectionError(f"nothing answered {what} within {timeout_s:.3g} s") from error


def _served(der: bytes | None, error: str | None, started: float) -> Served:
    latency_ms = (time.perf_counter() - started) * 1000
    if der is None:
        return Served(None, False, error, latency_ms, None, None)
    try:
        not_after = x509.load_der_x509_certificate(der).not_valid_after_utc
    except ValueError:
        not_after = None
    return Served(fingerprint(der), error is None, error, latency_ms, not_after, der)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    return error.strerror or str(error)
