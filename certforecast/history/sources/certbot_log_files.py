"""The files of certbot's log: rotated by certbot at every run, or by logrotate."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from certforecast.history.sources import Mark, Marks, Rejected
from certforecast.history.sources.batching import Skipped
from certforecast.history.sources.certbot_log import LogEvent, LogReader
from certforecast.history.sources.certbot_log_records import begins_run, records, time_of
from certforecast.history.sources.rotating import log_files

__all__ = ["NAME", "read_logs"]

#: What certbot calls its log.
NAME: Final = "letsencrypt.log"


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
    for file in log_files(folder / NAME, time_of, begins_run):
        if isinstance(file, Rejected):
            yield file
            continue
        state = marks.get(file.place)
        if state is not None and not file.resume(state, zone.key):
            reader.forget()
            yield Skipped(file.place)
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
        yield Mark(file.place, file.state(zone.key))
