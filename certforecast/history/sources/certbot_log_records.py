"""The entries of certbot's log, and what in them can be parsed.

The format is that of ``FILE_FMT`` in certbot's ``_internal/log.py``: ``TIME:LEVEL:LOGGER:MESSAGE``, where the
message often has many lines. Times are local, without a zone.
"""

import ast
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

__all__ = ["Record", "begins_run", "records", "time_of"]

_HEAD: Final = re.compile(rb"(20\d\d-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}):[A-Z]+:([\w.]+):(.*)", re.DOTALL)
#: The message that every run begins with.
_RUN: Final = "certbot version: "
#: The longest message that is kept, in bytes; what goes on is cut off.
_LONGEST: Final = 1 << 18

_DATE: Final = re.compile(r"^Date: (.{1,40})$", re.MULTILINE)
_NAME: Final = re.compile(r'"value": "([^"\\]{1,255})"')
_QUARTER: Final = timedelta(minutes=15)
#: The widest offset there is, in quarters of an hour: UTC+14.
_WIDEST: Final = 14 * 4


@dataclass(frozen=True, slots=True)
class Record:
    """One entry: where it stood, its local time, its logger, and its message.

    The logs of ACME requests and answers are those of certbot's library ``acme``.
    """

    position: str
    at: datetime
    logger: str
    message: str

    @property
    def begins_run(self) -> bool:
        """Whether it is the first of a run."""
        return self.message.startswith(_RUN)

    @property
    def arguments(self) -> list[str]:
        """The words of the command line, if it tells them."""
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            told = ast.literal_eval(self.message.partition("Arguments: ")[2])
            return [word for word in told if isinstance(word, str)] if isinstance(told, list) else []
        return []

    @property
    def ordered(self) -> tuple[str, ...]:
        """The names of the order, if it is the request of one."""
        if self.message.startswith("JWS payload:") and '"identifiers"' in self.message:
            return tuple(_NAME.findall(self.message))
        return ()

    @property
    def status(self) -> str:
        """The HTTP status, if it is an answer."""
        _, _, line = self.message.partition("Received response:\nHTTP ")
        return line[:3]

    @property
    def answer(self) -> dict[str, Any]:
        """The JSON object, if it is an answer with one."""
        with suppress(ValueError, RecursionError):
            _, _, body = self.message.partition("\n{")
            found, _ = json.JSONDecoder().raw_decode("{" + body)
            if isinstance(found, dict):
                return found
        return {}

    @property
    def ahead(self) -> timedelta | None:
        """How far the log's time is ahead of the answer's ``Date``, to the quarter of an hour."""
        match = _DATE.search(self.message)
        if match is None:
            return None
        try:
            sent = parsedate_to_datetime(match[1])
            sent = (sent if sent.tzinfo else sent.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            return None
        quarters = round((self.at - sent.replace(tzinfo=None)) / _QUARTER)
        return quarters * _QUARTER if abs(quarters) <= _WIDEST else None


def records(lines: Iterable[tuple[str, bytes]]) -> Iterator[Record]:
    """Put lines together to records; what stands before the first is passed over.

    Parameters
    ----------
    lines : iterable of (str, bytes)
        Each with its position.
    """
    head: tuple[str, datetime, str] | None = None
    message = bytearray()
    for position, line in lines:
        match = _HEAD.fullmatch(line) if line[:1] == b"2" else None
        if match is not None and (at := _time(match[1])) is not None:
            if head is not None:
                yield Record(*head, _text(message))
            head = position, at, match[2].decode()
            message = bytearray(match[3])
        elif len(message) < _LONGEST:
            message += line
    if head is not None:
        yield Record(*head, _text(message))


def time_of(line: bytes) -> datetime | None:
    """Give the local time of an entry by its first line; None if it is none."""
    match = _HEAD.fullmatch(line)
    return None if match is None else _time(match[1])


def begins_run(line: bytes) -> bool:
    """Tell whether a line is the first of a run."""
    match = _HEAD.fullmatch(line) if _RUN.encode() in line else None
    return match is not None and match[3].startswith(_RUN.encode())


def _time(text: bytes) -> datetime | None:
    with suppress(ValueError):
        return datetime.fromisoformat(text.decode())
    return None


def _text(message: bytearray) -> str:
    return message.decode("utf-8", "replace").rstrip("\r\n")
