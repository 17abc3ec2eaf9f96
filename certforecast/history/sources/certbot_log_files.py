"""The files of certbot's log: rotated by certbot at every run, by logrotate every week, perhaps packed.

A file keeps its first line under whatever name it goes, so its mark goes by that. The mark says how long the
file was and where its last run began: one that has grown is read from there, one that was only renamed is not
read again.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import IO, Final, cast
from zoneinfo import ZoneInfo

from certforecast.history.sources import Mark, Marks, Rejected
from certforecast.history.sources.batching import Skipped
from certforecast.history.sources.certbot_log import LogEvent, LogReader
from certforecast.history.sources.certbot_log_records import begins_record, begins_run, records

__all__ = ["NAME", "read_logs"]

#: What certbot calls its log.
NAME: Final = "letsencrypt.log"

#: The longest piece of a line, and of a file (unpacked), that is read, in bytes.
_LINE: Final = 1 << 20
_LIMIT: Final = 1 << 30


@dataclass(slots=True)
class _LogFile:
    """One file, and where its last run began, as far as it was read."""

    path: Path
    first: bytes
    size: int
    modified: int
    offset: int = 0
    line: int = 1
    error: str | None = None

    def place(self) -> str:
        return f"{self.path.parent.resolve() / NAME}#{hashlib.sha256(self.first).hexdigest()[:32]}"

    def state(self, zone: ZoneInfo) -> str:
        return f"{self.size}:{self.modified}:{self.offset}:{self.line}:{zone.key}"

    def resume(self, state: str, zone: ZoneInfo) -> bool:
        """Go on from where a mark says; tell whether anything is new."""
        size, modified, offset, line, key = (state.split(":", 4) + [""] * 5)[:5]
        if key != zone.key or not (offset.isdecimal() and line.isdecimal()):
            return True
        self.offset, self.line = int(offset), int(line)
        return (size, modified) != (str(self.size), str(self.modified))

    def lines(self) -> Iterator[tuple[str, bytes]]:
        """Read from the last run known of; note where runs begin, and what hinders reading to the end."""
        try:
            with _opened(self.path) as file:
                file.seek(self.offset)
                if self.offset and not begins_run(file.readline(_LINE)):  # it is not what it was
                    self.offset, self.line = 0, 1
                file.seek(self.offset)
                place = self.offset
                for number in count(self.line):
                    line = file.readline(_LINE)
                    if not line:
                        return
                    if place > _LIMIT:
                        raise OSError(f"it is longer than {_LIMIT >> 20} MiB")
                    if begins_run(line):
                        self.offset, self.line = place, number
                    yield f"{self.path.name}#{number}", line
                    place += len(line)
        except (OSError, EOFError, zlib.error) as error:
            self.error = str(error)


def read_logs(
    folder: Path, zone: ZoneInfo, marks: Marks, now: datetime
) -> Iterator[LogEvent | Rejected | Mark | Skipped]:
    """Read the logs of a folder, the oldest first.

    Parameters
    ----------
    folder : Path
        With ``letsencrypt.log`` and what it was rotated to.
    zone : ZoneInfo
        Of the log's times, for runs that do not tell.
    marks : mapping of str to str
        Of the import before.
    now : datetime
        Events after it are rejected.
    """
    reader = LogReader(zone)
    files = list[_LogFile]()
    for path in folder.glob(f"{NAME}*"):
        try:
            if (file := _look(path)) is not None:
                files.append(file)
        except (OSError, EOFError, zlib.error, ValueError) as error:
            yield Rejected(path.name, f"log cannot be read: {error}")
    for file in sorted(files, key=lambda file: (file.first, file.path.name)):
        place = file.place()
        if (state := marks.get(place)) is not None and not file.resume(state, zone):
            reader.forget()
            yield Skipped(place)
            continue
        for event in reader.read(records(file.lines())):
            if event.at > now:
                when = f"{event.kind} at {event.at:%Y-%m-%d %H:%M:%S}Z"
                yield Rejected(event.position, f"{when} is in the future; give the log's own timezone")
            else:
                yield event
        if file.error is not None:
            reader.forget()
            yield Rejected(file.path.name, f"log cannot be read to its end: {file.error}")
        yield Mark(place, file.state(zone))


def _look(path: Path) -> _LogFile | None:
    """Take a first look at a file; None if it is empty, as certbot leaves one behind.

    Raises
    ------
    OSError, EOFError, zlib.error, ValueError
        If it cannot be read, or is no log of certbot.
    """
    if not path.is_file():
        raise OSError("it is not a file")
    stat = path.stat()
    with _opened(path) as file:
        first = file.readline(_LINE)
    if not first:
        return None
    if not begins_record(first):
        raise ValueError("it does not begin as certbot's logs do")
    return _LogFile(path, first, stat.st_size, stat.st_mtime_ns)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield cast("IO[bytes]", file)
