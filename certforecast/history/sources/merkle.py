"""Merkle trees of Certificate Transparency (RFC 6962, section 2.1; RFC 9162, section 2.1).

Of a log with a billion entries only the frontier is kept, some thirty hashes. Libraries for such trees keep
every leaf.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "Frontier",
    "frontier_on_path",
    "is_consistent",
    "leaf_hash",
    "node_hash",
    "root_on_path",
    "subtree_root",
    "tree_root",
]

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


def root_on_path(known: Frontier, size: int, path: Sequence[bytes]) -> bytes | None:
    """Give the root of a tree whose first leaves are known, by the audit path of the last of them.

    What stands to the left of the path is known, so only what the log says of the right is taken from it.

    Parameters
    ----------
    known : Frontier
        Of at least one leaf.
    size : int
        Leaves of the tree.
    path : sequence of bytes
        Of leaf ``known.size - 1`` (RFC 6962, section 2.1.1), as the log gave it.

    Returns
    -------
    bytes or None
        None if a path of this tree is longer or shorter.
    """
    left = _left_of(known.size - 1, size)
    if len(left) != len(path):
        return None
    *own, node = known.nodes
    below = (known.size & -known.size).bit_length() - 1  # within the last node, so known
    for is_left, given in zip(left[below:], path[below:], strict=True):
        node = node_hash(own.pop(), node) if is_left else node_hash(node, given)
    return node


def frontier_on_path(count: int, size: int, leaf: bytes, path: Sequence[bytes]) -> Frontier | None:
    """Give the frontier of the first `count` leaves, by the hash and the audit path of the last of them.

    It is only what the log says: `root_on_path` proves it once more has been read.

    Returns
    -------
    Frontier or None
        None if a path of a tree of `size` leaves is longer or shorter.
    """
    left = _left_of(count - 1, size)
    if len(left) != len(path):
        return None
    found = Frontier(count - 1, [node for is_left, node in zip(left, path, strict=True) if is_left][::-1])
    found.append(leaf)
    return found


def _left_of(index: int, size: int) -> list[bool]:
    """Tell of each node on the audit path of a leaf, from below, whether it stands to the left."""
    left, last = list[bool](), size - 1
    while last:
        if index & 1:
            left.append(True)
        elif index < last:
            left.append(False)
        index, last = index >> 1, last >> 1
    return left


def is_consistent(first: int, first_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether a proof shows that a tree of `size` leaves goes on from a tree of its `first` leaves.

    The algorithm is that of RFC 9162, section 2.1.4.2.

    Parameters
    ----------
    first : int
        Leaves of the smaller tree.
    first_root : bytes
        Its root.
    size : int
        Leaves of the larger one.
    root : bytes
        Its root.
    proof : sequence of bytes
        The nodes that the log gave.
    """
    if first == size:
        return not proof and first_root == root
    if not 0 < first < size:
        return first == 0 and not proof
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    low, high = first - 1, size - 1
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
    return high == 0 and before == first_root and after == root
