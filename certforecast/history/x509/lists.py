"""Lists within extensions, read in many certificates at once: names, and timestamps of logs.

Unlike a certificate's own structure, nobody has looked at what an extension holds. So every step is checked,
and what is not of the usual form is left to the readers of single elements.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from certforecast.history.names import NameSet
from certforecast.history.x509 import values
from certforecast.history.x509.walk import Bytes, Spans

__all__ = ["alternative_names", "earliest_scts"]

_Mask = npt.NDArray[np.bool_]
_Numbers = npt.NDArray[np.int64]

_SEQUENCE, _OCTETS, _DNS_NAME = 0x30, 0x04, 0x82
#: Longer lists are read alone: the batch waits for the longest.
_LONGEST: Final = 64

_END: Final = ord("\n")
#: Kinds of characters: none of a normalised name, a usual one, a dot, a hyphen, the end of a name.
_ODD, _USUAL, _DOT, _HYPHEN, _EDGE = range(5)
_KIND: Final = np.full(256, _ODD, np.uint8)
_KIND[np.frombuffer(b"abcdefghijklmnopqrstuvwxyz0123456789_*", np.uint8)] = _USUAL
_KIND[[ord("."), ord("-"), _END]] = _DOT, _HYPHEN, _EDGE

#: Sets of names seen, by the bytes of their extension: renewals repeat them.
_SEEN: Final[dict[bytes, NameSet | None]] = {b"": None}
_SEEN_LIMIT: Final = 100_000
#: Bytes of the longest extension that is remembered.
_SHORT: Final = 1000

#: Where in an SCT, with its length before it, the version and the timestamp stand (RFC 6962, section 3.2).
_VERSION, _TIMESTAMP = 2, 35
#: The year 2200, in milliseconds since 1970: beyond what a log can have seen, within what the store can hold.
_FAR_MS: Final = 7_258_118_400_000


def alternative_names(source: Bytes, spans: Spans) -> list[NameSet | None]:
    """Read the DNS names and IP addresses of subjectAltName extensions; None where there are none.

    Parameters
    ----------
    source : Bytes
        The certificates.
    spans : Spans
        The extensions' values.

    Raises
    ------
    ValueError
        If one of them cannot be read.
    """
    raw = spans.cut(source)
    if len(_SEEN) > _SEEN_LIMIT:
        _SEEN.clear()
        _SEEN[b""] = None
    new = {part: place for place, part in enumerate(raw) if part not in _SEEN}
    if not new:
        return [_SEEN[part] for part in raw]
    places = np.fromiter(new.values(), np.int64, len(new))
    found = _usual_names(source, spans.start[places], spans.end[places])
    long = dict[bytes, NameSet | None]()
    for part, names in zip(new, found, strict=True):
        known = _SEEN if len(part) <= _SHORT else long
        known[part] = values.alternative_names(part) if names is None else NameSet.of(names)
    return [_SEEN[part] if part in _SEEN else long[part] for part in raw]


def _usual_names(source: Bytes, start: _Numbers, end: _Numbers) -> list[list[str] | None]:
    """Give the names of each list, or None if it is not one of nothing but DNS names as normalised."""
    word, at, stop = source.element(start)
    usual = (word & 0xFF == _SEQUENCE) & (stop == end) & (at < end)
    owners, starts, sizes = list[_Numbers](), list[_Numbers](), list[_Numbers]()
    (which,) = np.nonzero(usual)
    for _ in range(_LONGEST):
        word = source.at(at[which])
        size = ((word >> 8) & 0xFF).astype(np.int64)
        after = at[which] + 2 + size
        name = (word & 0xFF == _DNS_NAME) & (size > 0) & (size < 64) & (after <= end[which])
        usual[which[~name]] = False
        which, size, after = which[name], size[name], after[name]
        owners.append(which)
        starts.append(after - size)
        sizes.append(size)
        at[which] = after
        which = which[after < end[which]]
        if not which.size:
            break
    usual[which] = False
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    owner, begins, lengths = owner[order], np.concatenate(starts)[order], np.concatenate(sizes)[order]
    text, odd = _joined(source, begins, lengths)
    usual[owner[odd]] = False
    names = text.split("\n")
    last = np.cumsum(np.bincount(owner, minlength=len(start))).tolist()
    return [
        names[first:after] if fits else None
        for fits, first, after in zip(usual.tolist(), [0, *last], last, strict=False)
    ]


def _joined(source: Bytes, begins: _Numbers, lengths: _Numbers) -> tuple[str, _Numbers]:
    """Put texts on a line each, and list the places of those that are no normalised names."""
    count, total = len(begins), int(lengths.sum())
    line = np.repeat(np.arange(count), lengths)
    before = np.cumsum(lengths) - lengths
    within = np.arange(total) - before[line]
    characters = source.bytes[begins[line] + within]
    kind = _KIND[characters]
    kind[kind == _EDGE] = _ODD
    lines = np.full(total + count + 1, _END, np.uint8)
    place = np.arange(total) + line + 1  # each text has its end before it, too
    lines[place] = np.where(kind == _ODD, ord("?"), characters)
    kinds = np.full(len(lines), _EDGE, np.uint8)
    kinds[place] = kind
    one, next_one = kinds[:-1], kinds[1:]
    marks_one, marks_next = (one == _DOT) | (one == _HYPHEN), (next_one == _DOT) | (next_one == _HYPHEN)
    edge_one, edge_next = (one == _DOT) | (one == _EDGE), (next_one == _DOT) | (next_one == _EDGE)
    wrong = (one == _ODD) | (edge_one & marks_next) | (marks_one & edge_next)
    which = np.searchsorted(before + np.arange(count), np.nonzero(wrong)[0], side="right") - 1
    return lines[1:-1].tobytes().decode("ascii"), which


def earliest_scts(source: Bytes, spans: Spans) -> tuple[_Numbers, _Mask]:
    """Read the earliest time in each list of SCTs (RFC 6962, section 3.3).

    Returns
    -------
    times : ndarray of int64, shape (n_certificates,)
        Microseconds since 1970.
    absent : ndarray of bool, shape (n_certificates,)
        Where there is no list, or none that holds together: a time that is not sure must move nothing.
    """
    earliest = np.full(len(spans.start), _FAR_MS, np.uint64)
    whole = np.zeros(len(earliest), np.bool_)
    (which,) = np.nonzero(spans.start >= 0)
    word, at, end = source.element(spans.start[which])
    fits = (word & 0xFF == _OCTETS) & (end == spans.end[which])
    fits &= _two_bytes(source.at(at)) == end - at - 2
    which, at, end = which[fits], at[fits] + 2, end[fits]
    for _ in range(_LONGEST):
        fits = at + _TIMESTAMP + 8 <= end
        which, at, end = which[fits], at[fits], end[fits]
        if not which.size:
            break
        word = source.at(at)
        time = source.at(at + _TIMESTAMP).byteswap()
        first = (word >> (8 * _VERSION)) & 0xFF == 0
        earliest[which[first]] = np.minimum(earliest[which[first]], time[first])
        at = at + 2 + _two_bytes(word)
        whole[which[at == end]] = True
    absent = ~whole | (earliest >= _FAR_MS)
    return np.where(absent, 0, 1000 * earliest.astype(np.int64)), absent


def _two_bytes(words: npt.NDArray[np.uint64]) -> _Numbers:
    return (((words & 0xFF) << 8) | ((words >> 8) & 0xFF)).astype(np.int64)
