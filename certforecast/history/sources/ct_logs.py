"""The two ways to ask a Certificate Transparency log: RFC 6962, and tiles (C2SP static-ct-api)."""

import base64
import binascii
import gzip
import struct
from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any, Final

from certforecast.errors import InputError, SourceError
from certforecast.history.sources.ct_entries import (
    PRECERT_ENTRY,
    Entry,
    Head,
    LogKey,
    Reader,
    from_leaf,
    timestamped,
)
from certforecast.history.sources.http import Service
from certforecast.history.sources.merkle import Frontier, is_consistent, leaf_hash, subtree_root, tree_root

__all__ = ["Log", "Rfc6962Log", "StaticLog"]

#: Hashes or entries of a full tile, and the heights that one level of tiles spans.
TILE: Final = 256
_HEIGHT: Final = 8
#: Hash tiles kept: a path to the root, and its neighbours.
_KEPT_TILES: Final = 512
#: The largest answer that is unpacked: 256 entries of 64 kB.
_TILE_LIMIT: Final = 1 << 24
#: Signature type of RFC 6962 tree heads in a signed note (C2SP static-ct-api).
_NOTE_TYPE: Final = 5


class Log(ABC):
    """A log, whichever way it is asked."""

    def __init__(self, service: Service, key: LogKey | None) -> None:
        self.service = service
        self.key = key
        self.url = service.url

    @abstractmethod
    def head(self) -> Head:
        """Give the newest tree head, its signature checked where the key is known."""

    @abstractmethod
    def entries(self, start: int, end: int) -> list[Entry]:
        """Give the entries from `start` to before `end`, all of them."""

    @abstractmethod
    def frontier(self, size: int) -> Frontier:
        """Give the frontier of the first `size` leaves, as the log tells it."""

    @abstractmethod
    def confirm(self, head: Head, read: Frontier) -> None:
        """Check that the tree of `head` goes on from what was read.

        Raises
        ------
        SourceError
            If it does not: the log shows different trees, or gave other entries than it signed.
        """

    def _two_faced(self, read: Frontier, head: Head) -> SourceError:
        return SourceError(
            f"{self.url} has signed a tree of {head.size:,} entries that does not contain the {read.size:,}"
            " that it gave, so nothing of this page is kept: do not trust it, or what lies between"
        )


class Rfc6962Log(Log):
    """A log with the interface of RFC 6962, section 4."""

    def head(self) -> Head:
        """Ask for the signed tree head (section 4.3)."""
        answer = self._json("ct/v1/get-sth")
        try:
            head = Head(int(answer["tree_size"]), _base64(answer["sha256_root_hash"]))
            timestamp, signed = int(answer["timestamp"]), _base64(answer["tree_head_signature"])
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(f"{self.url} gave no tree head that can be read: {error}") from error
        if self.key is not None:
            head.check(self.key, timestamp, signed, self.url)
        return head

    def entries(self, start: int, end: int) -> list[Entry]:
        """Ask for entries until all have come (section 4.6)."""
        found = list[Entry]()
        while start + len(found) < end:  # logs give fewer than they are asked for
            answer = self._json("ct/v1/get-entries", start=start + len(found), end=end - 1)
            given = answer.get("entries")
            if not isinstance(given, list) or not given:
                raise SourceError(f"{self.url} gave no entries from {start + len(found)} on; try later")
            found += map(_entry, given[: end - start - len(found)])
        return found

    def frontier(self, size: int) -> Frontier:
        """Take it from the proof of the last leaf (section 4.7)."""
        if not size:
            return Frontier()
        # The path of the last leaf holds the roots of all full subtrees to its left.
        answer = self._json("ct/v1/get-entry-and-proof", leaf_index=size - 1, tree_size=size)
        try:
            node = leaf_hash(_base64(answer["leaf_input"]))
            path = [_base64(one) for one in answer["audit_path"]]
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(f"{self.url} gave no proof that can be read: {error}") from error
        full = (size & -size).bit_length() - 1
        if len(path) != full + size.bit_count() - 1:
            raise SourceError(f"{self.url} gave a proof of the wrong length for entry {size - 1}")
        for left in path[:full]:
            node = subtree_root([left, node])
        return Frontier(size, [*reversed(path[full:]), node])

    def confirm(self, head: Head, read: Frontier) -> None:
        """Ask for a proof of consistency (section 4.4)."""
        proof: list[bytes] = []
        if 0 < read.size < head.size:
            answer = self._json("ct/v1/get-sth-consistency", first=read.size, second=head.size)
            try:
                proof = [_base64(one) for one in answer["consistency"]]
            except (KeyError, TypeError, ValueError) as error:
                raise SourceError(f"{self.url} gave no proof that can be read: {error}") from error
        if not is_consistent(read, head.size, head.root, proof):
            raise self._two_faced(read, head)

    def _json(self, path: str, **parameters: int) -> dict[str, Any]:
        answer = self.service.json(path, **parameters)
        if not isinstance(answer, dict):
            raise SourceError(f"{self.url}{path} answered with something that is no JSON object")
        return answer


class StaticLog(Log):
    """A log of tiles: files that never change (C2SP static-ct-api)."""

    def __init__(self, service: Service, key: LogKey | None) -> None:
        super().__init__(service, key)
        self._hashes = lru_cache(_KEPT_TILES)(self._fetch_hashes)

    def head(self) -> Head:
        """Read the checkpoint."""
        note = self.service.get("checkpoint").text
        text, _, signatures = note.partition("\n\n")
        lines = text.split("\n")
        try:
            _, size, root = lines[:3]
            head = Head(int(size), _base64(root))
        except ValueError as error:
            raise SourceError(f"{self.url}checkpoint is no signed note of a log: {error}") from error
        if self.key is not None:
            self._check(head, lines[0], signatures)
        return head

    def _check(self, head: Head, origin: str, signatures: str) -> None:
        assert self.key is not None  # noqa: S101 (for the type checker)
        for line in signatures.splitlines():
            dash, _, rest = line.partition(" ")
            name, _, encoded = rest.rpartition(" ")
            if dash == "—" and name == origin:
                try:
                    reader = Reader(_base64(encoded))
                    reader.take(4)  # a hint which key it was
                    head.check(self.key, reader.number(8), reader.data[reader.at :], self.url)
                except ValueError:  # another key's signature, perhaps
                    continue
                return
        raise SourceError(f"{self.url}checkpoint is not signed by the log's key")

    def entries(self, start: int, end: int) -> list[Entry]:
        """Read data tiles; the last may be a partial one."""
        found = list[Entry]()
        while start < end:
            tile, first = divmod(start, TILE)
            width = min(end - tile * TILE, TILE)
            found += self._tile(tile, width)[first:width]
            start = tile * TILE + width
        return found

    def _tile(self, number: int, width: int) -> list[Entry]:
        reader = Reader(self._fetch(f"tile/data/{_path(number, width)}"))
        found = list[Entry]()
        for _ in range(width):
            begin = reader.at
            try:
                logged_at, kind, der = timestamped(reader)
                leaf = b"\0\0" + reader.data[begin : reader.at]
                if kind == PRECERT_ENTRY:
                    der = reader.opaque(3)
                reader.opaque(2)  # fingerprints of the chain
            except InputError as error:
                # Where one entry ends nobody can tell now, so the tile is lost.
                raise SourceError(
                    f"{self.url}tile/data/{_path(number, width)} is damaged: {error}"
                ) from error
            found.append(Entry(leaf, der, logged_at))
        return found

    def frontier(self, size: int) -> Frontier:
        """Take it from the hash tiles."""
        nodes, start = [], 0
        for bit in reversed(range(size.bit_length())):
            if size >> bit & 1:
                nodes.append(self._node(size, bit, start >> bit))
                start += 1 << bit
        return Frontier(size, nodes)

    def confirm(self, head: Head, read: Frontier) -> None:
        """Compute the root from what was read and the hash tiles beyond."""
        root = tree_root(head.size, lambda height, index: self._node(head.size, height, index), read)
        if root != head.root:
            raise self._two_faced(read, head)

    def _node(self, size: int, height: int, index: int) -> bytes:
        """Give a node of a tree of `size` leaves from the hash tile that holds it."""
        level, within = divmod(height, _HEIGHT)
        count = 1 << within
        tile, first = divmod(index * count, TILE)
        held = min((size >> (level * _HEIGHT)) - tile * TILE, TILE)
        hashes = self._hashes(level, tile, held)
        return subtree_root(hashes[first : first + count])

    def _fetch_hashes(self, level: int, tile: int, width: int) -> list[bytes]:
        data = self._fetch(f"tile/{level}/{_path(tile, width)}")
        if len(data) != 32 * width:
            raise SourceError(f"{self.url}tile/{level}/{_path(tile, width)} is not of {width} hashes")
        return [data[place : place + 32] for place in range(0, len(data), 32)]

    def _fetch(self, path: str) -> bytes:
        data = self.service.get(path).content
        if data[:2] == b"\x1f\x8b":  # stored packed, and sent as it is
            try:
                data = gzip.decompress(data[:_TILE_LIMIT])
            except (OSError, EOFError, struct.error) as error:
                raise SourceError(f"{self.url}{path} is damaged: {error}") from error
        return data


def _path(number: int, width: int) -> str:
    """Write a tile's number, three digits a folder, and its width if it is not full."""
    digits = f"{number % 1000:03}"
    while number >= 1000:
        number //= 1000
        digits = f"x{number % 1000:03}/{digits}"
    return digits if width == TILE else f"{digits}.p/{width}"


def _base64(text: Any) -> bytes:
    if not isinstance(text, str):
        raise ValueError("base64 text is missing")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error


def _entry(given: Any) -> Entry:
    try:
        return from_leaf(_base64(given["leaf_input"]), _base64(given["extra_data"]))
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(f"log gave an entry that cannot be read: {error}; try later") from error
