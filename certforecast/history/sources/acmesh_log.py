"""What acme.sh's log tells: orders, failed challenges, failures and their causes, reloads.

Every entry is ``[DATE] TEXT``, the date as ``date`` prints it: in the C locale, or as American English has
it. The texts are those of acme.sh 2.8 to 3.1. At acme.sh's own log level (2) the CA's problem documents are
logged too, and give failures their codes.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from certforecast.errors import InputError

__all__ = ["LogEvent", "begins_attempt", "read_log", "time_of"]

_DATE: Final = re.compile(
    r"\[[A-Z][a-z]{2},? +(?:(?P<day>\d{1,2}) )?(?P<month>[A-Z][a-z]{2}) +(?:(?P<day_after>\d{1,2}) +)?"
    r"(?:(?P<year>\d{4}) )?(?P<time>\d\d:\d\d:\d\d)(?: (?P<half>AM|PM))? (?P<zone>[A-Z]{2,5}|[+-]\d{2,4})"
    r"(?: (?P<year_after>\d{4}))?\] (?P<text>.*)",
    re.DOTALL,
)
_UTC: Final = frozenset({"UTC", "GMT", "Z"})
_LONGEST: Final = 1 << 16
#: The longest detail of an event, in characters.
_DETAIL: Final = 300

_PROBLEM: Final = re.compile(r"urn:(?:ietf:params:)?acme:error:(\w{1,40})")
#: Problems that acme.sh overcomes by itself.
_PASSING: Final = frozenset({"badNonce", "orderNotReady", "alreadyReplaced"})
_COLOUR: Final = re.compile(r"\x1b\[[\d;]*m")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NEVER: Final = datetime.min.replace(tzinfo=UTC)

#: "a.example: Invalid status. Verification error details: ...", and how older versions have put it.
_REFUSED: Final = re.compile(
    r"(?:(\S+): ?Invalid status[.,] Verification error(?: details)?"
    r"|(?:Invalid status, )?(\S+?): ?Verify error(?: detail)?): ?(.*)",
    re.DOTALL,
)
#: Errors that end an attempt; their text is its detail. What follows them is the same for all.
_ERRORS: Final = ("Error ", "Signing failed", "Create new order with", "Cannot ", "Can not ")
_GIVEN_UP: Final = ("_on_issue_err", "Please check log file for more details")

#: The first line of an attempt.
_BEGINS: Final = re.compile(r"(?:Renewing: |_main_domain=)'([^']+)'|Renew: '?([^' ]+)'?$")


@dataclass(frozen=True, slots=True)
class LogEvent:
    """Something that the log tells: where it stood, when, of which domain, and why."""

    position: str
    at: datetime
    kind: str
    lineage: str
    host: str | None = None
    code: str | None = None
    detail: str | None = None


@dataclass(slots=True)
class _Attempt:
    """The turn of one domain."""

    lineage: str
    ordered: bool = False
    over: bool = False  # issued, or failed
    issued: bool = False
    code: str | None = None  # of the last problem
    detail: str | None = None  # of the last error


def read_log(
    lines: Iterable[tuple[str, bytes]], zone: ZoneInfo
) -> Iterator[LogEvent | tuple[str, InputError]]:
    """Give the events of a log.

    Parameters
    ----------
    lines : iterable of (str, bytes)
        Each with its position.
    zone : ZoneInfo
        Where the log names a zone that is neither UTC nor an offset, it must be this one's.

    Yields
    ------
    LogEvent or (str, InputError)
        For an event whose time cannot be told, its position and why.
    """
    attempt = _Attempt("")
    for position, line in lines:
        match = _match(line)
        text = _text(match["text"] if match else line[:_LONGEST].decode("utf-8", "replace"))
        if match is not None and (domain := _domain(text)) is not None:
            if domain != attempt.lineage or attempt.ordered or attempt.over:
                attempt = _Attempt(domain)
            continue
        if (problem := _PROBLEM.search(text)) and problem[1] not in _PASSING:
            attempt.code = problem[1]
        if match is None or not attempt.lineage:
            continue
        for event in _told(attempt, text):
            try:
                yield replace(event, position=position, at=_moment(match, zone))
            except InputError as error:
                yield position, error


def _told(attempt: _Attempt, text: str) -> Iterator[LogEvent]:
    """Give what a text tells, but for its place and time."""

    def event(
        kind: str, code: str | None = None, detail: str | None = None, host: str | None = None
    ) -> LogEvent:
        return LogEvent("", _NEVER, kind, attempt.lineage, host, code, detail)

    if text.startswith("Le_OrderFinalize='http"):
        if not attempt.ordered:
            attempt.ordered = True
            yield event("order_created")
    elif match := _REFUSED.match(text):
        attempt.detail = _short(match[3])
        yield event("challenge_failed", attempt.code, attempt.detail, match[1] or match[2])
    elif text.startswith("Cert success."):
        attempt.over = attempt.issued = True
        yield event("issued")
    elif text.startswith("Reload success"):
        yield event("reloaded")
    elif text.startswith("Reload error for"):
        yield event("reload_failed", "reloadcmd")
    elif text.startswith("Error deploying for domain"):
        yield event("install_failed", "deploy-hook")
    elif text.startswith(_ERRORS):
        attempt.detail = _short(text)
    elif text.startswith(_GIVEN_UP) and not attempt.over:
        attempt.over = True
        yield event("order_failed", attempt.code, attempt.detail)


def time_of(line: bytes) -> float | None:
    """Give the time of an entry, to order files by; None if it is none."""
    match = _match(line)
    with suppress(ValueError):
        return None if match is None else _local(match).replace(tzinfo=UTC).timestamp()
    return None


def begins_attempt(line: bytes) -> bool:
    """Tell whether a line is the first of an attempt."""
    match = _match(line)
    return match is not None and _domain(_text(match["text"])) is not None


def _match(line: bytes) -> re.Match[str] | None:
    return _DATE.match(line[:_LONGEST].decode("utf-8", "replace")) if line.startswith(b"[") else None


def _text(text: str) -> str:
    return _COLOUR.sub("", text).rstrip()


def _domain(text: str) -> str | None:
    match = _BEGINS.match(text)
    return (match[1] or match[2]) if match else None


def _local(match: re.Match[str]) -> datetime:
    """Give the time as it stands.

    Raises
    ------
    ValueError
        If there is no such time.
    """
    day, year = match["day"] or match["day_after"], match["year"] or match["year_after"]
    half = match["half"] or ""
    written = f"{day} {_MONTHS.index(match['month']) + 1} {year} {match['time']} {half}"
    return datetime.strptime(written, "%d %m %Y %I:%M:%S %p" if half else "%d %m %Y %H:%M:%S ")  # noqa: DTZ007


def _moment(match: re.Match[str], zone: ZoneInfo) -> datetime:
    """Give the time in UTC.

    Raises
    ------
    InputError
        If there is no such time, or it is of another zone than `zone`.
    """
    try:
        local = _local(match)
    except ValueError:
        raise InputError("date of the entry cannot be read; run acme.sh with LC_ALL=C") from None
    name = match["zone"]
    if name in _UTC:
        return local.replace(tzinfo=UTC)
    if name[0] in "+-":
        ahead = timedelta(hours=int(name[1:3]), minutes=int(name[3:] or 0))
        return (local - (ahead if name[0] == "+" else -ahead)).replace(tzinfo=UTC)
    for fold in (1, 0):  # the name tells the two apart when clocks repeat an hour
        aware = local.replace(tzinfo=zone, fold=fold)
        if aware.tzname() == name:
            return aware.astimezone(UTC)
    raise InputError(f"time is in the zone {name}, which {zone.key} is not; give the log's own timezone")


def _short(text: str) -> str | None:
    return " ".join(text.split())[:_DETAIL] or None
