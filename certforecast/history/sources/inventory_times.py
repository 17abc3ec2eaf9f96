"""Times as spreadsheets, monitors and managers write them."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, NamedTuple

from certforecast.errors import InputError

__all__ = ["Moment", "day_first_evidence", "looks_like_time", "read_time"]

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCKS: Final = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%I:%M:%S %p", "%I:%M %p")

#: 03/04/2026, with or without a time: the 3rd of April or the 4th of March.
_NUMERIC: Final = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})(?:[ ,T]+(.+))?", re.ASCII)
_SECONDS: Final = re.compile(r"\d{9,10}(?:\.\d+)?", re.ASCII)
_MILLISECONDS: Final = re.compile(r"\d{12,13}", re.ASCII)
_ASN1: Final = re.compile(r"(\d\d)?\d{12}Z", re.ASCII)
_OFFSET: Final = re.compile(r"[+-]\d\d:?\d\d", re.ASCII)
_TOKENS: Final = re.compile(r"[\s,]+|(?<=\d)-(?=[A-Za-z])|(?<=[A-Za-z])-(?=\d)")
#: The day from which Excel counts, such that its false leap year 1900 comes right.
_EXCEL: Final = datetime(1899, 12, 30, tzinfo=UTC)


class Moment(NamedTuple):
    """A time in UTC, and whether only its day was written."""

    at: datetime
    day_only: bool


def read_time(text: str, form: str | None, zone: tzinfo, day_first: bool | None) -> Moment:
    """Read a time.

    Parameters
    ----------
    text : str
        ISO 8601; with the month's name, as OpenSSL, e-mail and Windows write it; seconds or milliseconds
        since 1970; UTCTime; or numbers such as ``30.03.2026 14:00``.
    form : str, optional
        What it must be instead: ``"unix"``, ``"unix_ms"``, ``"excel"`` (days since 1900), or a format of
        :meth:`datetime.datetime.strptime`.
    zone : tzinfo
        For times that tell none.
    day_first : bool, optional
        How numbers are to be read; None refuses what could be read both ways.

    Raises
    ------
    InputError
        If it is none of these.

    Examples
    --------
    >>> read_time("Mar 30 12:00:00 2026 GMT", None, UTC, None).at.isoformat()
    '2026-03-30T12:00:00+00:00'
    """
    text = text.strip()
    try:
        moment, day_only = _formed(text, form) if form else _free(text, day_first)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        return Moment(moment.astimezone(UTC), day_only)
    except InputError:
        raise
    except (ValueError, OverflowError, OSError) as error:
        written = f" in the form {form!r}" if form else ""
        raise InputError(f"{text[:60]!r} is not a time{written}") from error


def looks_like_time(text: str) -> bool:
    """Tell whether a text is a time, perhaps one that can be read both ways."""
    return any(_reads(text, day_first) for day_first in (True, False))


def day_first_evidence(texts: Iterable[str]) -> set[bool | None]:
    """Tell how dates in numbers can be read.

    Returns
    -------
    set of bool or None
        True if one has its day first (30.03.2026), False if one has its month first, None if one could be
        either; empty without such dates.
    """
    found = set[bool | None]()
    for text in texts:
        if (match := _NUMERIC.fullmatch(text.strip())) and match[1] != match[3]:
            first, second = int(match[1]) > 12, int(match[3]) > 12
            found.add(first if first != second else None)
    return found


def _reads(text: str, day_first: bool) -> bool:
    try:
        read_time(text, None, UTC, day_first)
    except InputError:
        return False
    return True


def _formed(text: str, form: str) -> tuple[datetime, bool]:
    match form:
        case "unix":
            return datetime.fromtimestamp(float(text), UTC), False
        case "unix_ms":
            return datetime.fromtimestamp(float(text) / 1000, UTC), False
        case "excel":
            return (_EXCEL + timedelta(days=float(text))).replace(tzinfo=None), "." not in text
    day_only = not any(part in form for part in ("%H", "%I", "%c", "%X", "%s"))
    return datetime.strptime(text, form), day_only  # noqa: DTZ007 (the caller adds the zone)


def _free(text: str, day_first: bool | None) -> tuple[datetime, bool]:
    if _SECONDS.fullmatch(text):
        return datetime.fromtimestamp(float(text), UTC), False
    if _MILLISECONDS.fullmatch(text):
        return datetime.fromtimestamp(int(text) / 1000, UTC), False
    if match := _ASN1.fullmatch(text):
        century = "" if match[1] else "19" if text >= "50" else "20"
        return datetime.strptime(century + text[:-1] + "+0000", "%Y%m%d%H%M%S%z"), False
    if match := _NUMERIC.fullmatch(text):
        return _numeric(match, day_first)
    if any(letter.isalpha() for letter in text) and (named := _named(text)):
        return named
    iso = re.sub(
        r"\s*(?:UTC|GMT|Z)$|\s+(?=[+-]\d\d:?\d\d$)", lambda found: "+00:00" if found[0].strip() else "", text
    )
    iso = iso.replace("/", "-")
    return datetime.fromisoformat(iso), len(iso) <= len("2026-03-30")


def _numeric(match: re.Match[str], day_first: bool | None) -> tuple[datetime, bool]:
    first, second, year = int(match[1]), int(match[3]), int(match[4])
    if day_first is None and first != second:
        raise InputError(
            f"{match[0]!r} can be read with the day first or the month first:"
            " set day_first = true or false in the mapping"
        )
    day, month = (first, second) if day_first else (second, first)
    date = datetime(year, month, day)  # noqa: DTZ001 (the caller adds the zone)
    if match[5] is None:
        return date, True
    return _with_clock(date, match[5].split()), False


def _named(text: str) -> tuple[datetime, bool] | None:
    """Read a date with the month's name, its parts in any order; None if it has no such name."""
    year = month = day = None
    clock = list[str]()
    for token in filter(None, _TOKENS.split(text)):
        start = token[:3].lower()
        if start in _MONTHS and token.rstrip(".").isalpha() and month is None:
            month = _MONTHS.index(start) + 1
        elif start in _WEEKDAYS and token.rstrip(".").isalpha():
            continue
        elif token.isdecimal() and len(token) == 4:
            year = int(token)
        elif token.isdecimal() and len(token) <= 2 and day is None:
            day = int(token)
        else:
            clock.append(token)
    if month is None or year is None or day is None:
        return None
    date = datetime(year, month, day)  # noqa: DTZ001 (the caller adds the zone)
    return (_with_clock(date, clock), False) if clock else (date, True)


def _with_clock(date: datetime, tokens: list[str]) -> datetime:
    """Add a time of day: the clock, AM or PM, and a zone."""
    zone: tzinfo | None = None
    if tokens[-1].upper() in ("UTC", "GMT", "Z"):
        tokens, zone = tokens[:-1], UTC
    elif _OFFSET.fullmatch(tokens[-1]):
        zone, tokens = datetime.strptime(tokens[-1], "%z").tzinfo, tokens[:-1]
    if not tokens:
        return date.replace(tzinfo=zone)
    written = " ".join(tokens)
    for form in _CLOCKS:
        try:
            clock = datetime.strptime(written, form)  # noqa: DTZ007
        except ValueError:
            continue
        return datetime.combine(date, clock.time(), zone)
    raise ValueError(written)
