"""Merkle trees against the recursive definitions and published hashes."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from certforecast.history.sources.merkle import Frontier, is_consistent, leaf_hash, tree_root
from tests.history.sources.ctlogs import proof, root

#: The leaves and roots with which certificate-transparency implementations are tested (first in Google's
#: merkletree tests, 2012): eight inputs, and the roots of the trees of 1 to 8 of them.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def leaves(count: int) -> tuple[bytes, ...]:
    return tuple(leaf_hash(b"%d" % number) for number in range(count))


def frontier(hashed: tuple[bytes, ...]) -> Frontier:
    grown = Frontier()
    for leaf in hashed:
        grown.append(leaf)
    return grown


def test_published_roots() -> None:
    hashed = tuple(leaf_hash(bytes.fromhex(text)) for text in INPUTS)
    assert [frontier(hashed[:size]).root().hex() for size in range(1, 9)] == ROOTS
    assert Frontier().root() == hashlib.sha256().digest()


@given(st.integers(0, 200))
def test_a_grown_tree_has_the_root_of_the_definition(size: int) -> None:
    assert frontier(leaves(size)).root() == root(leaves(size))


@given(st.integers(0, 120), st.integers(0, 120), st.data())
def test_a_consistency_proof_holds_and_no_other_does(first: int, more: int, data: st.DataObject) -> None:
    hashed = leaves(first + more)
    known = frontier(hashed[:first])
    given_proof = proof(first, hashed) if first and more else []
    assert is_consistent(known, len(hashed), root(hashed), given_proof)
    if first and more:
        other = list(hashed)
        other[data.draw(st.integers(0, first - 1))] = b"\0" * 32
        forged = tuple(other)
        assert not is_consistent(known, len(hashed), root(forged), proof(first, forged))
        assert not is_consistent(known, len(hashed), root(hashed), given_proof[:-1])
        assert not is_consistent(known, len(hashed), root(hashed), [*given_proof, b"\0" * 32])


@given(st.integers(0, 120), st.integers(0, 120), st.data())
def test_a_root_from_nodes_contains_what_is_known(first: int, more: int, data: st.DataObject) -> None:
    hashed = leaves(first + more)

    def node(height: int, index: int) -> bytes:
        span = 1 << height
        assert index * span >= first
        return root(hashed[index * span : (index + 1) * span])

    known = frontier(hashed[:first])
    assert tree_root(len(hashed), node, known) == root(hashed)
    if first:
        forged = list(hashed[:first])
        forged[data.draw(st.integers(0, first - 1))] = b"\0" * 32
        assert tree_root(len(hashed), node, frontier(tuple(forged))) != root(hashed)
