"""Real certificates, as many as wanted: signed by authorities made on the spot, for measurements."""

import random
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

__all__ = ["make_ders"]

#: Issuers, with the validity of what they issue in days, and the kind of its validation.
_ISSUERS: Final = (
    ("Public A", "A1", 90, "2.23.140.1.2.1"),
    ("Public A", "A2", 90, "2.23.140.1.2.1"),
    ("Public A", "A3", 45, "2.23.140.1.2.1"),
    ("Public B, Inc.", "B TLS Issuing CA", 199, "2.23.140.1.2.2"),
    ("Public C GmbH", "C EV CA", 199, "2.23.140.1.1"),
    ("Private", "Internal CA 1", 365, None),
)
_ENDINGS: Final = ("com", "org", "net", "de", "co.uk", "io", "com.br", "app")
_HOSTS: Final = ("www", "api", "mail", "shop", "login", "cdn", "static", "staging", "dev", "vpn")

#: signed_certificate_timestamp list (RFC 6962, section 3.3)
_SCT_LIST: Final = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_KEYS: Final = 64


def make_ders(
    count: int, *, seed: int = 0, start: datetime = datetime(2024, 1, 1, tzinfo=UTC)
) -> Iterator[bytes]:
    """Make distinct leaf certificates like those of the public web, with one to eight names.

    Subjects' keys are taken from a few, one of sixteen RSA of 2048 bits and the others on P-256: making a key
    takes longer than all else. Signatures are real; logs and their timestamps are made up.

    Parameters
    ----------
    count : int
        How many.
    seed : int
        Of names, times and serial numbers; the keys are new each time.
    start : datetime
        The earliest time at which one begins; they spread over two years.
    """
    rng = random.Random(seed)
    key = ec.generate_private_key(ec.SECP256R1())
    subjects = [
        rsa.generate_private_key(65537, 2048).public_key()
        if number % 16 == 0
        else ec.generate_private_key(ec.SECP256R1()).public_key()
        for number in range(_KEYS)
    ]
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    for number in range(count):
        organisation, common_name, days, policy = rng.choice(_ISSUERS)
        names = _names(rng, f"{seed}-{number}" if seed else str(number))
        begins = start + timedelta(seconds=rng.randrange(2 * 365 * 86400))
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]))
            .issuer_name(
                x509.Name(
                    [
                        x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
                        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
                        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
                    ]
                )
            )
            .serial_number(rng.getrandbits(120) | 1 << 120)
            .not_valid_before(begins)
            .not_valid_after(begins + timedelta(days=days))
            .public_key(rng.choice(subjects))
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier(rng.randbytes(20)), critical=False)
            .add_extension(authority, critical=False)
            .add_extension(_access(common_name), critical=False)
            .add_extension(x509.SubjectAlternativeName(map(x509.DNSName, names)), critical=False)
        )
        if policy is not None:
            information = x509.PolicyInformation(x509.ObjectIdentifier(policy), None)
            builder = builder.add_extension(
                x509.CertificatePolicies([information]), critical=False
            ).add_extension(x509.UnrecognizedExtension(_SCT_LIST, _timestamps(rng, begins)), critical=False)
        yield builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _names(rng: random.Random, label: str) -> list[str]:
    domain = f"{rng.choice(_HOSTS)}{label}.example{rng.randrange(5000)}.{rng.choice(_ENDINGS)}"
    hosts = rng.sample(_HOSTS, rng.choice((0, 1, 1, 1, 2, 3, 7)))
    return [domain, *(f"{host}.{domain}" for host in hosts)]


def _access(issuer: str) -> x509.AuthorityInformationAccess:
    address = f"http://{issuer.split()[0].lower()}.issuer.example/"
    return x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(address)
            )
        ]
    )


def _timestamps(rng: random.Random, at: datetime) -> bytes:
    """Make two SCTs, as long as real ones."""
    scts = b""
    for seconds in (0, 1):
        sct = struct.pack(
            ">B32sQHBBH71s",
            0,
            rng.randbytes(32),
            int(at.timestamp() * 1000) + 3_600_000 + 1000 * seconds,
            0,
            4,
            3,
            71,
            rng.randbytes(71),
        )
        scts += struct.pack(">H", len(sct)) + sct
    listed = struct.pack(">H", len(scts)) + scts
    return bytes((0x04, 0x81, len(listed))) + listed
