"""Log files that grow, are rotated and packed: read from where the last import ended, under whatever name.

A file keeps its first line, so its mark goes by that. The mark says how long the file was and where its last
run began: one that has grown is read from there, one that was only renamed is not read again.
"""

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any, Final, cast

from certforecast.history.sources import Rejected

__all__ = ["LogFile", "log_files"]

#: The longest piece of a line, and of a file (unpacked), that is read, in bytes.
_LINE: Final = 1 << 20
_LIMIT: Final = 1 << 30


@dataclass(slots=True)
class LogFile:
    """One file, and where its last run began, as far as it was read.

    Attributes
    ----------
    path : Path
        The file.
    first : bytes
        Its first line.
    size, modified : int
        Its bytes, and its time in nanoseconds.
    begins_run : callable
        Tells whether a line is the first of a run.
    offset, line : int
        Where the last run began, in bytes (unpacked) and lines.
    error : str or None
        What hindered reading it to its end.
    """

    path: Path
    first: bytes
    size: int
    modified: int
    begins_run: Callable[[bytes], bool]
    offset: int = 0
    line: int = 1
    error: str | None = None

    @property
    def place(self) -> str:
        """The name of its mark."""
        return f"{self.path.parent.resolve()}#{hashlib.sha256(self.first).hexdigest()[:32]}"

    def state(self, setting: str) -> str:
        """Give the state of its mark; `setting` is what else decides how it is read."""
        return f"{self.size}:{self.modified}:{self.offset}:{self.line}:{setting}"

    def resume(self, state: str, setting: str) -> bool:
        """Go on from where a mark says; tell whether anything is new."""
        size, modified, offset, line, before = [*state.split(":", 4), *[""] * 5][:5]
        if before != setting or not (offset.isdecimal() and line.isdecimal()):
            return True
        self.offset, self.line = int(offset), int(line)
        return (size, modified) != (str(self.size), str(self.modified))

    def lines(self) -> Iterator[tuple[str, bytes]]:
        """Read from the last run known of; note where runs begin, and what hinders reading to the end.

        Yields
        ------
        str
            The position: ``"letsencrypt.log.1#12"``.
        bytes
            The line, or a piece of one that is very long.
        """
        try:
            with _opened(self.path) as file:
                file.seek(self.offset)
                if self.offset and not self.begins_run(file.readline(_LINE)):  # it is not what it was
                    self.offset, self.line = 0, 1
                file.seek(self.offset)
                place = self.offset
                for number in count(self.line):
                    line = file.readline(_LINE)
                    if not line:
                        return
                    if place > _LIMIT:
                        raise OSError(f"it is longer than {_LIMIT >> 20} MiB")
                    if self.begins_run(line):
                        self.offset, self.line = place, number
                    yield f"{self.path.name}#{number}", line
                    place += len(line)
        except (OSError, EOFError, zlib.error) as error:
            self.error = str(error)


def log_files(
    log: Path, look: Callable[[bytes], Any], begins_run: Callable[[bytes], bool]
) -> Iterator[LogFile | Rejected]:
    """List a log and what it was rotated to, the oldest first; empty files are passed over.

    Parameters
    ----------
    log : Path
        The newest file, as ``letsencrypt.log``; the others' names begin so.
    look : callable
        Gives a first line's time, to order by; None if the file is no such log.
    begins_run : callable
        Tells whether a line is the first of a run.
    """
    found = []
    for path in sorted(log.parent.glob(f"{log.name}*")):
        try:
            if not path.is_file():
                raise OSError("it is not a file")
            stat = path.stat()
            with _opened(path) as file:
                first = file.readline(_LINE)
        except (OSError, EOFError, zlib.error) as error:
            yield Rejected(path.name, f"log cannot be read: {error}")
            continue
        if (time := look(first)) is not None:
            found.append((time, LogFile(path, first, stat.st_size, stat.st_mtime_ns, begins_run)))
        elif first:
            yield Rejected(path.name, "log cannot be read: it does not begin as such a log does")
    yield from (file for _, file in sorted(found, key=lambda pair: pair[0]))


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield cast("IO[bytes]", file)
