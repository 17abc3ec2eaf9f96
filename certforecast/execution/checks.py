"""What must be true of a certificate and its key before any server is touched."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from certforecast.errors import InstallationError
from certforecast.execution.references import KeyReference, is_reference
from certforecast.history.names import is_ip, normalise_name
from certforecast.history.x509 import fingerprint

__all__ = ["check_pair", "check_same_key", "leaf_fingerprint", "private_key"]

_PRIVATE_KEY: Final = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)


def leaf_fingerprint(chain_pem: bytes) -> str:
    """Give the SHA-256 of the leaf, the first certificate, in lower-case hex.

    Raises
    ------
    InstallationError
        If there is no certificate, or the first cannot be read.
    """
    return fingerprint(_chain(chain_pem)[0].public_bytes(Encoding.DER))


def private_key(pem: bytes) -> bytes:
    """Give the private key out of a file that may hold certificates as well.

    Raises
    ------
    InstallationError
        If there is none.
    """
    block = _PRIVATE_KEY.search(pem)
    if block is None:
        raise InstallationError("there is no private key in PEM form")
    return block[0] + b"\n"


def check_same_key(chain_pem: bytes, other_pem: bytes) -> None:
    """Refuse a certificate that is for another key than another certificate.

    Raises
    ------
    InstallationError
        If so: a server that keeps its key could not use it.
    """
    leaf, other = _chain(chain_pem)[0], _chain(other_pem)[0]
    if _public_bytes(leaf.public_key()) != _public_bytes(other.public_key()):
        raise InstallationError(
            f"{_short(leaf)} is for another key than {_short(other)}, which is in place, and the key in the "
            "token is not switched: set keys.reuse = true",
            code="config",
        )


def check_pair(
    chain_pem: bytes,
    key_pem: bytes,
    *,
    names: Iterable[str] = (),
    roots_pem: bytes | None = None,
    now: datetime | None = None,
) -> None:
    """Refuse a certificate that would not work.

    Some servers accept a reload with a key that does not match, and stop: so this is checked before.

    Parameters
    ----------
    chain_pem : bytes
        Leaf first, then what leads to a root.
    key_pem : bytes
        The private key, or the reference to one in a token. May hold certificates as well.
    names : iterable of str
        What the leaf must cover, wildcards included.
    roots_pem : bytes, optional
        The roots the chain must lead to; checked at `now`, so only with it.
    now : datetime, optional
        When the leaf must be valid. Without it, validity is not checked.

    Raises
    ------
    InstallationError
        With the first reason found; of a certificate that is not the one wanted, `code` is ``key_mismatch``,
        ``names``, ``validity`` or ``chain``.
    """
    leaf, *others = _chain(chain_pem)
    if _public_bytes(_public_key(key_pem)) != _public_bytes(leaf.public_key()):
        raise InstallationError(
            f"the private key does not match {_short(leaf)}: the two are of different orders; order again",
            code="key_mismatch",
        )
    wanted = [normalise_name(name) for name in names]
    covered = _names(leaf)
    missing = [name for name in wanted if not any(_covers(pattern, name) for pattern in covered)]
    if missing:
        raise InstallationError(
            f"{_short(leaf)} does not cover {', '.join(missing)}, only"
            f" {', '.join(sorted(covered)) or 'no name'}: order one with all names",
            code="names",
        )
    if now is not None and not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        raise InstallationError(
            f"{_short(leaf)} is valid from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} until"
            f" {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, not at {now:%Y-%m-%d %H:%M}:"
            " check the clock of this machine, or order again",
            code="validity",
        )
    if roots_pem is not None and now is not None:
        _check_chain(leaf, others, _chain(roots_pem), now)


def _check_chain(
    leaf: x509.Certificate, others: list[x509.Certificate], roots: list[x509.Certificate], now: datetime
) -> None:
    """Look for a path from `leaf` to one of `roots`.

    Extensions are held to what TLS clients insist on, not to the whole profile of the public web, which
    private authorities often miss.
    """
    issuing = ExtensionPolicy.permit_all().require_present(
        x509.BasicConstraints, Criticality.AGNOSTIC, _must_be_authority
    )
    ending = ExtensionPolicy.permit_all().require_present(
        x509.SubjectAlternativeName, Criticality.AGNOSTIC, None
    )
    builder = PolicyBuilder().store(Store(roots)).time(now)
    verifier = builder.extension_policies(ca_policy=issuing, ee_policy=ending).build_server_verifier(
        _subject(leaf)
    )
    try:
        verifier.verify(leaf, others)
    except VerificationError as error:
        raise InstallationError(
            f"the chain of {_short(leaf)} does not lead to a trusted root ({error}): is an intermediate"
            " missing, or is it issued by a test authority?",
            code="chain",
        ) from error


def _must_be_authority(_policy: Policy, certificate: x509.Certificate, found: x509.BasicConstraints) -> None:
    if not found.ca:
        raise ValueError(f"{certificate.subject.rfc4514_string()} is no certificate authority")


def _subject(leaf: x509.Certificate) -> x509.DNSName | x509.IPAddress:
    """Give a name that `leaf` covers; which one does not matter, all were compared before."""
    for name in _alternatives(leaf):
        if isinstance(name, x509.IPAddress):
            return name
        if isinstance(name, x509.DNSName):
            return x509.DNSName(name.value.replace("*", "any"))
    raise InstallationError(f"{_short(leaf)} has no DNS name or IP address, so no client accepts it")


def _names(leaf: x509.Certificate) -> set[str]:
    return {
        str(name.value).lower()
        for name in _alternatives(leaf)
        if isinstance(name, x509.DNSName | x509.IPAddress)
    }


def _alternatives(leaf: x509.Certificate) -> Iterable[x509.GeneralName]:
    try:
        return leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()


def _covers(pattern: str, name: str) -> bool:
    """Tell whether a certificate's `pattern` covers `name`; ``*`` stands for one label (RFC 9525, 6.3)."""
    if pattern == name:
        return True
    if not pattern.startswith("*.") or is_ip(name) or name.startswith("*."):
        return False
    return name.partition(".")[2] == pattern.removeprefix("*.")


def _chain(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise InstallationError(
            f"no certificate can be read, PEM with the leaf first is wanted: {error}"
        ) from error


def _public_key(pem: bytes) -> PublicKeyTypes:
    """Give the public half of a private key; what was wrong with it is never quoted."""
    if is_reference(pem):
        return KeyReference.from_pem(pem).public_key
    pem = private_key(pem)
    try:
        return load_pem_private_key(pem, None).public_key()
    except TypeError:
        reason = "the private key is encrypted: give one without a passphrase, readable by its owner alone"
    except (ValueError, UnsupportedAlgorithm):
        reason = "the private key cannot be read"
    raise InstallationError(reason)


def _public_bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _short(leaf: x509.Certificate) -> str:
    return f"certificate {fingerprint(leaf.public_bytes(Encoding.DER))[:12]}"
