"""Where things stand in the bytes of many certificates, found for all of them at once.

A certificate is a tree of tag, length and content (DER, X.690; RFC 5280, section 4.1). This walks down the
trees of a whole batch in lock step: one NumPy operation reads the same element of every certificate.
Only bytes that cryptography has accepted as certificates may come here: their structure is then sure.
What extensions hold is not looked into.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["EXTENSIONS", "Bytes", "Layout", "Spans", "walk"]

_Places = npt.NDArray[np.int64]
_Words = npt.NDArray[np.uint64]

#: Words are read eight bytes at a time, at any byte.
_WORD: Final = 8

#: Extensions that are looked for, by the bytes of their object identifiers.
EXTENSIONS: Final = {
    "alternative_name": b"\x55\x1d\x11",
    "basic_constraints": b"\x55\x1d\x13",
    "policies": b"\x55\x1d\x20",
    "authority_key": b"\x55\x1d\x23",
    "extended_key_usage": b"\x55\x1d\x25",
    "features": b"\x2b\x06\x01\x05\x05\x07\x01\x18",
    "timestamps": b"\x2b\x06\x01\x04\x01\xd6\x79\x02\x04\x02",
    "poison": b"\x2b\x06\x01\x04\x01\xd6\x79\x02\x04\x03",
}
_KINDS: Final = {name: kind for kind, name in enumerate(EXTENSIONS)}


class Bytes:
    """Certificates, one after another, that can be read at many places at once."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.bytes = np.frombuffer(data, np.uint8)
        self._words: _Words = np.ndarray(len(data) - _WORD + 1, "<u8", data, 0, (1,))

    def at(self, places: _Places) -> _Words:
        """Give the eight bytes at each place, the first one lowest."""
        return self._words[places]

    def element(self, places: _Places) -> tuple[_Words, _Places, _Places]:
        """Read the heads of the elements at these places: first bytes, where content begins and ends."""
        word = self._words[places]
        first = (word >> 8) & 0xFF
        start, length = places + 2, first.astype(np.int64)
        (long,) = np.nonzero(first >= 0x80)
        if long.size:
            count = first[long] - 0x80
            # The length stands in the next one to four bytes, the highest first.
            big = (word[long] >> 16).astype(np.uint64).byteswap() >> (64 - 8 * count)
            length[long] = big.astype(np.int64)
            start[long] += count.astype(np.int64)
        return word, start, start + length


@dataclass(frozen=True, slots=True)
class Spans:
    """A part of each certificate: where it begins and ends in the batch's bytes; -1 where there is none."""

    start: _Places
    end: _Places

    def cut(self, source: Bytes) -> list[bytes]:
        """Give the bytes of each part; empty where there is none."""
        data = source.data
        return [data[start:end] for start, end in zip(self.start.tolist(), self.end.tolist(), strict=True)]


@dataclass(frozen=True, slots=True)
class Layout:
    """The parts of a batch of certificates.

    Attributes
    ----------
    source : Bytes
        All certificates, one after another.
    serial, not_before, not_after, subject : Spans
        Contents of these elements.
    signature, issuer, key, key_algorithm : Spans
        These elements whole: the signature's algorithm, the issuer, the SubjectPublicKeyInfo and
        its algorithm.
    key_bits : Spans
        The public key itself, without the octet for unused bits.
    extensions : dict of str to Spans
        Values of the `EXTENSIONS`, without the octet string around them.
    repeated : ndarray of bool, shape (n_certificates,)
        Whether one of the `EXTENSIONS` stands twice in the certificate.
    """

    source: Bytes
    serial: Spans
    signature: Spans
    issuer: Spans
    not_before: Spans
    not_after: Spans
    subject: Spans
    key: Spans
    key_algorithm: Spans
    key_bits: Spans
    extensions: dict[str, Spans]
    repeated: npt.NDArray[np.bool_]


def walk(ders: Sequence[bytes]) -> Layout:
    """Find the parts of a batch of certificates.

    Parameters
    ----------
    ders : sequence of bytes
        Certificates that cryptography could load.
    """
    lengths = np.fromiter(map(len, ders), np.int64, len(ders))
    source = Bytes(b"".join([*ders, bytes(_WORD)]))
    at: _Places = np.cumsum(lengths) - lengths
    _, at, _ = source.element(at)  # Certificate
    _, at, end = source.element(at)  # TBSCertificate
    word, _, after = source.element(at)
    at = np.where(word & 0xFF == 0xA0, after, at)  # the version is left out where it is 1
    _, start, at = source.element(at)
    serial = Spans(start, at)
    parts = {}
    for name in ("signature", "issuer", "validity", "subject", "key"):
        _, start, after = source.element(at)
        parts[name] = Spans(at, after)
        if name == "validity":
            _, begin, middle = source.element(start)
            _, begin_after, _ = source.element(middle)
            not_before, not_after = Spans(begin, middle), Spans(begin_after, after)
        elif name == "subject":
            subject = Spans(start, after)
        elif name == "key":
            _, _, end_of_algorithm = source.element(start)
            key_algorithm = Spans(start, end_of_algorithm)
            _, begin, _ = source.element(end_of_algorithm)
            key_bits = Spans(begin + 1, after)
        at = after
    extensions, repeated = _extensions(source, at, end)
    return Layout(
        source=source,
        serial=serial,
        signature=parts["signature"],
        issuer=parts["issuer"],
        not_before=not_before,
        not_after=not_after,
        subject=subject,
        key=parts["key"],
        key_algorithm=key_algorithm,
        key_bits=key_bits,
        extensions=extensions,
        repeated=repeated,
    )


def _extensions(source: Bytes, at: _Places, end: _Places) -> tuple[dict[str, Spans], npt.NDArray[np.bool_]]:
    count = len(at)
    # One row a kind, and a last one for all other extensions.
    starts = np.full((len(_KINDS) + 1, count), -1, np.int64)
    ends = np.full_like(starts, -1)
    repeated = np.zeros(count, np.bool_)
    (which,) = np.nonzero(at < end)
    at, end = at[which], end[which]
    while which.size:  # over unique identifiers, which nobody uses, to the list of extensions
        word, start, after = source.element(at)
        found = word & 0xFF == 0xA3
        if found.any():
            _, first, last = source.element(start[found])
            _walk_list(source, which[found], first, last, starts, ends, repeated)
        more = ~found & (after < end)
        which, at, end = which[more], after[more], end[more]
    spans = {name: Spans(starts[kind], ends[kind]) for name, kind in _KINDS.items()}
    return spans, repeated


def _walk_list(
    source: Bytes,
    which: npt.NDArray[np.intp],
    at: _Places,
    end: _Places,
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    repeated: npt.NDArray[np.bool_],
) -> None:
    """Go through the lists of extensions, the first of each certificate, then the second of each."""
    some = at < end
    which, at, end = which[some], at[some], end[some]
    while which.size:
        _, identifier, after = source.element(at)
        kind, value = _kinds(source, identifier)
        critical = source.at(value) & 0xFF == 0x01
        _, start, stop = source.element(value + np.where(critical, 3, 0))
        known = kind < len(_KINDS)
        repeated[which[known & (starts[kind, which] >= 0)]] = True
        starts[kind, which], ends[kind, which] = start, stop
        more = after < end
        which, at, end = which[more], after[more], end[more]


def _kinds(source: Bytes, places: _Places) -> tuple[npt.NDArray[np.intp], _Places]:
    """Tell which extension's identifier stands at each place, and where it ends."""
    _, start, after = source.element(places)
    kind = np.full(len(places), len(_KINDS), np.intp)
    tail = source.at(after - _WORD)  # the identifier's last bytes, and what stands before it
    for name, identifier in EXTENSIONS.items():
        size = len(identifier)
        same = after - start == size
        if size <= _WORD:
            same &= tail >> (64 - 8 * size) == int.from_bytes(identifier, "little")
        else:
            same &= tail == int.from_bytes(identifier[-_WORD:], "little")
            same &= source.at(start) == int.from_bytes(identifier[:_WORD], "little")
        kind[same] = _KINDS[name]
    return kind, after
