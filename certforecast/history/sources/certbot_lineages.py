"""Whose the events of certbot's log are: what the tree adds to them."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from certforecast.clock import Clock
from certforecast.errors import InputError
from certforecast.history.names import host_of, normalise_name
from certforecast.history.sources.batching import Found
from certforecast.history.sources.certbot_log import LogEvent
from certforecast.history.sources.pem import read_file

__all__ = ["Lineages", "versions"]

_VERSION: Final = re.compile(r"cert(\d{1,9})\.pem")

#: How far apart the log's line and the file's time are for one issue.
_SAME: Final = timedelta(minutes=1)


class Lineages:
    """The lineages of a tree. Their names are looked up only if the log has news.

    Parameters
    ----------
    folders : list of Path
        ``archive/NAME`` of each.
    clock : callable
        Bounds the files' times.
    """

    def __init__(self, folders: list[Path], clock: Clock) -> None:
        self._folders = {folder.name: folder for folder in folders}
        self._clock = clock

    def row(self, event: LogEvent) -> dict[str, Any]:
        """Give a row of ``events``, but for who tells it.

        The lineage is the one the log names, else the one of just these names, as certbot itself finds it.
        Where there is none yet, or more than one, it is the first name asked for.
        """
        names = _normal(event.names)
        lineage = event.lineage or self._of(names) or (names or event.names)[0]
        # The log first: it says the same at the next import, when the tree may have changed.
        known = sorted(names) or self._names.get(lineage)
        host = _normal((event.host,)) if event.host else []
        return {
            "at": event.at,
            "lineage": lineage,
            "kind": event.kind,
            "host": host[0] if host else host_of(known) if known else None,
            "code": event.code,
            "detail": event.detail,
            "known_at": event.at,
        }

    def has_issue(self, event: LogEvent) -> bool:
        """Tell whether it is an issue that a file of the tree tells of."""
        if event.kind != "issued" or (folder := self._folders.get(event.lineage or "")) is None:
            return False
        with suppress(OSError, OverflowError, ValueError):
            times = (datetime.fromtimestamp(path.stat().st_mtime, UTC) for path in versions(folder))
            return any(abs(time - event.at) <= _SAME for time in times)
        return False

    def _of(self, names: list[str]) -> str | None:
        wanted = sorted(set(names))
        found = [lineage for lineage, known in self._names.items() if known == wanted]
        return found[0] if len(found) == 1 else None

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        """Names by lineage, of the newest version that can be read."""
        found = {}
        for lineage, folder in self._folders.items():
            with suppress(OSError):
                for path in reversed(versions(folder)):
                    finds = read_file(path, path.name, "certbot", self._clock)
                    if names := next((find.row["names"] for find in finds if isinstance(find, Found)), None):
                        found[lineage] = names
                        break
        return found


def versions(folder: Path) -> list[Path]:
    """List ``certN.pem`` in the order of N.

    Raises
    ------
    OSError
        If the folder cannot be read.
    """
    matched = [(match, path) for path in folder.iterdir() if (match := _VERSION.fullmatch(path.name))]
    return [path for _, path in sorted((int(match[1]), path) for match, path in matched)]


def _normal(names: tuple[str, ...]) -> list[str]:
    found = []
    for name in names:
        with suppress(InputError):
            found.append(normalise_name(name))
    return found
