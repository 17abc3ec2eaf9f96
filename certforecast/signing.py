"""Signatures: who made a file, and that nobody has changed it since.

A home folder has one Ed25519 key pair. ``signing.key`` signs what is made there and leaves it never;
``signing.pub`` checks it. To trust what another machine makes, put that machine's ``signing.pub`` into the
home folder here.
"""

import hashlib
import re
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from certforecast.atomic import create_file
from certforecast.errors import SignatureError

__all__ = [
    "SEAL_LENGTH",
    "check_seal",
    "key_id",
    "read_verifying_key",
    "seal",
    "signing_key",
    "verifying_key",
]

#: Version of the seal; one of a newer version is refused.
VERSION = 1

_SEAL = re.compile(rb"certforecast-seal ([0-9]{3}) ([0-9a-f]{64}) ([0-9a-f]{128})\n")

#: Length of every seal, in bytes.
SEAL_LENGTH = len("certforecast-seal 001 ") + 64 + 1 + 128 + 1

#: Others may not read a private key, nor write either key.
_PRIVATE, _PUBLIC = 0o600, 0o644


def signing_key(home: Path) -> Ed25519PrivateKey:
    """Give the home folder's key to sign with; the first time, make it.

    Raises
    ------
    SignatureError
        If the key is damaged or open to others, is not the other half of ``signing.pub``, or if there is
        only the ``signing.pub`` of another machine.
    """
    private, public = home / "signing.key", home / "signing.pub"
    if not private.exists():
        if public.exists():
            raise SignatureError(
                f"{home} has the key {public.name} of another machine and none to sign with: train and plan "
                f"on that machine, or remove {public} to make keys of your own"
            )
        home.mkdir(parents=True, exist_ok=True)
        made = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        create_file(private, made, mode=_PRIVATE)
    if private.stat().st_mode & 0o077:
        raise SignatureError(f"{private} is open to other users: make it yours alone with chmod 600")
    try:
        key = load_pem_private_key(private.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SignatureError(f"{private} is no private key: put the right one back from a backup") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{private} is no Ed25519 key: put the right one back from a backup")
    if not public.exists():
        create_file(public, _pem(key.public_key()), mode=_PUBLIC)
    if key_id(verifying_key(home)) != key_id(key.public_key()):
        raise SignatureError(f"{public} is not the other half of {private}: remove the one that is wrong")
    return key


def verifying_key(home: Path) -> Ed25519PublicKey:
    """Give the home folder's key to check signatures with.

    Raises
    ------
    SignatureError
        If it is missing, damaged, or anybody may change it: then it tells nothing.
    """
    return read_verifying_key(home / "signing.pub")


def read_verifying_key(public: Path) -> Ed25519PublicKey:
    """Read a key to check signatures with.

    Raises
    ------
    SignatureError
        If it is missing, damaged, or anybody may change it: then it tells nothing.
    """
    try:
        content = public.read_bytes()
        if public.stat().st_mode & 0o002:
            raise SignatureError(
                f"{public} can be changed by any user: look whether it is the right one still, "
                "and make it yours with chmod 644"
            )
        key = load_pem_public_key(content)
    except FileNotFoundError as error:
        raise SignatureError(
            f"there is no key at {public} to check signatures with: train here, or copy signing.pub from the "
            "home folder of the machine that signed"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignatureError(f"{public} is no public key: copy it anew from where it was made") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SignatureError(f"{public} is no Ed25519 key: copy it anew from where it was made")
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """Name a key: the SHA-256 of its 32 bytes, 64 hex digits."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()


def seal(data: bytes, purpose: str, key: Ed25519PrivateKey) -> bytes:
    """Sign data.

    Parameters
    ----------
    data : bytes
        All that is to be protected.
    purpose : str
        What the data is, such as ``"model"``; a seal for one purpose does not hold for another.
    key : Ed25519PrivateKey
        Such as :func:`signing_key` gives.

    Returns
    -------
    bytes of length `SEAL_LENGTH`
        One line of ASCII. The same data and key always give the same.
    """
    signature = key.sign(_signed(data, purpose)).hex()
    return f"certforecast-seal {VERSION:03d} {key_id(key.public_key())} {signature}\n".encode()


def check_seal(data: bytes, mark: bytes, purpose: str, key: Ed25519PublicKey) -> None:
    """Make sure that data is what the owner of a key sealed.

    Parameters
    ----------
    data : bytes
        As given to :func:`seal`.
    mark : bytes
        What :func:`seal` gave.
    purpose : str
        As given to :func:`seal`.
    key : Ed25519PublicKey
        Such as :func:`verifying_key` gives.

    Raises
    ------
    SignatureError
        If there is no seal, it is of a newer version or by another key, or the data was changed. The message
        goes on where the name of a file stops: "is not signed".
    """
    found = _SEAL.fullmatch(mark)
    if found is None:
        raise SignatureError("is not signed, or its signature is damaged")
    version, name, signature = found.groups()
    if int(version) > VERSION:
        raise SignatureError(
            f"has a signature of version {int(version)}, this certforecast reads up to {VERSION}: "
            "upgrade certforecast"
        )
    if int(version) != VERSION:
        raise SignatureError("is not signed, or its signature is damaged")
    if name.decode() != key_id(key):
        raise SignatureError(
            f"is signed by another key ({name[:16].decode()}..., trusted is {key_id(key)[:16]}...)"
        )
    try:
        key.verify(bytes.fromhex(signature.decode()), _signed(data, purpose))
    except InvalidSignature as error:
        raise SignatureError("was changed after it was signed") from error


def _signed(data: bytes, purpose: str) -> bytes:
    return f"certforecast {purpose} {VERSION}\n".encode() + data


def _pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
