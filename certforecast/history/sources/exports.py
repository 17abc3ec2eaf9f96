"""Files that hold a list of entries: JSON or JSON Lines, plain or gzipped."""

import gzip
import json
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from certforecast.clock import Clock
from certforecast.errors import InputError, SourceError

__all__ = ["LIMIT", "excerpt", "items", "look", "modified", "state", "text_of"]

#: The longest file that is read, in bytes, unpacked.
LIMIT: Final = 1 << 29

_GZIP: Final = b"\x1f\x8b"
_LOOK: Final = 65536
_EXCERPT: Final = 2000


def text_of(path: Path, what: str) -> str:
    """Read a whole file as UTF-8, unpacking gzip.

    Parameters
    ----------
    path : Path
        The file.
    what : str
        What it should be, for the errors: ``"a crt.sh export"``.

    Raises
    ------
    SourceError
        If it cannot be read, is empty, is not UTF-8, or is longer than `LIMIT`.
    """
    try:
        if path.exists() and not path.is_file():
            raise SourceError(f"{path} cannot be read: it is not a file; give {what}")
        data = _bytes(path, LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"{path} cannot be read: {reason}; give {what}") from error
    if len(data) > LIMIT:
        raise SourceError(f"{path} is longer than {LIMIT >> 20} MiB; cut it into several files")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not {what}: byte {error.start} is not UTF-8") from error
    if not text.strip():
        raise SourceError(f"{path} is empty; give {what}")
    return text


def items(text: str, path: Path, what: str) -> Iterable[tuple[str, Any]]:
    """Take the entries out of a JSON array, a single JSON object, or JSON Lines.

    Returns
    -------
    iterable of (str, object)
        Position and entry; for a line that is not JSON, an `InputError` in the entry's place.

    Raises
    ------
    SourceError
        If the text is neither, or no entry is in it.
    """
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        if lines := _lines(text, path.name):
            return lines
        raise SourceError(f"{path} is not JSON: {_reason(error)}; give {what}") from error
    if isinstance(whole, dict):
        whole = [whole]
    if not isinstance(whole, list):
        raise SourceError(f"{path} holds no list of entries; give {what}")
    return ((f"{path.name}#{index}", item) for index, item in enumerate(whole))


def excerpt(item: Any) -> str:
    """Write an entry as JSON for the quarantine, cut to a bearable length."""
    try:
        return "" if isinstance(item, InputError) else json.dumps(item)[:_EXCERPT]
    except (RecursionError, ValueError):
        return ""


def look(path: Path) -> str:
    """Give the beginning of a file as text, for recognising it; nothing if it cannot be read."""
    try:
        return _bytes(path, _LOOK).decode("utf-8-sig", "replace") if path.is_file() else ""
    except (OSError, EOFError, ValueError, zlib.error):
        return ""


def state(path: Path) -> str:
    """Tell a file's size and time, which change when it does: what a mark says of it.

    Raises
    ------
    SourceError
        If the file is not there.
    """
    try:
        about = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"{path} cannot be read: {reason}; check the path") from error
    return f"{about.st_size}:{about.st_mtime_ns}"


def modified(path: Path, clock: Clock) -> datetime:
    """Give the time of a file's last change, never later than the present; the present if it has none."""
    try:
        return min(datetime.fromtimestamp(path.stat().st_mtime, UTC), clock())
    except (OSError, OverflowError, ValueError):
        return clock()


def _bytes(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        if not packed:
            return file.read(count)
        with gzip.GzipFile(fileobj=file) as unpacked:
            return unpacked.read(count)


def _lines(text: str, name: str) -> list[tuple[str, Any]]:
    """Read JSON Lines; nothing if no line holds an entry."""
    found = [
        (f"{name}#{number}", _line(line)) for number, line in enumerate(text.splitlines(), 1) if line.strip()
    ]
    return found if any(isinstance(item, dict) for _, item in found) else []


def _line(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        return InputError(f"line is not JSON: {error}")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno} column {error.colno}: {error.msg}"
    return str(error)
