"""Secrets at rest: sealed with AES-256-GCM, each under a data key of its own.

The data key is wrapped (RFC 3394) by a sealing key: the environment variable ``CERTFORECAST_SEALING_KEY``
(32 bytes, base64), or the file ``sealing.key`` of a folder, made on first use for its owner alone. What is
sealed begins with one line of text, which names the sealing key::

    certforecast-sealed 001 KEY-ID
    WRAPPED-DATA-KEY NONCE CIPHERTEXT (base64)
"""

import base64
import binascii
import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from certforecast.atomic import create_file
from certforecast.errors import SealingError

__all__ = ["VARIABLE", "Sealer"]

#: The environment variable that holds the sealing key, where there is no file for it.
VARIABLE: Final = "CERTFORECAST_SEALING_KEY"

#: Version of the format; one that is newer is refused.
VERSION: Final = 1

_SEALED: Final = re.compile(rb"certforecast-sealed ([0-9]{3}) ([0-9a-f]{16})\n([A-Za-z0-9+/=]+)\n")
_KEY: Final = 32
_NONCE: Final = 12
#: A wrapped key is 8 bytes longer than the key.
_WRAPPED: Final = _KEY + 8


class Sealer:
    """Seals secrets, and opens what was sealed.

    Parameters
    ----------
    folder : path
        Holds ``sealing.key``, unless the environment gives the key. A key that is in the environment seals;
        what was sealed under either key can be opened while both are there.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "sealing.key"

    def seal(self, secret: bytes, purpose: str) -> bytes:
        """Seal a secret.

        Parameters
        ----------
        secret : bytes
            Of any length.
        purpose : str
            What it is for, such as ``"staged key"``; sealed for one purpose, it opens for no other.

        Raises
        ------
        SealingError
            If there is no sealing key that can be used.
        """
        key = self._from_environment() or self._from_file(make=True)
        data_key, nonce = secrets.token_bytes(_KEY), secrets.token_bytes(_NONCE)
        bound = _bound(purpose)
        body = aes_key_wrap(key, data_key) + nonce + AESGCM(data_key).encrypt(nonce, secret, bound)
        head = f"certforecast-sealed {VERSION:03d} {_name(key)}\n".encode("ascii")
        return head + base64.b64encode(body) + b"\n"

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Open what was sealed for a purpose.

        Raises
        ------
        SealingError
            If it is not sealed, was changed, is for another purpose, or its sealing key is not here.
        """
        found = _SEALED.fullmatch(sealed)
        if found is None:
            raise SealingError("this is not sealed, or it is damaged: restore it from a backup")
        version, name, body = found.groups()
        if int(version) != VERSION:
            raise SealingError(
                f"this is sealed in version {int(version)}, this certforecast opens version {VERSION}: "
                "use the certforecast that sealed it"
            )
        key = self._named(name.decode("ascii"))
        try:
            raw = base64.b64decode(body, validate=True)
            wrapped, nonce, text = raw[:_WRAPPED], raw[_WRAPPED : _WRAPPED + _NONCE], raw[_WRAPPED + _NONCE :]
            return AESGCM(aes_key_unwrap(key, wrapped)).decrypt(nonce, text, _bound(purpose))
        except (binascii.Error, InvalidUnwrap, InvalidTag, ValueError):
            raise SealingError(
                f"this was changed after it was sealed, or is no {purpose}: restore it from a backup"
            ) from None

    def _named(self, name: str) -> bytes:
        found = [self._from_environment()]
        if self._file.exists():
            found.append(self._from_file(make=False))
        for key in found:
            if key is not None and _name(key) == name:
                return key
        raise SealingError(
            f"this is sealed under the sealing key {name}, which is neither in {VARIABLE} nor in "
            f"{self._file}: put that key back"
        )

    def _from_environment(self) -> bytes | None:
        text = os.environ.get(VARIABLE, "").strip()
        if not text:
            return None
        try:
            key = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != _KEY:
            raise SealingError(
                f"{VARIABLE} does not hold 32 bytes in base64: make one with 'openssl rand -base64 32'"
            )
        return key

    def _from_file(self, *, make: bool) -> bytes:
        try:
            if make and not self._file.exists():
                self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                create_file(self._file, base64.b64encode(secrets.token_bytes(_KEY)) + b"\n", mode=0o600)
            if self._file.stat().st_mode & 0o077:
                raise SealingError(f"{self._file} is open to other users: make it yours alone with chmod 600")
            key = base64.b64decode(self._file.read_bytes().strip(), validate=True)
        except OSError as error:
            raise SealingError(f"{self._file} cannot be read or made: {error.strerror}") from error
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != _KEY:
            raise SealingError(f"{self._file} holds no sealing key: put the right one back from a backup")
        return key


def _name(key: bytes) -> str:
    """Name a sealing key without telling anything about it."""
    return hashlib.sha256(b"certforecast sealing key\n" + key).hexdigest()[:16]


def _bound(purpose: str) -> bytes:
    return f"certforecast {purpose} {VERSION}".encode()
