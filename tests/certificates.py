"""Certificates made at test time."""

import ipaddress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier

START = datetime(2026, 3, 1, tzinfo=UTC)

Extension = tuple[x509.ExtensionType, bool]


@cache
def key() -> ec.EllipticCurvePrivateKey:
    """Give the one key of the whole test run."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem() -> bytes:
    return key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def name(**attributes: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(getattr(NameOID, kind), value) for kind, value in attributes.items()]
    )


ISSUER = name(COUNTRY_NAME="US", ORGANIZATION_NAME="Test, Inc.", COMMON_NAME="Test CA")


def alternative(*names: str) -> Extension:
    general: list[x509.GeneralName] = []
    for text in names:
        try:
            general.append(x509.IPAddress(ipaddress.ip_address(text)))
        except ValueError:
            general.append(x509.DNSName(text))
    return x509.SubjectAlternativeName(general), False


def certificate(
    *names: str,
    start: datetime = START,
    days: float = 90,
    serial: int | None = None,
    subject: x509.Name | None = None,
    issuer: x509.Name | None = ISSUER,
    extensions: tuple[Extension, ...] = (),
    signer: Any = None,
    public_key: Any = None,
) -> x509.Certificate:
    """Make a leaf; `issuer` None makes it self-signed."""
    subject = name(COMMON_NAME=names[0]) if subject is None else subject
    builder = x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=subject if issuer is None else issuer,
        public_key=public_key or key().public_key(),
        serial_number=serial or x509.random_serial_number(),
        not_valid_before=start,
        not_valid_after=start + timedelta(days=days),
    )
    for extension, critical in (*([alternative(*names)] if names else []), *extensions):
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer or key(), hashes.SHA256())


def der(made: x509.Certificate) -> bytes:
    return made.public_bytes(Encoding.DER)


def pem(made: x509.Certificate) -> bytes:
    return made.public_bytes(Encoding.PEM)


def authority() -> x509.Certificate:
    """Make a certificate of a chain."""
    constraints = x509.BasicConstraints(ca=True, path_length=None), True
    return certificate(subject=ISSUER, extensions=(constraints,))


def policies(*oids: str) -> Extension:
    found = [x509.PolicyInformation(ObjectIdentifier(oid), None) for oid in oids]
    return x509.CertificatePolicies(found), False


def names_of(chain_pem: bytes) -> set[str]:
    """Give the alternative names of the leaf."""
    leaf = x509.load_pem_x509_certificate(chain_pem)
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}
