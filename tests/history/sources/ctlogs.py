"""A Certificate Transparency log to test with. It is ours: no log server is to be had here.

It keeps real certificates and precertificates in a Merkle tree computed by the recursive definitions of
RFC 6962 (section 2.1), signs its heads, and answers in both protocols.
"""

import base64
import gzip
import hashlib
import struct
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.certificates import certificate, der, key
from tests.history.sources.serving import Answer, Question

LOGGED = datetime(2026, 3, 1, 6, tzinfo=UTC)


@cache
def issued(name: str, poisoned: bool) -> bytes:
    return der(certificate(name, extensions=((x509.PrecertPoison(), True),) if poisoned else ()))


def root(hashed: tuple[bytes, ...]) -> bytes:
    if not hashed:
        return hashlib.sha256().digest()
    if len(hashed) == 1:
        return hashed[0]
    middle = 1 << (len(hashed) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root(hashed[:middle]) + root(hashed[middle:])).digest()


def path(index: int, hashed: tuple[bytes, ...]) -> list[bytes]:
    """RFC 6962, section 2.1.1."""
    if len(hashed) == 1:
        return []
    middle = 1 << (len(hashed) - 1).bit_length() - 1
    if index < middle:
        return [*path(index, hashed[:middle]), root(hashed[middle:])]
    return [*path(index - middle, hashed[middle:]), root(hashed[:middle])]


def proof(first: int, hashed: tuple[bytes, ...], whole: bool = True) -> list[bytes]:
    """RFC 6962, section 2.1.2."""
    if first == len(hashed):
        return [] if whole else [root(hashed)]
    middle = 1 << (len(hashed) - 1).bit_length() - 1
    if first <= middle:
        return [*proof(first, hashed[:middle], whole), root(hashed[middle:])]
    return [*proof(first - middle, hashed[middle:], False), root(hashed[:middle])]


class FakeLog:
    """Entry N is for ``nN.example``, each third one a precertificate, each tenth one for ``ours.example``."""

    def __init__(self, size: int) -> None:
        self.secret = ec.generate_private_key(ec.SECP256R1())
        self.size = size
        self.page = 300  # entries that it gives at most
        self.origin = "log.example/2026"
        self.packed = False
        self.changed: dict[int, bytes] = {}
        self.head_size = size

    @property
    def key(self) -> str:
        public = self.secret.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(public).decode()

    def name(self, number: int) -> str:
        return f"h{number}.ours.example" if number % 10 == 0 else f"n{number % 50}.example"

    def entry(self, number: int) -> tuple[bytes, bytes, bytes]:
        """Give an entry's leaf, its precertificate if it is one, and what get-entries adds."""
        at = int((LOGGED + timedelta(seconds=number)).timestamp() * 1000)
        poisoned = number % 3 == 0
        whole = self.changed.get(number) or issued(self.name(number), poisoned)
        if poisoned:
            tbs = whole[4:200]  # stands for what the CA will sign
            body = struct.pack(">QH", at, 1) + bytes(32) + len(tbs).to_bytes(3, "big") + tbs + b"\0\0"
            return b"\0\0" + body, whole, len(whole).to_bytes(3, "big") + whole + bytes(3)
        body = struct.pack(">QH", at, 0) + len(whole).to_bytes(3, "big") + whole + b"\0\0"
        return b"\0\0" + body, b"", bytes(3)

    def hashed(self, size: int) -> tuple[bytes, ...]:
        return tuple(hashlib.sha256(b"\0" + self.entry(number)[0]).digest() for number in range(size))

    def signed(self, size: int, at: int) -> bytes:
        message = struct.pack(">BBQQ32s", 0, 1, at, size, root(self.hashed(size)))
        signature = self.secret.sign(message, ec.ECDSA(hashes.SHA256()))
        return b"\4\3" + len(signature).to_bytes(2, "big") + signature

    def rfc6962(self, question: Question) -> Answer:
        match question.path.rpartition("/")[2]:
            case "get-sth":
                size = self.head_size
                return Answer(
                    {
                        "tree_size": size,
                        "timestamp": 7,
                        "sha256_root_hash": base64.b64encode(root(self.hashed(size))).decode(),
                        "tree_head_signature": base64.b64encode(self.signed(size, 7)).decode(),
                    }
                )
            case "get-entries":
                start, end = int(question["start"]), int(question["end"]) + 1
                some = [self.entry(number) for number in range(start, min(end, start + self.page, self.size))]
                return Answer(
                    {
                        "entries": [
                            {
                                "leaf_input": base64.b64encode(leaf).decode(),
                                "extra_data": base64.b64encode(extra).decode(),
                            }
                            for leaf, _, extra in some
                        ]
                    }
                )
            case "get-sth-consistency":
                nodes = proof(int(question["first"]), self.hashed(int(question["second"])))
                return Answer({"consistency": [base64.b64encode(node).decode() for node in nodes]})
            case "get-entry-and-proof":
                index, size = int(question["leaf_index"]), int(question["tree_size"])
                return Answer(
                    {
                        "leaf_input": base64.b64encode(self.entry(index)[0]).decode(),
                        "audit_path": [
                            base64.b64encode(node).decode() for node in path(index, self.hashed(size))
                        ],
                    }
                )
        return Answer(b"not here", 404)

    def tiles(self, question: Question) -> Answer:
        parts = question.path.strip("/").split("/")[1:]
        if parts == ["checkpoint"]:
            size = self.head_size
            text = f"{self.origin}\n{size}\n{base64.b64encode(root(self.hashed(size))).decode()}\n"
            blob = bytes(4) + struct.pack(">Q", 7) + self.signed(size, 7)
            other = base64.b64encode(bytes(40)).decode()
            note = f"{text}\n— witness.example {other}\n— {self.origin} {base64.b64encode(blob).decode()}\n"
            return Answer(note.encode())
        if len(parts) < 3 or parts[0] != "tile":
            return Answer(b"not here", 404)
        width = 256
        if parts[-2].endswith(".p"):
            width = int(parts.pop())
            parts[-1] = parts[-1].removesuffix(".p")
        number = int("".join(part.removeprefix("x") for part in parts[2:]))
        if parts[1] == "data":
            return self._data(number, width)
        level = int(parts[1])
        span = 256**level
        hashed = self.hashed(self.size)
        nodes = [
            root(hashed[place * span : (place + 1) * span])
            for place in range(number * 256, number * 256 + width)
        ]
        return Answer(b"".join(nodes))

    def _data(self, number: int, width: int) -> Answer:
        tile = b""
        for index in range(number * 256, number * 256 + width):
            leaf, whole, _ = self.entry(index)
            tile += leaf[2:] + (len(whole).to_bytes(3, "big") + whole if whole else b"") + b"\0\0"
        return Answer(gzip.compress(tile) if self.packed else tile)


assert key()  # made once, before any thread asks
