"""What a folder or a file is: asked of every source."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from certforecast.errors import SourceError
from certforecast.history.sources import Source, installed_sources

__all__ = ["Recognised", "recognise"]

#: How deep below a folder that no source knows its parts are looked at, and how many of them.
_DEPTH: Final = 3
_PARTS: Final = 1000


@dataclass(frozen=True, slots=True)
class Recognised:
    """A path, the source that reads it, and what it holds in a few words."""

    path: Path
    kind: type[Source]
    what: str


def recognise(path: Path) -> list[Recognised]:
    """Find the sources that read a path.

    A folder that no source knows is searched, three levels deep. Sources of last resort (certificates in
    files, columns of a spreadsheet) get what no other source knows.

    Raises
    ------
    SourceError
        If the path is missing, or nothing in it is known.
    """
    if not path.exists():
        raise SourceError(f"{path} does not exist; give a file or a folder")
    kinds, _ = installed_sources()
    if found := _search(path, kinds, _DEPTH):
        return found
    if path.is_dir() and not any(path.iterdir()):
        raise SourceError(f"{path} is empty; give a file or a folder with history in it")
    names = ", ".join(kind.name for kind in kinds)
    raise SourceError(
        f"{path} is nothing that a source knows; 'certforecast ingest SOURCE {path}' reads it by one of: "
        f"{names}"
    )


def _search(path: Path, kinds: list[type[Source]], depth: int) -> list[Recognised]:
    last_resorts = [kind for kind in kinds if kind.fallback]
    if known := _ask(path, [kind for kind in kinds if not kind.fallback]):
        return known
    if not path.is_dir():
        return _ask(path, last_resorts)
    if not depth:
        return []
    found = [known for part in _parts(path) for known in _search(part, kinds, depth - 1)]
    if all(known.kind.fallback for known in found):
        # Nothing of its own in there: as one folder it is read in one go.
        return _ask(path, last_resorts) or found
    return found


def _ask(path: Path, kinds: list[type[Source]]) -> list[Recognised]:
    return [Recognised(path, kind, what) for kind in kinds if (what := kind.recognises(path))]


def _parts(folder: Path) -> list[Path]:
    try:
        return sorted(part for part in islice(folder.iterdir(), _PARTS) if not part.is_symlink())
    except OSError:
        return []
