"""A Certificate Transparency log to test with. It is ours: no log server is to be had here.

It keeps real certificates and precertificates in a Merkle tree computed by the recursive definitions of
RFC 6962 (section 2.1), signs its heads, and answers in both protocols, no more generously than the RFC and
C2SP's static-ct-api oblige it to: proofs only for trees that it has signed, partial tiles only as wide as
those are.
"""

import base64
import gzip
import hashlib
import struct
import zlib
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.certificates import certificate, der
from tests.history.sources.serving import Answer, Question

LOGGED = datetime(2026, 3, 1, 6, tzinfo=UTC)

Hashes = tuple[bytes, ...]


@cache
def issued(name: str) -> x509.Certificate:
    return certificate(name, serial=zlib.crc32(name.encode()))


@cache
def whole(name: str) -> bytes:
    return der(issued(name))


@cache
def precertificate(name: str) -> bytes:
    poison = x509.PrecertPoison(), True
    return der(certificate(name, serial=zlib.crc32(name.encode()), extensions=(poison,)))


@cache
def root(hashed: Hashes) -> bytes:
    if not hashed:
        return hashlib.sha256().digest()
    if len(hashed) == 1:
        return hashed[0]
    middle = 1 << (len(hashed) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root(hashed[:middle]) + root(hashed[middle:])).digest()


def path(index: int, hashed: Hashes) -> list[bytes]:
    """RFC 6962, section 2.1.1."""
    if len(hashed) == 1:
        return []
    middle = 1 << (len(hashed) - 1).bit_length() - 1
    if index < middle:
        return [*path(index, hashed[:middle]), root(hashed[middle:])]
    return [*path(index - middle, hashed[middle:]), root(hashed[:middle])]


def proof(first: int, hashed: Hashes, whole: bool = True) -> list[bytes]:
    """RFC 6962, section 2.1.2."""
    if first == len(hashed):
        return [] if whole else [root(hashed)]
    middle = 1 << (len(hashed) - 1).bit_length() - 1
    if first <= middle:
        return [*proof(first, hashed[:middle], whole), root(hashed[middle:])]
    return [*proof(first - middle, hashed[middle:], False), root(hashed[:middle])]


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def x509_leaf(held: bytes, milliseconds: int) -> bytes:
    return b"\0\0" + struct.pack(">QH", milliseconds, 0) + len(held).to_bytes(3, "big") + held + b"\0\0"


def precert_leaf(tbs: bytes, milliseconds: int) -> bytes:
    head = struct.pack(">QH", milliseconds, 1) + bytes(32)
    return b"\0\0" + head + len(tbs).to_bytes(3, "big") + tbs + b"\0\0"


class OurLog:
    """Each tenth entry is for a host of ``ours.example``, each third one is a precertificate.

    `leaves` and `beside` replace what is in the tree, and the precertificate beside it.
    """

    def __init__(self, size: int, *, rsa_key: bool = False) -> None:
        self.secret: Any = (
            rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())
        )
        self.size = size
        self.page = 300  # entries that it gives at most
        self.origin = "log.example/2026"
        self.packed = False
        self.leaves: dict[int, bytes] = {}
        self.beside: dict[int, bytes] = {}
        self.signed_sizes = set[int]()
        self._hashed: tuple[tuple[int, ...], Hashes] = (), ()

    @property
    def public(self) -> bytes:
        return bytes(self.secret.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    @property
    def key(self) -> str:
        return base64_text(self.public)

    def name(self, number: int) -> str:
        return f"h{number}.ours.example" if number % 10 == 0 else f"n{number % 50}.example"

    def entry(self, number: int) -> tuple[bytes, bytes]:
        """Give an entry's leaf, and its precertificate if it is for one."""
        at = int((LOGGED + timedelta(seconds=number)).timestamp() * 1000)
        name = self.name(number)
        leaf = self.leaves.get(number) or (
            x509_leaf(whole(name), at) if number % 3 else precert_leaf(issued(name).tbs_certificate_bytes, at)
        )
        is_precertificate = leaf[10:12] == b"\0\1"
        return leaf, (self.beside.get(number) or precertificate(name)) if is_precertificate else b""

    def hashed(self, size: int) -> Hashes:
        if (size, *self.leaves) != self._hashed[0]:
            hashed = (hashlib.sha256(b"\0" + self.entry(number)[0]).digest() for number in range(size))
            self._hashed = (size, *self.leaves), tuple(hashed)
        return self._hashed[1]

    def sign(self, at: int) -> bytes:
        self.signed_sizes.add(self.size)
        message = struct.pack(">BBQQ32s", 0, 1, at, self.size, root(self.hashed(self.size)))
        if isinstance(self.secret, rsa.RSAPrivateKey):
            algorithm, signature = b"\4\1", self.secret.sign(message, padding.PKCS1v15(), hashes.SHA256())
        else:
            algorithm, signature = b"\4\3", self.secret.sign(message, ec.ECDSA(hashes.SHA256()))
        return algorithm + len(signature).to_bytes(2, "big") + signature

    def rfc6962(self, question: Question) -> Answer:
        sizes = {question["second"], question["tree_size"], question["first"]} - {""}
        if not {int(size) for size in sizes} <= self.signed_sizes:
            return Answer(b"no tree of this size was signed", 400)
        match question.path.removeprefix("/2026/ct/v1/"):
            case "get-sth":
                return Answer(
                    {
                        "tree_size": self.size,
                        "timestamp": 7,
                        "sha256_root_hash": base64_text(root(self.hashed(self.size))),
                        "tree_head_signature": base64_text(self.sign(7)),
                    }
                )
            case "get-entries":
                start, end = int(question["start"]), int(question["end"]) + 1
                some = map(self.entry, range(start, min(end, start + self.page, self.size)))
                return Answer({"entries": [self._given(leaf, beside) for leaf, beside in some]})
            case "get-sth-consistency":
                nodes = proof(int(question["first"]), self.hashed(int(question["second"])))
                return Answer({"consistency": list(map(base64_text, nodes))})
            case "get-entry-and-proof":
                index = int(question["leaf_index"])
                nodes = path(index, self.hashed(int(question["tree_size"])))
                given = self._given(*self.entry(index))
                return Answer({**given, "audit_path": list(map(base64_text, nodes))})
        return Answer(b"not here", 404)

    def _given(self, leaf: bytes, beside: bytes) -> dict[str, str]:
        chain = len(beside).to_bytes(3, "big") + beside if beside else b""
        return {"leaf_input": base64_text(leaf), "extra_data": base64_text(chain + bytes(3))}

    def tiles(self, question: Question) -> Answer:
        parts = question.path.removeprefix("/2026/").split("/")
        if parts == ["checkpoint"]:
            return Answer(self.checkpoint())
        if len(parts) < 3 or parts[0] != "tile":
            return Answer(b"not here", 404)
        level = 0 if parts[1] == "data" else int(parts[1])
        span = 256**level
        width = 256
        if parts[-2].endswith(".p"):
            width = int(parts.pop())
            parts[-1] = parts[-1].removesuffix(".p")
            if width not in {size // span % 256 for size in self.signed_sizes}:
                return Answer(b"never made", 404)
        number = int("".join(part.removeprefix("x") for part in parts[2:]))
        places = range(number * 256, number * 256 + width)
        if places.stop * span > self.size:
            return Answer(b"not made yet", 404)
        if parts[1] == "data":
            data = b"".join(map(self._tile_leaf, places))
            return (
                Answer(gzip.compress(data), headers={"Content-Encoding": "gzip"})
                if self.packed
                else Answer(data)
            )
        hashed = self.hashed(self.size)
        return Answer(b"".join(root(hashed[place * span : (place + 1) * span]) for place in places))

    def checkpoint(self) -> bytes:
        text = f"{self.origin}\n{self.size}\n{base64_text(root(self.hashed(self.size)))}\n"
        named = self.origin.encode() + b"\n\x05" + hashlib.sha256(self.public).digest()
        signature = hashlib.sha256(named).digest()[:4] + struct.pack(">Q", 7) + self.sign(7)
        others = f"— witness.example {base64_text(bytes(76))}\n— {self.origin} {base64_text(bytes(68))}\n"
        return f"{text}\n{others}— {self.origin} {base64_text(signature)}\n".encode()

    def _tile_leaf(self, index: int) -> bytes:
        leaf, beside = self.entry(index)
        chain = b"\0\x20" + bytes(32)
        return leaf[2:] + (len(beside).to_bytes(3, "big") + beside if beside else b"") + chain
