"""Tree heads of Certificate Transparency logs, and the keys that sign them (RFC 6962, section 3.5)."""

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from certforecast.errors import InputError
from certforecast.history.sources.ct_entries import Reader

__all__ = ["Head", "LogKey", "unbase64"]

#: SignatureAndHashAlgorithm (RFC 5246, section 7.4.1.4.1) for SHA-256 with ECDSA, and with RSA.
_ECDSA, _RSA = b"\4\3", b"\4\1"
#: What a tree head begins with where it is signed: version 1, signature type tree_hash.
_TREE_HASH: Final = (0, 1)


@dataclass(frozen=True, slots=True)
class Head:
    """A log's tree at a time: how many leaves, and the root over them."""

    size: int
    root: bytes

    @classmethod
    def of(cls, size: int, root: str) -> Self:
        """Make a head of a size and a root in base64.

        Raises
        ------
        ValueError
            If no tree can have them.
        """
        held = unbase64(root)
        if not 0 <= size < 1 << 63 or len(held) != 32:
            raise ValueError("size or root hash is impossible")
        return cls(size, held)


class LogKey:
    """The public key of a log.

    Parameters
    ----------
    key : path or str
        A file (PEM or DER), or the key as DER in base64, as lists of logs give it.

    Raises
    ------
    InputError
        If it is neither, or a kind of key that logs do not have.
    """

    def __init__(self, key: Path | str) -> None:
        try:
            loaded = load_der_public_key(base64.b64decode(str(key), validate=True))
        except (ValueError, TypeError):
            loaded = _from_file(Path(key))
        if not isinstance(loaded, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise InputError("key of the log is neither ECDSA nor RSA, which all logs have (RFC 6962, 2.1.4)")
        self._key = loaded
        der = loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        #: The log's LogID.
        self.id = hashlib.sha256(der).digest()

    def has_signed(self, head: Head, timestamp: int, signature: bytes) -> bool:
        """Tell whether a TreeHeadSignature is by this key.

        Parameters
        ----------
        head : Head
            What was signed.
        timestamp : int
            Milliseconds of the epoch, signed with it.
        signature : bytes
            A digitally-signed structure (RFC 5246, section 4.7).
        """
        try:
            message = struct.pack(">BBQQ32s", *_TREE_HASH, timestamp, head.size, head.root)
            reader = Reader(signature)
            algorithm, signed = reader.take(2), reader.opaque(2)
            reader.end()
            if algorithm == _ECDSA and isinstance(self._key, ec.EllipticCurvePublicKey):
                self._key.verify(signed, message, ec.ECDSA(hashes.SHA256()))
            elif algorithm == _RSA and isinstance(self._key, rsa.RSAPublicKey):
                self._key.verify(signed, message, padding.PKCS1v15(), hashes.SHA256())
            else:
                return False
        except (InputError, InvalidSignature, struct.error):
            return False
        return True


def _from_file(path: Path) -> Any:
    try:
        data = path.read_bytes()
        return load_pem_public_key(data) if b"-----BEGIN" in data else load_der_public_key(data)
    except OSError as error:
        said = error.strerror or error
        raise InputError(
            f"key of the log cannot be read: {str(path)[:80]}: {said}; give a file (PEM or DER) or base64"
        ) from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is not a public key in PEM or DER: {error}") from error


def unbase64(text: Any) -> bytes:
    """Decode base64.

    Raises
    ------
    ValueError
        If it is no text, or not base64.
    """
    if not isinstance(text, str):
        raise ValueError("base64 text is missing")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error
