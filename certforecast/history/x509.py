"""X.509: from the bytes of a certificate to its row."""

import hashlib
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import (
    ExtendedKeyUsageOID,
    NameOID,
    ObjectIdentifier,
    PublicKeyAlgorithmOID,
    SignatureAlgorithmOID,
)

from certforecast.errors import InputError
from certforecast.history.names import is_wildcard, name_set_id, normalise_name, registered_domains

__all__ = ["certificate_row", "fingerprint", "is_chain_certificate", "split_pem"]

#: What cryptography raises for bytes it cannot read, at once or when a part is first looked at.
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

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

# A broken block ends where the next one begins, so that nothing else in the file is ever read as part of it.
_BLOCK: Final = re.compile(
    rb"-----BEGIN (?:X509 )?CERTIFICATE-----.*?(?:-----END (?:X509 )?CERTIFICATE-----|(?=-----BEGIN )|\Z)",
    re.DOTALL,
)

_E = TypeVar("_E", bound=x509.ExtensionType)


def fingerprint(der: bytes) -> str:
    """Give the SHA-256 of a certificate's DER in lower-case hex."""
    return hashlib.sha256(der).hexdigest()


def split_pem(data: bytes) -> Iterator[tuple[int, bytes | InputError]]:
    """Cut a PEM bundle into its certificates.

    Text between the blocks, private keys and other blocks are passed over.

    Parameters
    ----------
    data : bytes
        Anything.

    Yields
    ------
    position : int
        Which CERTIFICATE block of the bundle this is, from 1.
    der : bytes or InputError
        The certificate, or why the block is none. A broken block does not lose the others.
    """
    for position, match in enumerate(_BLOCK.finditer(data), start=1):
        try:
            with _quietly():
                der = x509.load_pem_x509_certificate(match[0]).public_bytes(Encoding.DER)
        except _UNREADABLE:
            yield position, InputError("PEM block is truncated or is not a certificate; fetch the file anew")
        else:
            yield position, der


def is_chain_certificate(der: bytes) -> bool:
    """Tell whether a certificate is part of a chain and no leaf.

    A chain certificate is one whose basic constraints say CA and that names no server. What
    ``openssl req -x509`` makes for a server says CA too, but carries the server's names: it is a leaf.

    Raises
    ------
    InputError
        If the bytes are not a certificate.
    """
    certificate = _load(der)
    try:
        with _quietly():
            constraints = _extension(certificate, x509.BasicConstraints)
            return constraints is not None and constraints.ca and not _alternative_names(certificate)
    except _UNREADABLE as error:
        raise InputError(f"certificate has an extension that cannot be read: {error}") from error


def certificate_row(der: bytes, *, source: str, known_at: datetime) -> dict[str, Any]:
    """Read a certificate into a row of the table ``certificates``.

    Names are the DNS names and IP addresses of the subject alternative name; without any, the subject's
    common name, in lower case even where it is no DNS name (a private CA's ``urn:node:a``). Alternative names
    that are neither DNS names nor IP addresses are left out.

    Parameters
    ----------
    der : bytes
        One DER certificate, nothing after it.
    source : str
        Name of the source that found it.
    known_at : datetime
        When it was first known.

    Returns
    -------
    dict
        Every column of :data:`certforecast.history.schema.CERTIFICATES`. What cannot be told of an
        unknown kind of key (`key_bits`, `spki_hash`) is None.

    Raises
    ------
    InputError
        If the bytes are not a certificate, its validity is inverted, or it names nothing.
    """
    certificate = _load(der)
    try:
        with _quietly():
            return _row(certificate, fingerprint(der), source, known_at)
    except InputError:
        raise
    except _UNREADABLE as error:
        raise InputError(f"certificate has a field that cannot be read: {error}") from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep cryptography's warnings (a zero serial, an odd country) from people who only want the history."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _load(der: bytes) -> x509.Certificate:
    if not der:
        raise InputError("certificate is empty")
    try:
        with _quietly():
            return x509.load_der_x509_certificate(der)
    except _UNREADABLE as error:
        raise InputError(
            "bytes are not a whole DER certificate; they are truncated or something else"
        ) from error


def _row(certificate: x509.Certificate, digest: str, source: str, known_at: datetime) -> dict[str, Any]:
    not_before, not_after = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not_after <= not_before:
        raise InputError(
            f"validity is inverted: not_after {not_after} is not later than not_before {not_before}"
        )
    names = _names(certificate)
    authority = _extension(certificate, x509.AuthorityKeyIdentifier)
    features = _extension(certificate, x509.TLSFeature)
    uses = _extension(certificate, x509.ExtendedKeyUsage)
    algorithm = certificate.public_key_algorithm_oid
    key_bits, spki_hash = _key(certificate)
    return {
        "fingerprint": digest,
        "serial": format(certificate.serial_number, "x"),
        "issuer_dn": certificate.issuer.rfc4514_string(),
        "issuer_org": _attribute(certificate.issuer, NameOID.ORGANIZATION_NAME),
        "issuer_cn": _attribute(certificate.issuer, NameOID.COMMON_NAME),
        "issuer_key_id": authority.key_identifier.hex() if authority and authority.key_identifier else None,
        "subject_cn": _attribute(certificate.subject, NameOID.COMMON_NAME),
        "names": names,
        "name_set_id": name_set_id(names),
        "registered_domains": registered_domains(names),
        "wildcard": any(is_wildcard(name) for name in names),
        "key_algorithm": _KEY_ALGORITHMS.get(algorithm, algorithm.dotted_string),
        "key_bits": key_bits,
        "signature_algorithm": _SIGNATURES.get(
            certificate.signature_algorithm_oid, certificate.signature_algorithm_oid.dotted_string
        ),
        "not_before": not_before,
        "not_after": not_after,
        "validity_days": (not_after - not_before) / timedelta(days=1),
        "policy": _policy(certificate),
        "must_staple": features is not None and x509.TLSFeatureType.status_request in features,
        "eku": None if uses is None else [_KEY_USES.get(use, use.dotted_string) for use in uses],
        "is_precertificate": _extension(certificate, x509.PrecertPoison) is not None,
        "spki_hash": spki_hash,
        "source": source,
        "known_at": known_at,
    }


def _extension(certificate: x509.Certificate, kind: type[_E]) -> _E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _attribute(name: x509.Name, oid: ObjectIdentifier) -> str | None:
    for attribute in name.get_attributes_for_oid(oid):
        value = attribute.value
        return value if isinstance(value, str) else value.decode("utf-8", "replace")
    return None


def _names(certificate: x509.Certificate) -> list[str]:
    if names := _alternative_names(certificate):
        return names
    common_name = " ".join((_attribute(certificate.subject, NameOID.COMMON_NAME) or "").split())
    if not common_name:
        raise InputError("certificate names nothing: no DNS name, no IP address, no common name")
    try:
        return [normalise_name(common_name)]
    except InputError:
        return [common_name.lower()]


def _alternative_names(certificate: x509.Certificate) -> list[str]:
    alternative = _extension(certificate, x509.SubjectAlternativeName)
    if alternative is None:
        return []
    written = alternative.get_values_for_type(x509.DNSName)
    written += [str(address) for address in alternative.get_values_for_type(x509.IPAddress)]
    names = set()
    for name in written:
        with suppress(InputError):
            names.add(normalise_name(name))
    return sorted(names)


def _policy(certificate: x509.Certificate) -> str:
    policies = _extension(certificate, x509.CertificatePolicies)
    for policy in policies or ():
        if found := _POLICIES.get(policy.policy_identifier.dotted_string):
            return found
    return "unknown"


def _key(certificate: x509.Certificate) -> tuple[int | None, str | None]:
    """Give the size of the key and the hash of its SubjectPublicKeyInfo, as far as they can be told."""
    try:
        key = certificate.public_key()
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except _UNREADABLE:
        return None, None
    bits: int | None = getattr(key, "key_size", None)
    return bits, hashlib.sha256(spki).hexdigest()
