"""Certificates out of files that hold more: PKCS#7, PKCS#12 and Java keystores."""

import binascii
import re
import warnings
from collections.abc import Iterator
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7, pkcs12

from certforecast.errors import InputError

__all__ = ["JAVA_EXTRA", "certificates_in"]

#: The extra that brings purejks.
JAVA_EXTRA: Final = "java"

#: JKS and JCEKS, version 2.
_JAVA: Final = (b"\xfe\xed\xfe\xed\x00\x00\x00\x02", b"\xce\xce\xce\xce\x00\x00\x00\x02")
_PEM_PKCS7: Final = re.compile(rb"-----BEGIN (PKCS7|CMS)-----(.*?)-----END \1-----", re.DOTALL)
#: ContentInfo of signed data (RFC 5652, section 5.1), and a PFX of version 3 (RFC 7292, section 4), after the
#: head of the sequence.
_SIGNED_DATA: Final = bytes.fromhex("06092a864886f70d010702")
_PFX: Final = bytes.fromhex("020103")
_SEQUENCE: Final = 0x30


def certificates_in(data: bytes, password: bytes | None = None) -> list[bytes] | None:
    """Take the certificates out of a container; keys and secrets in it are neither kept nor shown.

    Parameters
    ----------
    data : bytes
        A file's content.
    password : bytes, optional
        For PKCS#12. Java keystores are read without one: their certificates are not encrypted, and their
        integrity is not what counts here.

    Returns
    -------
    list of bytes or None
        DER certificates, chain certificates among them; None if the data is none of these containers.

    Raises
    ------
    InputError
        If the container is damaged, its password is missing or wrong, or the package for Java keystores is
        not installed.
    """
    if data.startswith(_JAVA):
        return list(_java(data))
    blocks = [match[2] for match in _PEM_PKCS7.finditer(data)]
    if blocks:
        return [der for block in blocks for der in _pkcs7(_unwrapped(block))]
    content = _content(data)
    if content.startswith(_SIGNED_DATA):
        return _pkcs7(data)
    return _pkcs12(data, password) if content.startswith(_PFX) else None


def _content(data: bytes) -> bytes:
    """Give what a sequence begins with; empty if the data is none. The length may be open, as in BER."""
    if len(data) < 2 or data[0] != _SEQUENCE:
        return b""
    size = data[1] - 0x80 if data[1] > 0x80 else 0
    return data[2 + size : 34 + size]


def _unwrapped(block: bytes) -> bytes:
    try:
        return binascii.a2b_base64(b"".join(block.split()), strict_mode=True)
    except binascii.Error as error:
        raise InputError("PKCS#7 block is truncated or not base64; fetch the file anew") from error


def _pkcs7(data: bytes) -> list[bytes]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is BER and not DER, which many write
            found = pkcs7.load_der_pkcs7_certificates(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        if "no certificates" in str(error):
            return []
        raise InputError("PKCS#7 container is damaged, or of a kind without certificates") from error
    return [one.public_bytes(Encoding.DER) for one in found]


def _pkcs12(data: bytes, password: bytes | None) -> list[bytes]:
    try:
        found = pkcs12.load_pkcs12(data, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if "password" in str(error).lower():
            wrong = "needs a password" if password is None else "cannot be opened with this password"
            raise InputError(
                f"PKCS#12 container {wrong}: give the right one in a file (password_file), in"
                " CERTFORECAST_PASSWORD, or when asked (--ask-password)"
            ) from error
        raise InputError("PKCS#12 container is damaged") from error
    held = [found.cert, *found.additional_certs]
    return [one.certificate.public_bytes(Encoding.DER) for one in held if one is not None]


def _java(data: bytes) -> Iterator[bytes]:
    try:
        import jks
    except ImportError as error:
        raise InputError(f"Java keystores need purejks: pip install 'certforecast[{JAVA_EXTRA}]'") from error
    try:
        store = jks.KeyStore.loads(data, None, try_decrypt_keys=False)
    except Exception as error:  # purejks lets errors of several kinds through
        raise InputError("Java keystore is damaged or of an unknown kind") from error
    for entry in store.private_keys.values():
        yield from (der for kind, der in entry.cert_chain if kind == "X.509")
    yield from (entry.cert for entry in store.certs.values() if entry.type == "X.509")
