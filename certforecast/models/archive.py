"""The bytes of a model file: a zip that is the same for the same model, and ends in a seal.

The seal is the zip's comment, so the file stays a zip that any tool opens. It covers every byte before it
and is checked on raw bytes: nothing has to be unpacked, or even found in the zip, to tell whose file it is.
"""

import io
import json
import zipfile
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from certforecast.signing import SEAL_LENGTH, check_seal, seal

__all__ = ["HEAD", "METADATA", "pack", "verify"]

#: How a model file begins.
HEAD = b"PK\x03\x04"

#: The member that says what the model was made of.
METADATA = "certforecast.json"

_SCHEMA = "schema.json"
_PURPOSE = "model"

#: The oldest time that a zip can hold.
_NEVER = (1980, 1, 1, 0, 0, 0)


def pack(dumped: bytes, about: dict[str, Any], key: Ed25519PrivateKey) -> bytes:
    """Make a model file.

    Parameters
    ----------
    dumped : bytes
        What skops gave.
    about : dict
        The metadata; json-able.
    key : Ed25519PrivateKey
        Signs the file.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in {**_renumbered(dumped), METADATA: _json(about)}.items():
            entry = zipfile.ZipInfo(name, _NEVER)
            entry.create_system, entry.external_attr = 3, 0o600 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
        # Keeps the place; a zip's comment is its last part.
        archive.comment = bytes(SEAL_LENGTH)
    body = buffer.getvalue()[:-SEAL_LENGTH]
    return body + seal(body, _PURPOSE, key)


def verify(data: bytes, key: Ed25519PublicKey) -> None:
    """Make sure that a model file is as the owner of a key made it; nothing in it is parsed.

    Raises
    ------
    SignatureError
        If it is not signed or by another key, or was changed. The message goes on where the name of the file
        stops.
    """
    check_seal(data[:-SEAL_LENGTH], data[-SEAL_LENGTH:], _PURPOSE, key)


def _renumbered(dumped: bytes) -> dict[str, bytes]:
    """Give the members by name, numbered in their order; skops names them after addresses in memory."""
    with zipfile.ZipFile(io.BytesIO(dumped)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(parts.pop(_SCHEMA))
    numbers: dict[int, int] = {}
    files: dict[str, str] = {}
    for node in _nodes(schema):
        if "__id__" in node:
            node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
        if node.get("file") in parts:
            old = node["file"]
            node["file"] = files.setdefault(old, f"{len(files) + 1}.{old.rpartition('.')[2]}")
    return {**{new: parts[old] for old, new in files.items()}, _SCHEMA: _json(schema)}


def _nodes(document: Any) -> list[dict[str, Any]]:
    """Give every object of a JSON document, outer before inner; a stack, as models nest deeply."""
    found, stack = [], [document]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            found.append(node)
            stack.extend(reversed(node.values()))
        elif isinstance(node, list):
            stack.extend(reversed(node))
    return found


def _json(document: Any) -> bytes:
    return json.dumps(document, indent=2, allow_nan=False).encode()
