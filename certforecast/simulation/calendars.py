"""Days that matter: working days, change freezes, batch days, and the validity limits in force."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np

from certforecast import validity
from certforecast.simulation.columns import Flags, Floats, Ints
from certforecast.validity import Step, calendars

__all__ = [
    "BATCH_MONTHS",
    "COUNTRIES",
    "LETS_ENCRYPT_DAYS",
    "PUBLIC_LIMIT_DAYS",
    "Calendar",
    "day_of",
    "limit_on",
    "moment_of",
]

_EPOCH: Final = date(1970, 1, 1)

#: Where owners sit; sets their public holidays.
COUNTRIES: Final = ("US", "DE", "GB", "IN")

#: Months in which each batch pattern renews.
BATCH_MONTHS: Final = (
    frozenset(range(1, 13)),
    frozenset({1, 3, 5, 7, 9, 11}),
    frozenset({2, 5, 8, 11}),
    frozenset({3, 9}),
)

#: Longest validity of public TLS certificates, and of Let's Encrypt's default profile.
PUBLIC_LIMIT_DAYS: Final = calendars()["public"].steps
LETS_ENCRYPT_DAYS: Final = calendars()["letsencrypt"].steps


def day_of(moment: datetime) -> int:
    """Give the whole days from 1970 to this moment (UTC)."""
    return (moment.astimezone(UTC).date() - _EPOCH).days


def moment_of(day: float) -> datetime:
    """Give the moment so many days after 1970 (UTC)."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)


def limit_on(day: int, steps: tuple[Step, ...] = PUBLIC_LIMIT_DAYS) -> float:
    """Give the validity limit in force on a day counted from 1970, in days."""
    return validity.limit_on(_EPOCH + timedelta(days=day), steps)


class Calendar:
    """Lookup tables over a range of days.

    Parameters
    ----------
    first, last : int
        Days since 1970, both included.
    """

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.last = last
        days = [_EPOCH + timedelta(days=day) for day in range(first, last + 1)]
        #: (countries, days): people are at work.
        self._working: Flags = np.stack([_working(days, country) for country in COUNTRIES])
        #: (days,): the year-end change freeze.
        self._frozen: Flags = np.array(
            [(d.month, d.day) >= (12, 17) or (d.month, d.day) <= (1, 4) for d in days]
        )
        #: (patterns, days): the second Tuesday of the pattern's months.
        self._batch: Flags = np.array(
            [
                [d.weekday() == 1 and 8 <= d.day <= 14 and d.month in months for d in days]
                for months in BATCH_MONTHS
            ]
        )
        self._next_batch: Floats = np.stack([_next_after(row, first) for row in self._batch])

    def working(self, day: int, country: Ints) -> Flags:
        """Tell for each country index whether people work on this day."""
        flags: Flags = self._working[country, day - self.first]
        return flags

    def frozen(self, day: int) -> bool:
        """Tell whether the year-end change freeze holds."""
        return bool(self._frozen[day - self.first])

    def batch(self, day: int, pattern: Ints) -> Flags:
        """Tell for each batch pattern whether this is its day."""
        flags: Flags = self._batch[pattern, day - self.first]
        return flags

    def next_batch(self, day: int, pattern: Ints) -> Floats:
        """Give each pattern's first batch day after this one (infinite beyond the table)."""
        after: Floats = self._next_batch[pattern, day - self.first]
        return after


def _working(days: list[date], country: str) -> Flags:
    from holidays import country_holidays

    public = country_holidays(country, years=range(days[0].year, days[-1].year + 1))
    return np.array([day.weekday() < 5 and day not in public for day in days])


def _next_after(flags: Flags, first: int) -> Floats:
    days = np.flatnonzero(flags).astype(np.float64) + first
    position = np.searchsorted(days, np.arange(len(flags)) + first, side="right")
    return np.append(days, np.inf)[position]
