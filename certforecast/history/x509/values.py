"""What the bytes of single elements say: small readers, each for one element of RFC 5280.

Certificates repeat themselves: most share their issuer, policies, uses and algorithms with thousands of
others, and renewals their names. So each reader remembers what it has read. No bytes at all stand for an
element that is absent; what cannot be read raises ValueError.
"""

import ipaddress
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import (
    ExtendedKeyUsageOID,
    ObjectIdentifier,
    PublicKeyAlgorithmOID,
    SignatureAlgorithmOID,
)

from certforecast.errors import InputError
from certforecast.history.names import NameSet, name_set, normalise_name

__all__ = [
    "Algorithm",
    "alternative_names",
    "authority_key_id",
    "common_name",
    "is_authority",
    "key_algorithm",
    "key_uses",
    "must_staple",
    "named",
    "policy",
    "rsa_bits",
    "serial",
    "signature_algorithm",
]

#: Certificate policies of the CA/Browser Forum (Baseline Requirements 7.1.6.1, EV Guidelines 9.3).
_POLICIES: Final = {
    "2.23.140.1.2.1": "DV",
    "2.23.140.1.2.2": "OV",
    "2.23.140.1.1": "EV",
}

_KEY_ALGORITHMS: Final = {
    PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5: "RSA",
    PublicKeyAlgorithmOID.RSASSA_PSS: "RSA",
    PublicKeyAlgorithmOID.EC_PUBLIC_KEY: "EC",
    PublicKeyAlgorithmOID.DSA: "DSA",
    PublicKeyAlgorithmOID.ED25519: "Ed25519",
    PublicKeyAlgorithmOID.ED448: "Ed448",
    PublicKeyAlgorithmOID.ML_DSA_44: "ML-DSA-44",
    PublicKeyAlgorithmOID.ML_DSA_65: "ML-DSA-65",
    PublicKeyAlgorithmOID.ML_DSA_87: "ML-DSA-87",
}

#: Names as RFC 8017, RFC 5758 and RFC 8410 write them, and OpenSSL prints them.
_SIGNATURES: Final = {
    SignatureAlgorithmOID.RSA_WITH_MD5: "md5WithRSAEncryption",
    SignatureAlgorithmOID.RSA_WITH_SHA1: "sha1WithRSAEncryption",
    SignatureAlgorithmOID.RSA_WITH_SHA224: "sha224WithRSAEncryption",
    SignatureAlgorithmOID.RSA_WITH_SHA256: "sha256WithRSAEncryption",
    SignatureAlgorithmOID.RSA_WITH_SHA384: "sha384WithRSAEncryption",
    SignatureAlgorithmOID.RSA_WITH_SHA512: "sha512WithRSAEncryption",
    SignatureAlgorithmOID.RSASSA_PSS: "rsassaPss",
    SignatureAlgorithmOID.ECDSA_WITH_SHA1: "ecdsa-with-SHA1",
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: "ecdsa-with-SHA256",
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: "ecdsa-with-SHA384",
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: "ecdsa-with-SHA512",
    SignatureAlgorithmOID.ED25519: "Ed25519",
    SignatureAlgorithmOID.ED448: "Ed448",
}

#: Short names as OpenSSL prints them.
_KEY_USES: Final = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.CODE_SIGNING: "codeSigning",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "emailProtection",
    ExtendedKeyUsageOID.TIME_STAMPING: "timeStamping",
    ExtendedKeyUsageOID.OCSP_SIGNING: "OCSPSigning",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage",
}

_BOOLEAN, _INTEGER, _OBJECT, _UTF8, _SEQUENCE, _SET = 0x01, 0x02, 0x06, 0x0C, 0x30, 0x31
_ASCII_STRINGS: Final = frozenset({0x13, 0x16})  # PrintableString, IA5String
_COMMON_NAME: Final = b"\x55\x04\x03"
#: How a subject that is nothing but a common name goes on after its first four bytes.
_LONE_NAME: Final = b"\x06\x03" + _COMMON_NAME + b"\x0c"
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_STATUS_REQUEST: Final = b"\x05"

#: Texts remembered by each reader, and by those whose texts are nearly all different.
_FEW, _MANY = 1024, 4096


class Algorithm(NamedTuple):
    """A kind of public key: its name, and its size in bits where the kind alone tells it."""

    name: str
    bits: int | None


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Read elements that stand one after another: tag and content.

    Raises
    ------
    ValueError
        If the bytes end within an element.
    """
    at, end = 0, len(data)
    while at < end:
        if at + 2 > end:
            raise ValueError("an element is cut off")
        tag, size = data[at], data[at + 1]
        at += 2
        if size >= 0x80:
            count = size - 0x80
            if not 1 <= count <= 4 or at + count > end:
                raise ValueError("an element has no proper length")
            size = int.from_bytes(data[at : at + count], "big")
            at += count
        if at + size > end:
            raise ValueError("an element is cut off")
        yield tag, data[at : at + size]
        at += size


def _only(data: bytes, tag: int) -> bytes:
    """Give the content of the one element that the bytes are."""
    if len(data) > 1 and data[0] == tag and data[1] == len(data) - 2 < 0x80:
        return data[2:]
    (found, content), *more = _elements(data) if data else ((-1, b""),)
    if found != tag or more:
        raise ValueError(f"there is no element of kind {tag:#04x} alone")
    return content


def _dotted(content: bytes) -> str:
    """Write an object identifier with dots (X.690, section 8.19)."""
    arcs, value = list[int](), 0
    for byte in content:
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            arcs.append(value)
            value = 0
    if not arcs or content[-1] >= 0x80:
        raise ValueError("an object identifier is cut off")
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def serial(content: bytes) -> str:
    """Write a serial number in hex, as its shortest."""
    if content[:1] < b"\x80":
        return content.hex().lstrip("0") or "0"
    return format(int.from_bytes(content, "big", signed=True), "x")


@lru_cache(_FEW)
def signature_algorithm(element: bytes) -> str:
    """Name the algorithm of an AlgorithmIdentifier; its dotted object identifier if it has no name here."""
    _, content = next(_elements(_only(element, _SEQUENCE)))
    dotted = _dotted(content)
    return _SIGNATURES.get(ObjectIdentifier(dotted), dotted)


@lru_cache(_FEW)
def key_algorithm(element: bytes) -> Algorithm:
    """Name the kind of key of an AlgorithmIdentifier."""
    (_, content), *parameters = _elements(_only(element, _SEQUENCE))
    dotted = _dotted(content)
    name = _KEY_ALGORITHMS.get(ObjectIdentifier(dotted), dotted)
    bits: int | None = None
    with suppress(ValueError, LookupError):
        if name == "EC":
            curve = ec.get_curve_for_oid(ObjectIdentifier(_dotted(parameters[0][1])))
            bits = curve().key_size
        elif name == "DSA":
            bits = _integer_bits(next(_elements(parameters[0][1])))
    return Algorithm(name, bits)


def rsa_bits(key: bytes) -> int | None:
    """Give the size of an RSAPublicKey (RFC 8017, appendix A.1.1), None if it is none."""
    try:
        return _integer_bits(next(_elements(_only(key, _SEQUENCE))))
    except (ValueError, StopIteration):
        return None


def _integer_bits(element: tuple[int, bytes]) -> int:
    tag, content = element
    if tag != _INTEGER:
        raise ValueError("there is no integer")
    return int.from_bytes(content, "big").bit_length()


@lru_cache(_FEW)
def authority_key_id(value: bytes) -> str | None:
    """Read the key identifier of an authorityKeyIdentifier as hex (RFC 5280, section 4.2.1.1)."""
    if not value:
        return None
    for tag, content in _elements(_only(value, _SEQUENCE)):
        if tag == 0x80:
            return content.hex() or None
    return None


@lru_cache(_FEW)
def policy(value: bytes) -> str:
    """Read certificatePolicies: ``"DV"``, ``"OV"``, ``"EV"``, or ``"unknown"``."""
    if not value:
        return "unknown"
    for _, information in _elements(_only(value, _SEQUENCE)):
        tag, content = next(_elements(information), (-1, b""))
        if tag != _OBJECT:
            raise ValueError("a policy has no identifier")
        if found := _POLICIES.get(_dotted(content)):
            return found
    return "unknown"


@lru_cache(_FEW)
def key_uses(value: bytes) -> list[str] | None:
    """List the extended key uses; None if there is no such extension."""
    if not value:
        return None
    found = [_dotted(content) for _, content in _elements(_only(value, _SEQUENCE))]
    return [_KEY_USES.get(ObjectIdentifier(dotted), dotted) for dotted in found]


@lru_cache(_FEW)
def must_staple(value: bytes) -> bool:
    """Tell whether the TLS features ask for a stapled status (RFC 7633)."""
    if not value:
        return False
    return (_INTEGER, _STATUS_REQUEST) in _elements(_only(value, _SEQUENCE))


@lru_cache(_FEW)
def is_authority(value: bytes) -> bool:
    """Read whether basicConstraints say CA."""
    if not value:
        return False
    tag, content = next(_elements(_only(value, _SEQUENCE)), (-1, b""))
    return tag == _BOOLEAN and content == b"\xff"


def alternative_names(value: bytes) -> NameSet | None:
    """Read the DNS names and IP addresses of a subjectAltName; None if it has neither.

    Names of other kinds, and what is no DNS name where one should stand, are left out.
    """
    if not value:
        return None
    dns, addresses = list[str](), list[str]()
    for tag, name in _elements(_only(value, _SEQUENCE)):
        if tag == _DNS_NAME:
            dns.append(name.decode("utf-8", "replace"))
        elif tag == _IP_ADDRESS and len(name) in (4, 16):
            addresses.append(ipaddress.ip_address(name).compressed)
    return name_set(dns, addresses)


@lru_cache(_MANY)
def named(common_name: str) -> NameSet:
    """Give the set of names of a certificate that has only a common name.

    Raises
    ------
    InputError
        If that is empty, too.
    """
    words = " ".join(common_name.split())
    if not words:
        raise InputError("certificate names nothing: no DNS name, no IP address, no common name")
    try:
        return NameSet.of([normalise_name(words)])
    except InputError:
        return NameSet.of([words.lower()])


@lru_cache(_MANY)
def common_name(subject: bytes) -> str | None:
    """Read the first common name of a subject's content; None if it has none.

    Raises
    ------
    ValueError
        If it is written in one of the string types of old, or is broken.
    """
    size = len(subject)
    if subject[4:10] == _LONE_NAME and (subject[1], subject[3], subject[10]) == (
        size - 2,
        size - 4,
        size - 11,
    ):
        return subject[11:].decode()
    for _, several in _elements(subject):
        for _, attribute in _elements(several):
            (_, kind), (tag, content) = _elements(attribute)
            if kind == _COMMON_NAME:
                if tag == _UTF8:
                    return content.decode()
                if tag in _ASCII_STRINGS:
                    return content.decode("ascii")
                raise ValueError("a name is written in a string type of old")
    return None
