"""Certificate Transparency logs of tiles: files that never change (C2SP static-ct-api)."""

import hashlib
from functools import lru_cache
from typing import Final

from certforecast.errors import InputError, SourceError
from certforecast.history.sources.ct_entries import Entry, Reader, from_tile
from certforecast.history.sources.ct_heads import Head, LogKey, unbase64
from certforecast.history.sources.ct_logs import Log
from certforecast.history.sources.http import Service
from certforecast.history.sources.merkle import Frontier, subtree_root, tree_root

__all__ = ["TILE", "StaticLog"]

#: Hashes or entries of a full tile, and how many levels of the tree it spans.
TILE: Final = 256
_HEIGHT: Final = 8
#: Hash tiles kept: those on the way to the root, and their neighbours.
_KEPT_TILES: Final = 256
#: Signature type of tree heads as in RFC 6962 (C2SP signed-note).
_NOTE_TYPE: Final = b"\x05"


class StaticLog(Log):
    """A log read from its checkpoint, its data tiles and, for the proofs, its hash tiles."""

    def __init__(self, service: Service, key: LogKey | None) -> None:
        super().__init__(service, key)
        self._hashes = lru_cache(_KEPT_TILES)(self._fetch_hashes)

    def head(self) -> Head:
        """Read the checkpoint: a signed note of origin, size and root."""
        note = self.service.get("checkpoint").content.decode(errors="replace")
        # The last empty line parts the text from the signatures.
        text, _, signatures = note.rpartition("\n\n")
        try:
            origin, size, root = text.split("\n")[:3]
            head = Head.of(int(size), root)
        except ValueError as error:
            raise SourceError(
                f"{self.url}checkpoint is no checkpoint of a log: {error}; check the address (the one to"
                " monitor, not the one to submit to)"
            ) from error
        if self.key is not None and not _is_signed(head, origin, signatures, self.key):
            raise self.unsigned()
        return head

    def settled(self, head: Head) -> int:
        """Full tiles are kept by every cache; monitors are asked to leave the partial one if they can."""
        return head.size - head.size % TILE

    def entries(self, head: Head, start: int, end: int) -> list[Entry]:
        """Read the data tiles that hold them."""
        found = list[Entry]()
        while start < end:
            tile, first = divmod(start, TILE)
            last = min(end - tile * TILE, TILE)
            found += self._entries(tile, min(head.size - tile * TILE, TILE))[first:last]
            start = tile * TILE + last
        return found

    def frontier(self, head: Head, size: int) -> Frontier:
        """Take it from the hash tiles."""
        nodes, start = list[bytes](), 0
        for height in reversed(range(size.bit_length())):
            if size >> height & 1:
                nodes.append(self._node(head, height, start >> height))
                start += 1 << height
        return Frontier(size, nodes)

    def contains(self, head: Head, read: Frontier) -> bool:
        """Compute the root from what was read and the hash tiles beyond."""
        return head.root == tree_root(head.size, lambda height, index: self._node(head, height, index), read)

    def follows(self, head: Head, earlier: Head) -> bool:
        """Compute both roots from the hash tiles of the newer tree."""
        frontier = self.frontier(head, earlier.size)
        return frontier.root() == earlier.root and self.contains(head, frontier)

    def _entries(self, tile: int, width: int) -> list[Entry]:
        path, data = self._fetch("tile/data", tile, width)
        reader = Reader(data)
        try:
            found = [from_tile(reader) for _ in range(width)]
        except InputError as error:
            # Where the next entry begins nobody can tell.
            raise SourceError(f"{self.url}{path} is damaged: {error}; try later") from error
        return found

    def _node(self, head: Head, height: int, index: int) -> bytes:
        """Give a node of the tree of `head` from the hash tile that holds what is below it."""
        level, within = divmod(height, _HEIGHT)
        tile, first = divmod(index << within, TILE)
        width = min((head.size >> level * _HEIGHT) - tile * TILE, TILE)
        return subtree_root(self._hashes(level, tile, width)[first : first + (1 << within)])

    def _fetch_hashes(self, level: int, tile: int, width: int) -> list[bytes]:
        path, data = self._fetch(f"tile/{level}", tile, width)
        if len(data) < 32 * width:
            raise SourceError(f"{self.url}{path} is cut off: it holds less than {width} hashes; try later")
        return [data[place : place + 32] for place in range(0, 32 * width, 32)]

    def _fetch(self, kind: str, tile: int, width: int) -> tuple[str, bytes]:
        """Fetch a tile of at least `width`: a partial one may be gone once the full one is there."""
        full = f"{kind}/{_number(tile)}"
        partial = f"{full}.p/{width}"
        if width < TILE:
            try:
                return partial, self.service.get(partial).content
            except SourceError as error:
                try:
                    return full, self.service.get(full).content
                except SourceError:
                    raise error from None
        return full, self.service.get(full).content


def _is_signed(head: Head, origin: str, signatures: str, key: LogKey) -> bool:
    """Tell whether one of a note's signatures is the log's (RFC6962NoteSignature)."""
    key_id = hashlib.sha256(origin.encode() + b"\n" + _NOTE_TYPE + key.id).digest()[:4]
    for line in signatures.splitlines():
        dash, name, encoded = [*line.split(" "), "", ""][:3]
        try:
            reader = Reader(unbase64(encoded))
            # Others sign, too: witnesses, or the log with keys of other kinds.
            if dash == "—" and name == origin and reader.take(4) == key_id:
                return key.has_signed(head, reader.number(8), reader.data[reader.at :])
        except ValueError:
            continue
    return False


def _number(tile: int) -> str:
    """Write a tile's number: three digits a folder, an x before all but the last."""
    digits = f"{tile % 1000:03}"
    while tile >= 1000:
        tile //= 1000
        digits = f"x{tile % 1000:03}/{digits}"
    return digits
