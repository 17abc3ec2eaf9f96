"""What a Certificate Transparency log signs and stores, from its bytes (RFC 6962, sections 3.4 and 3.5)."""

import base64
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from certforecast.errors import InputError, SourceError

__all__ = ["PRECERT_ENTRY", "Entry", "Head", "LogKey", "Reader", "from_leaf", "load_key", "timestamped"]

LogKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

#: entry_type: a certificate, or a precertificate
X509_ENTRY: Final = 0
PRECERT_ENTRY: Final = 1

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: SignatureAndHashAlgorithm (RFC 5246, section 7.4.1.4.1) for SHA-256 with ECDSA, and with RSA.
_ECDSA, _RSA = b"\4\3", b"\4\1"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a log.

    Attributes
    ----------
    leaf : bytes
        What the log's tree hashes (MerkleTreeLeaf).
    der : bytes
        The certificate, or the precertificate as it was submitted.
    logged_at : datetime or None
        The time in the entry, which is that of its SCT.
    reason : str or None
        Why the entry cannot be read, if so. Its leaf is part of the tree all the same.
    """

    leaf: bytes
    der: bytes
    logged_at: datetime | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """A log's tree at a time: how many leaves, and the root over them."""

    size: int
    root: bytes

    def check(self, key: LogKey, timestamp: int, signed: bytes, log: str) -> None:
        """Check the log's signature of the head (RFC 6962, section 3.5).

        Raises
        ------
        SourceError
            If it is not by the key.
        """
        message = struct.pack(">BBQQ32s", 0, 1, timestamp, self.size, self.root)
        reader = Reader(signed)
        algorithm, signature = reader.take(2), reader.opaque(2)
        try:
            if algorithm == _ECDSA and isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
            elif algorithm == _RSA and isinstance(key, rsa.RSAPublicKey):
                key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
            else:
                raise InvalidSignature
        except InvalidSignature as error:
            raise SourceError(
                f"{log} gave a tree head that its key has not signed: it is another log, or not to be trusted"
            ) from error


class Reader:
    """Reads structures of TLS's presentation language, one field after another."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        """Give so many bytes.

        Raises
        ------
        InputError
            If there are not so many.
        """
        taken = self.data[self.at : self.at + count]
        if len(taken) < count:
            raise InputError("structure is cut off")
        self.at += count
        return taken

    def number(self, count: int) -> int:
        """Give an unsigned number of so many bytes."""
        return int.from_bytes(self.take(count), "big")

    def opaque(self, count: int) -> bytes:
        """Give a vector whose length stands in so many bytes before it."""
        return self.take(self.number(count))

    @property
    def ended(self) -> bool:
        """Whether everything has been read."""
        return self.at >= len(self.data)


def timestamped(reader: Reader) -> tuple[datetime, int, bytes]:
    """Read a TimestampedEntry: time, type, and the certificate (of a precertificate its TBSCertificate)."""
    milliseconds = reader.number(8)
    kind = reader.number(2)
    if kind == PRECERT_ENTRY:
        reader.take(32)  # the hash of the issuer's key
    elif kind != X509_ENTRY:
        raise InputError(f"entry is of the unknown type {kind}")
    certificate = reader.opaque(3)
    reader.opaque(2)  # extensions
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds), kind, certificate
    except OverflowError as error:
        raise InputError("entry has a time beyond the calendar") from error


def from_leaf(leaf: bytes, extra: bytes) -> Entry:
    """Read what get-entries gives for one entry (RFC 6962, sections 3.4 and 4.6)."""
    reader = Reader(leaf)
    try:
        if reader.take(2) != b"\0\0":
            raise InputError("entry is of an unknown version or type")
        logged_at, kind, der = timestamped(reader)
        if kind == PRECERT_ENTRY:
            der = Reader(extra).opaque(3)  # PrecertChainEntry begins with the precertificate
    except InputError as error:
        return Entry(leaf, b"", None, str(error))
    return Entry(leaf, der, logged_at)


def load_key(text: bytes) -> LogKey:
    """Read a log's public key: PEM, DER, or DER in base64 as lists of logs give it.

    Raises
    ------
    InputError
        If it is none of these, or a kind of key that logs do not have.
    """
    try:
        if b"-----BEGIN" in text:
            key = load_pem_public_key(text)
        else:
            key = load_der_public_key(text if text[:1] == b"\x30" else base64.b64decode(text, validate=False))
    except (ValueError, TypeError) as error:
        raise InputError(f"key of the log cannot be read: {error}; give PEM, DER or base64") from error
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise InputError("key of the log is neither ECDSA nor RSA")
    return key
