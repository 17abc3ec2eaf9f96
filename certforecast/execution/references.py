"""What stands in for a private key that never leaves its token: a PKCS#11 URI (RFC 7512) in PEM.

The form is that of OpenSSL's ``pkcs11-provider``, which takes it wherever a file with a private key is
wanted; the public key follows, so that certificate and key can be compared without the token.
"""

import base64
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from certforecast.errors import InstallationError

__all__ = ["KeyReference", "is_reference", "token_uri"]

_LABEL: Final = "PKCS#11 PROVIDER URI"
_BLOCK: Final = re.compile(
    rf"-----BEGIN {re.escape(_LABEL)}-----\s+([A-Za-z0-9+/=\s]+)-----END {re.escape(_LABEL)}-----".encode()
)
_PUBLIC: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)
_DESCRIPTION: Final = "PKCS#11 Provider URI v1.0"


def is_reference(pem: bytes) -> bool:
    """Tell whether this refers to a key in a token, instead of being one."""
    return _LABEL.encode() in pem


def token_uri(token: str, label: str, identity: bytes) -> str:
    """Give the URI of a private key in a token (RFC 7512)."""
    escaped = "".join(f"%{byte:02x}" for byte in identity)
    return f"pkcs11:token={quote(token, safe='')};object={quote(label, safe='')};id={escaped};type=private"


@dataclass(frozen=True, slots=True)
class KeyReference:
    """A private key in a token.

    Attributes
    ----------
    uri : str
        Names it (RFC 7512); holds no PIN.
    public_key : PublicKeyTypes
        As the token gave it when the reference was made.
    """

    uri: str
    public_key: PublicKeyTypes

    @property
    def identity(self) -> bytes:
        """The key's ``CKA_ID``."""
        attributes = dict(part.partition("=")[::2] for part in self.uri.removeprefix("pkcs11:").split(";"))
        return unquote_to_bytes(attributes.get("id", ""))

    def to_pem(self) -> bytes:
        """Write the reference down."""
        from asn1crypto import core

        inner = core.VisibleString(_DESCRIPTION).dump() + core.UTF8String(self.uri).dump()
        body = base64.b64encode(core.Sequence(contents=inner).dump()).decode("ascii")
        lines = "\n".join(body[start : start + 64] for start in range(0, len(body), 64))
        pem = f"-----BEGIN {_LABEL}-----\n{lines}\n-----END {_LABEL}-----\n".encode("ascii")
        return pem + self.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @classmethod
    def from_pem(cls, pem: bytes) -> "KeyReference":
        """Read a reference.

        Raises
        ------
        InstallationError
            If it is none.
        """
        from asn1crypto import core

        block, public = _BLOCK.search(pem), _PUBLIC.search(pem)
        try:
            if block is None or public is None:
                raise ValueError
            outer = core.Sequence.load(base64.b64decode(block[1]))
            uri = str(outer[1].native)
            return cls(uri, load_pem_public_key(public[0]))
        except (ValueError, IndexError, KeyError, TypeError, UnsupportedAlgorithm) as error:
            raise InstallationError(
                "the reference to a key in a token cannot be read: its URI and its public key, both in PEM, "
                "are wanted",
                code="config",
            ) from error
