"""Small JSON files that tools write: read with care."""

import json
from pathlib import Path
from typing import Any

__all__ = ["json_object"]


def json_object(path: Path, limit: int = 1 << 20) -> dict[str, Any]:
    """Read a file that holds one JSON object; without the file, an empty one.

    Parameters
    ----------
    path : Path
        The file.
    limit : int
        Bytes of the longest file that is read.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is too long, not UTF-8, not JSON, nested too deeply, or no object.
    """
    if not path.exists():
        return {}
    if path.stat().st_size > limit:
        raise ValueError(f"it is longer than {limit} bytes")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found
