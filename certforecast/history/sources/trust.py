"""Whether a careful client would trust the certificates that an endpoint sent."""

import ssl
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from OpenSSL import crypto

from certforecast.errors import InputError
from certforecast.history.names import is_ip

__all__ = ["Trust", "chain_status", "matches"]

#: OpenSSL's verification errors (x509_vfy.h) that say more than "untrusted".
_SELF_SIGNED: Final = 18  # X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
_EXPIRED: Final = 10  # X509_V_ERR_CERT_HAS_EXPIRED

#: The identifier of the extension nameConstraints (RFC 5280, section 4.2.1.10).
_NAME_CONSTRAINTS: Final = b"\x06\x03\x55\x1d\x1e"


class Trust:
    """The authorities that a client trusts: the system's, and those of a file.

    OpenSSL itself verifies, as in most clients. A chain that was seen before is not verified again, nor are
    the authorities of one.

    Parameters
    ----------
    ca_file : path, optional
        PEM certificates of authorities to trust beside those of the system.

    Raises
    ------
    InputError
        If `ca_file` cannot be read as PEM certificates.
    """

    def __init__(self, ca_file: Path | str | None = None) -> None:
        self._store = crypto.X509Store()
        self._known: dict[tuple[bytes, ...], str] = {}
        self._issuers: dict[tuple[bytes, ...], crypto.X509Store | None] = {}
        paths = ssl.get_default_verify_paths()
        if paths.cafile or paths.capath:
            self._store.load_locations(paths.cafile, paths.capath)
        if ca_file is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=str(ca_file))
                self._store.load_locations(str(ca_file))
            except (OSError, ssl.SSLError, crypto.Error) as error:
                raise InputError(f"{ca_file} cannot be read as PEM certificates: {error}") from error

    def verdict(self, chain: Sequence[bytes]) -> str:
        """Verify a chain, whatever its names.

        Parameters
        ----------
        chain : sequence of bytes
            The certificates sent, the leaf first.

        Returns
        -------
        str
            ``"valid"``, ``"expired"`` (the leaf), ``"self_signed"`` or ``"untrusted"``.
        """
        key = tuple(chain)
        if key not in self._known:
            self._known[key] = self._verify(chain)
        return self._known[key]

    def _verify(self, chain: Sequence[bytes]) -> str:
        try:
            leaf = crypto.load_certificate(crypto.FILETYPE_ASN1, chain[0])
            if self._issued_by_the_trusted(leaf, chain[1:]):
                return "valid"
            sent = [_authority(der) for der in chain[1:]]
            crypto.X509StoreContext(self._store, leaf, sent).verify_certificate()
        except crypto.X509StoreContextError as error:
            code, depth = error.errors[:2]
            if code == _EXPIRED and depth == 0:
                return "expired"
            return "self_signed" if code == _SELF_SIGNED else "untrusted"
        except crypto.Error:
            return "untrusted"
        return "valid"

    def _issued_by_the_trusted(self, leaf: crypto.X509, authorities: Sequence[bytes]) -> bool:
        """Tell whether the first of the authorities, verified once for all its leaves, issued this one.

        The answer no means that the chain as a whole has to be verified.
        """
        if not authorities:
            return False
        key = tuple(authorities)
        if key not in self._issuers:
            self._issuers[key] = self._issuer(authorities)
        issuer = self._issuers[key]
        if issuer is None:
            return False
        try:
            crypto.X509StoreContext(issuer, leaf).verify_certificate()
        except crypto.X509StoreContextError:
            return False
        return True

    def _issuer(self, authorities: Sequence[bytes]) -> crypto.X509Store | None:
        """Make a store of the first authority alone, if it is trusted and no name is constrained above it."""
        first, *rest = (_authority(der) for der in authorities)
        try:
            chain = crypto.X509StoreContext(self._store, first, rest).get_verified_chain()
        except crypto.X509StoreContextError:
            return None
        if any(_NAME_CONSTRAINTS in crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in chain):
            return None
        store = crypto.X509Store()
        store.add_cert(first)
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        return store


@lru_cache(256)
def _authority(der: bytes) -> crypto.X509:
    """Load one of the certificates that many endpoints send along."""
    return crypto.load_certificate(crypto.FILETYPE_ASN1, der)


def chain_status(
    verdict: str, server_name: str, names: Sequence[str], not_after: datetime, now: datetime
) -> str:
    """Say what a careful client makes of an endpoint, as `chain_status` of the table ``observations``.

    Expiry comes first, whatever else is wrong: it is what a renewal mends.

    Parameters
    ----------
    verdict : str
        Of :meth:`Trust.verdict`.
    server_name : str
        The name that was asked for.
    names, not_after
        Of the leaf.
    now : datetime
        When it was served.
    """
    if not_after < now:
        return "expired"
    return verdict if verdict != "valid" or matches(server_name, names) else "wrong_name"


def matches(server_name: str, names: Sequence[str]) -> bool:
    """Tell whether a certificate's names cover a server's (RFC 9525, section 6.3).

    A wildcard is a whole left-most label, and stands for exactly one label.

    Examples
    --------
    >>> matches("www.example.org", ["*.example.org"]), matches("example.org", ["*.example.org"])
    (True, False)
    """
    if server_name in names:
        return True
    _, dot, parent = server_name.partition(".")
    return bool(dot) and not is_ip(server_name) and f"*.{parent}" in names
