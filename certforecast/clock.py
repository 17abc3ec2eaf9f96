"""Time: always UTC, always passed in."""

from collections.abc import Callable
from datetime import UTC, datetime

__all__ = ["Clock", "as_utc", "parse_moment", "system_clock"]

#: A clock is any callable that gives the present as an aware UTC datetime.
Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Give the present moment, in UTC."""
    return datetime.now(UTC)


def as_utc(moment: datetime) -> datetime:
    """Convert to UTC; a naive datetime is taken to be UTC already.

    Raises
    ------
    TypeError
        If it is no datetime, but a text, say.
    """
    if not isinstance(moment, datetime):
        raise TypeError(f"{moment!r} is no datetime; certforecast.clock.parse_moment makes one of a text")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def parse_moment(text: str) -> datetime:
    """Read an ISO 8601 date or date-time as UTC (``2026-10-01``, ``2026-10-01T06:00Z``).

    Raises
    ------
    ValueError
        If `text` is not ISO 8601.
    """
    return as_utc(datetime.fromisoformat(text))
