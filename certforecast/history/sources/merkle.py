"""Merkle trees of Certificate Transparency (RFC 6962, section 2.1; RFC 9162, section 2.1)."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Frontier", "is_consistent", "leaf_hash", "node_hash", "subtree_root", "tree_root"]

#: The root of the tree without leaves.
_EMPTY: Final = hashlib.sha256().digest()


def leaf_hash(leaf: bytes) -> bytes:
    """Hash one leaf."""
    return hashlib.sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two nodes into the one above them."""
    return hashlib.sha256(b"\1" + left + right).digest()


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """Give the root over hashes whose number is a power of two."""
    level = list(hashes)
    while len(level) > 1:
        level = [node_hash(*level[place : place + 2]) for place in range(0, len(level), 2)]
    return level[0]


@dataclass(slots=True)
class Frontier:
    """A tree that only grows, kept as the roots of its largest full subtrees, from left to right.

    Attributes
    ----------
    size : int
        Leaves so far.
    nodes : list of bytes
        One root for each bit that is set in `size`, the highest first.
    """

    size: int = 0
    nodes: list[bytes] = field(default_factory=list)

    def append(self, leaf: bytes) -> None:
        """Add the hash of the next leaf."""
        node, rest = leaf, self.size
        while rest & 1:
            node = node_hash(self.nodes.pop(), node)
            rest >>= 1
        self.nodes.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Give the root of the tree as it is."""
        if not self.nodes:
            return _EMPTY
        *others, root = self.nodes
        for node in reversed(others):
            root = node_hash(node, root)
        return root

    def spans(self) -> dict[tuple[int, int], bytes]:
        """Give the nodes by the ranges of leaves that they stand for."""
        found, start = {}, 0
        sizes = [1 << bit for bit in reversed(range(self.size.bit_length())) if self.size >> bit & 1]
        for size, node in zip(sizes, self.nodes, strict=True):
            found[start, start + size] = node
            start += size
        return found


def tree_root(size: int, node: Callable[[int, int], bytes], known: Frontier) -> bytes:
    """Give the root of a tree whose first leaves are known, the others by their nodes.

    If it is the root that a log has signed, the log contains what is known, whoever gave the nodes.

    Parameters
    ----------
    size : int
        Leaves of the tree.
    node : callable
        Gives the node at a height (0 for leaves) and an index, of full subtrees beyond the known ones.
    known : Frontier
        Of at most `size` leaves.
    """
    own = known.spans()

    def root(start: int, end: int) -> bytes:
        if (start, end) in own:
            return own[start, end]
        span = end - start
        if start >= known.size and span & (span - 1) == 0:
            return node(span.bit_length() - 1, start // span)
        middle = start + (1 << (span - 1).bit_length() - 1)
        return node_hash(root(start, middle), root(middle, end))

    return root(0, size) if size else _EMPTY


def is_consistent(first: Frontier, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether a proof shows that a tree of `size` leaves goes on from a known one.

    The algorithm is that of RFC 9162, section 2.1.4.2.

    Parameters
    ----------
    first : Frontier
        The known tree.
    size : int
        Leaves of the other.
    root : bytes
        Its root.
    proof : sequence of bytes
        The nodes that the log gave.
    """
    if first.size == size:
        return not proof and first.root() == root
    if not 0 < first.size < size:
        return first.size == 0 and not proof
    path = list(proof)
    if first.size & (first.size - 1) == 0:
        path.insert(0, first.root())
    if not path:
        return False
    low, high = first.size - 1, size - 1
    while low & 1:
        low, high = low >> 1, high >> 1
    before = after = path[0]
    for node in path[1:]:
        if high == 0:
            return False
        if low & 1 or low == high:
            before, after = node_hash(node, before), node_hash(node, after)
            while low and not low & 1:
                low, high = low >> 1, high >> 1
        else:
            after = node_hash(after, node)
        low, high = low >> 1, high >> 1
    return high == 0 and before == first.root() and after == root
