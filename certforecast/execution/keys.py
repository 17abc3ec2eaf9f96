"""Private keys: new ones of every kind, those that are used again, and signing requests for them."""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, runtime_checkable

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from certforecast.errors import ExecutionError, InstallationError
from certforecast.settings import KeySettings

__all__ = [
    "KeepsKey",
    "SigningKey",
    "general_name",
    "load_key",
    "new_key",
    "request_parts",
    "reused_key",
    "signing_request",
]

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

#: Characters that a common name may hold (RFC 5280, ub-common-name).
_LONGEST: Final = 64


@runtime_checkable
class KeepsKey(Protocol):
    """An installer that can give the private key it put in place."""

    def key_in_place(self) -> bytes:
        """Give the private key that is in place, PEM."""
        ...


def new_key(algorithm: str = "ecdsa-p256") -> bytes:
    """Make a private key, as PKCS#8 PEM.

    Parameters
    ----------
    algorithm : str
        One of those that :class:`~certforecast.settings.KeySettings` allows.
    """
    key: SigningKey
    match algorithm.split("-"):
        case ["ed25519"]:
            key = ed25519.Ed25519PrivateKey.generate()
        case ["rsa", bits]:
            key = rsa.generate_private_key(public_exponent=65537, key_size=int(bits))
        case ["ecdsa", "p384"]:
            key = ec.generate_private_key(ec.SECP384R1())
        case _:
            key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_key(pem: bytes) -> SigningKey:
    """Read a private key; what is wrong with it is never quoted.

    Raises
    ------
    ExecutionError
        If it is none, needs a passphrase, or is of a kind that signs no request.
    """
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, SigningKey):
        raise ExecutionError(
            "this is no private key that a certificate can be ordered for: an ECDSA, RSA or Ed25519 key in "
            "PEM without a passphrase is wanted",
            code="config",
        ) from None
    return key


def reused_key(settings: KeySettings, installers: Iterable[object]) -> bytes | None:
    """Give the key in place, where the settings say that it is used again; None where a new one is wanted.

    Raises
    ------
    ExecutionError
        If an installer cannot give its key, or there are several.
    """
    if not settings.reuse or settings.token is not None:
        return None
    found = set()
    for installer in installers:
        if not isinstance(installer, KeepsKey):
            raise InstallationError(
                "the key in place shall be used again, and this kind of installer does not give its key: "
                "set keys.reuse = false, or install from files on this machine",
                code="config",
            )
        found.add(installer.key_in_place())
    if len(found) != 1:
        raise InstallationError(
            f"the key in place shall be used again, and there are {len(found)}: renew the endpoints apart, "
            "or set keys.reuse = false",
            code="config",
        )
    (pem,) = found
    load_key(pem)
    return pem


def general_name(name: str) -> x509.GeneralName:
    """Give a host name or IP address as X.509 writes it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def request_parts(names: Sequence[str]) -> tuple[x509.Name, x509.SubjectAlternativeName]:
    """Give the subject of a signing request, and the names that count."""
    common = [x509.NameAttribute(NameOID.COMMON_NAME, names[0])] if len(names[0]) <= _LONGEST else []
    return x509.Name(common), x509.SubjectAlternativeName([general_name(name) for name in names])


def signing_request(key: SigningKey, names: Sequence[str]) -> bytes:
    """Make a signing request for `names`, as PEM."""
    subject, alternatives = request_parts(names)
    builder = x509.CertificateSigningRequestBuilder(subject).add_extension(alternatives, critical=False)
    # Ed25519 has its own hash (RFC 8032).
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)
