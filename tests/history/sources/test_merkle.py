"""Merkle trees against the recursive definitions and published hashes."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from certforecast.history.sources.merkle import (
    Frontier,
    frontier_on_path,
    is_consistent,
    leaf_hash,
    root_on_path,
    tree_root,
)
from tests.history.sources.ctlogs import path, proof, root

#: The leaves, roots and proofs with which implementations of RFC 6962 are tested (first in those of Google's
#: certificate-transparency): eight inputs, the roots of the trees of 1 to 8 of them, the audit path of leaf 5
#: of 8, and the proof of consistency of 6 and 8.
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
PATH_OF_5 = [
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]
PROOF_OF_6 = [
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]

FORGED = bytes(32)
COUNTS = st.integers(1, 120)


def leaves(count: int) -> tuple[bytes, ...]:
    return tuple(leaf_hash(b"%d" % number) for number in range(count))


def frontier(hashed: tuple[bytes, ...]) -> Frontier:
    grown = Frontier()
    for leaf in hashed:
        grown.append(leaf)
    return grown


def with_a_forgery(hashed: tuple[bytes, ...], place: int) -> tuple[bytes, ...]:
    return (*hashed[:place], FORGED, *hashed[place + 1 :])


def test_published_trees_and_proofs() -> None:
    hashed = tuple(leaf_hash(bytes.fromhex(text)) for text in INPUTS)
    roots = [bytes.fromhex(text) for text in ROOTS]
    assert [frontier(hashed[:size]).root() for size in range(1, 9)] == roots
    assert Frontier().root() == hashlib.sha256().digest()
    assert root_on_path(frontier(hashed[:6]), 8, list(map(bytes.fromhex, PATH_OF_5))) == roots[7]
    assert is_consistent(6, roots[5], 8, roots[7], list(map(bytes.fromhex, PROOF_OF_6)))


@given(st.integers(0, 200))
def test_a_grown_tree_has_the_root_of_the_definition(size: int) -> None:
    assert frontier(leaves(size)).root() == root(leaves(size))


@given(COUNTS, st.integers(0, 120), st.data())
def test_a_consistency_proof_holds_and_no_other_does(first: int, more: int, data: st.DataObject) -> None:
    hashed = leaves(first + more)
    known, whole, given_proof = root(hashed[:first]), root(hashed), proof(first, hashed)
    assert is_consistent(first, known, len(hashed), whole, given_proof)
    assert not is_consistent(first, known, len(hashed), whole, [*given_proof, FORGED])
    forged = with_a_forgery(hashed, data.draw(st.integers(0, first - 1)))
    assert not is_consistent(first, known, len(hashed), root(forged), proof(first, forged))
    if more:
        assert not is_consistent(first, known, len(hashed), whole, given_proof[:-1])
        assert not is_consistent(first + more, whole, first, known, given_proof)


def test_everything_goes_on_from_the_empty_tree() -> None:
    assert is_consistent(0, b"", 5, root(leaves(5)), [])
    assert not is_consistent(0, b"", 5, root(leaves(5)), [FORGED])


@given(COUNTS, st.integers(0, 120), st.data())
def test_an_audit_path_proves_all_that_is_known(first: int, more: int, data: st.DataObject) -> None:
    hashed = leaves(first + more)
    given_path = path(first - 1, hashed)
    assert root_on_path(frontier(hashed[:first]), len(hashed), given_path) == root(hashed)
    assert frontier_on_path(first, len(hashed), hashed[first - 1], given_path) == frontier(hashed[:first])
    forged = with_a_forgery(hashed[:first], data.draw(st.integers(0, first - 1)))
    assert root_on_path(frontier(forged), len(hashed), given_path) != root(hashed)
    for wrong in ([*given_path, FORGED], given_path[:-1] if given_path else [FORGED]):
        assert root_on_path(frontier(hashed[:first]), len(hashed), wrong) is None
        assert frontier_on_path(first, len(hashed), hashed[first - 1], wrong) is None


@given(st.integers(0, 120), st.integers(0, 120), st.data())
def test_a_root_from_nodes_contains_what_is_known(first: int, more: int, data: st.DataObject) -> None:
    hashed = leaves(first + more)

    def node(height: int, index: int) -> bytes:
        span = 1 << height
        assert index * span >= first
        return root(hashed[index * span : (index + 1) * span])

    assert tree_root(len(hashed), node, frontier(hashed[:first])) == root(hashed)
    if first:
        forged = with_a_forgery(hashed[:first], data.draw(st.integers(0, first - 1)))
        assert tree_root(len(hashed), node, frontier(forged)) != root(hashed)
