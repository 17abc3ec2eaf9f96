"""What cryptography's own objects say of a certificate, to compare the columns with."""

import hashlib
import ipaddress
import warnings
from contextlib import suppress
from datetime import UTC
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from certforecast.errors import InputError
from certforecast.history.names import normalise_name


def oracle(data: bytes) -> dict[str, Any]:
    """Read the fields with cryptography's objects; those it cannot read are left out."""
    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = x509.load_der_x509_certificate(data)
        found["fingerprint"] = hashlib.sha256(data).hexdigest()
        found["serial"] = format(made.serial_number, "x")
        found["not_before"], found["not_after"] = made.not_valid_before_utc, made.not_valid_after_utc
        found["issuer_dn"] = made.issuer.rfc4514_string()
        try:
            names = made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            found["subject_cn"] = names[0].value if names and isinstance(names[0].value, str) else None
        except (ValueError, TypeError):  # another part of the subject is broken, which nobody asks for
            pass
        try:
            public = made.public_key()
            encoded = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            found["key_bits"] = getattr(public, "key_size", None)
            if encoded in data:  # unless cryptography writes it otherwise than it stood
                found["spki_hash"] = hashlib.sha256(encoded).hexdigest()
        except Exception:
            pass
        try:
            extensions = made.extensions
        except Exception:
            return found
        for extension in extensions:
            match extension.value:
                case x509.SubjectAlternativeName() as value:
                    listed = set()
                    for text in value.get_values_for_type(x509.DNSName):
                        try:
                            listed.add(normalise_name(text))
                        except InputError:
                            continue
                    for address in value.get_values_for_type(x509.IPAddress):
                        if isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address):
                            listed.add(address.compressed)
                    if listed:
                        found["names"] = sorted(listed)
                case x509.AuthorityKeyIdentifier() as value:
                    found["issuer_key_id"] = value.key_identifier.hex() if value.key_identifier else None
                case x509.ExtendedKeyUsage() as value:
                    found["uses"] = len(value)
                case x509.PrecertPoison():
                    found["is_precertificate"] = True
                case x509.TLSFeature() as value:
                    found["must_staple"] = x509.TLSFeatureType.status_request in value
                case x509.PrecertificateSignedCertificateTimestamps() as value:
                    times = []
                    for sct in value:
                        with suppress(ValueError):  # a time beyond the year 9999
                            times.append(sct.timestamp.replace(tzinfo=UTC))
                    times = [time for time in times if time.year < 2200]
                    found["logged_at"] = min(times) if times else None
    return found


def differences(row: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    row = {**row, "uses": None if row["eku"] is None else len(row["eku"])}
    return {field: (row[field], value) for field, value in expected.items() if row[field] != value}
