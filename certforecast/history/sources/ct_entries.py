"""Entries of Certificate Transparency logs, from their bytes (RFC 6962, section 3.4; C2SP static-ct-api)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from certforecast.errors import InputError

__all__ = ["Entry", "Reader", "from_leaf", "from_tile"]

#: entry_type: a certificate, or a precertificate.
_X509, _PRECERT = 0, 1
#: Version 1 and leaf type timestamped_entry, with which each leaf begins.
_LEAF: Final = b"\0\0"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

#: An algorithm (ECDSA with SHA-256) and an empty signature: they make a certificate of a TBSCertificate,
#: in form.
_UNSIGNED: Final = bytes.fromhex("300a06082a8648ce3d040302 030100")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a log.

    Attributes
    ----------
    leaf : bytes
        What the log's tree hashes (MerkleTreeLeaf).
    der : bytes
        The certificate, or the precertificate as it was submitted.
    tbs : bytes or None
        What the leaf holds of a precertificate: its TBSCertificate without the poison. The precertificate
        itself stands beside the leaf, where no tree vouches for it.
    logged_at : datetime or None
        The time in the entry, which is that of its SCT.
    reason : str or None
        Why the entry cannot be read, if so. Its leaf is part of the tree all the same.
    """

    leaf: bytes
    der: bytes = b""
    tbs: bytes | None = None
    logged_at: datetime | None = None
    reason: str | None = None

    @property
    def vouched(self) -> bytes:
        """What the tree vouches for, as a certificate: that of a precertificate has no signature."""
        if self.tbs is None:
            return self.der
        body = self.tbs + _UNSIGNED
        size = len(body)
        length = size.to_bytes((size.bit_length() + 7) // 8, "big")
        return b"\x30" + (bytes([0x80 | len(length)]) + length if size > 0x7F else length) + body


class Reader:
    """Reads structures of TLS's presentation language (RFC 8446, section 3), one field after another."""

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

    def end(self) -> None:
        """Make sure that nothing follows.

        Raises
        ------
        InputError
            If something does.
        """
        if self.at < len(self.data):
            raise InputError("structure is followed by something else")


def from_leaf(leaf: bytes, extra: bytes) -> Entry:
    """Read what get-entries gives for one entry: `leaf_input` and `extra_data` (RFC 6962, section 4.6)."""
    reader = Reader(leaf)
    try:
        if reader.take(2) != _LEAF:
            raise InputError("entry is of an unknown version or type")
        milliseconds, precert, certificate = _timestamped(reader)
        reader.end()
        # extra_data of a precertificate is a PrecertChainEntry, which begins with it.
        beside = Reader(extra).opaque(3) if precert else None
    except InputError as error:
        return Entry(leaf, reason=str(error))
    return _entry(leaf, milliseconds, certificate, beside)


def from_tile(reader: Reader) -> Entry:
    """Read the next entry of a data tile (TileLeaf).

    Raises
    ------
    InputError
        If it cannot be told where the entry ends.
    """
    begin = reader.at
    milliseconds, precert, certificate = _timestamped(reader)
    leaf = _LEAF + reader.data[begin : reader.at]
    beside = reader.opaque(3) if precert else None
    reader.opaque(2)  # fingerprints of the chain
    return _entry(leaf, milliseconds, certificate, beside)


def _timestamped(reader: Reader) -> tuple[int, bool, bytes]:
    """Read a TimestampedEntry: its time, whether it is for a precertificate, and the certificate or TBS."""
    milliseconds = reader.number(8)
    kind = reader.number(2)
    if kind == _PRECERT:
        reader.take(32)  # the hash of the issuer's key
    elif kind != _X509:
        raise InputError(f"entry is of the unknown type {kind}")
    certificate = reader.opaque(3)
    reader.opaque(2)  # extensions
    return milliseconds, kind == _PRECERT, certificate


def _entry(leaf: bytes, milliseconds: int, certificate: bytes, beside: bytes | None) -> Entry:
    try:
        logged_at = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return Entry(leaf, reason="entry has a time beyond the calendar")
    if beside is None:
        return Entry(leaf, certificate, logged_at=logged_at)
    return Entry(leaf, beside, certificate, logged_at)
