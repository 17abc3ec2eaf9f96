"""When changes may be made: maintenance windows, freezes, and the hours people work."""

import re
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from certforecast.errors import InputError
from certforecast.settings import FreezeSettings, PlanningSettings, WindowSettings

if TYPE_CHECKING:
    from dateutil import rrule

    from certforecast.planning.plan import Action

__all__ = ["Place", "Slots", "closed", "first_moment", "place_of", "working_hours"]

#: A working day, local time.
_OPENS, _CLOSES = time(8), time(18)
_WORKING_DAY = timedelta(hours=_CLOSES.hour - _OPENS.hour)

#: A recurrence that names no start counts from here, whenever it is asked: a Monday, and a first of January.
_EPOCH = datetime(2001, 1, 1)  # noqa: DTZ001 (local time is meant)
_DAY = timedelta(days=1)
#: To count these from then takes minutes, or never ends.
_ENDLESS = re.compile(r"FREQ=(SECONDLY|MINUTELY)|INTERVAL=0+\b", re.IGNORECASE)
_COUNTING = threading.Lock()

#: Who and where a job is: owner, environment, and the names and endpoints it touches.
Place = tuple[str | None, str | None, tuple[str, ...]]


class Slots:
    """The time ahead, in pieces of equal length.

    Parameters
    ----------
    begin : datetime
        With a time zone.
    planning : PlanningSettings
        Horizon, slots, windows and freezes.

    Raises
    ------
    InputError
        If a window's recurrence or the time zone is not understood.
    """

    def __init__(self, begin: datetime, planning: PlanningSettings) -> None:
        self.length = timedelta(hours=planning.slot_hours)
        count = max(1, round(timedelta(days=planning.horizon_days) / self.length))
        self.starts = [begin.astimezone(UTC) + self.length * number for number in range(count)]
        self._freezes = planning.freezes
        zone = _zone(planning.timezone)
        self._windows = [
            (window, _openings(window, self.starts[0], self.end, zone)) for window in planning.windows
        ]
        self._known: dict[Place, list[datetime | None]] = {}

    @property
    def end(self) -> datetime:
        """The end of the last slot."""
        return self.starts[-1] + self.length

    @property
    def days(self) -> list[float]:
        """When each slot starts, in days from the first."""
        return [(start - self.starts[0]) / timedelta(days=1) for start in self.starts]

    def moments(self, place: Place, *, expired: bool = False) -> Sequence[datetime | None]:
        """Give for each slot the first moment at which a place may be changed; None where none is.

        What has expired may be changed at any time: the harm is done already.
        """
        if expired:
            return self.starts
        if place not in self._known:
            self._known[place] = self._moments(place, self.starts[0])
        return self._known[place]

    def moments_within(
        self, place: Place, begin: datetime, chosen: datetime, end: datetime, *, urgent: bool = False
    ) -> Sequence[datetime | None]:
        """Give for each slot the first moment at which a place may be changed, heeding the CA's window.

        From the moment chosen in it on; where nothing may be changed between that and the end, from its
        beginning on.

        Parameters
        ----------
        place : Place
        begin, end : datetime
            The CA's window.
        chosen : datetime
            In it, or before.
        urgent : bool
            Any time is good, as for what has expired.
        """
        found: list[datetime | None] = []
        for since in (chosen, begin):
            found = self._moments(None if urgent else place, since)
            if any(moment is not None and moment <= end for moment in found):
                return found
        return self._moments(None if urgent else place, chosen)

    def _moments(self, place: Place | None, since: datetime) -> list[datetime | None]:
        freezes, openings = [], None
        if place is not None:
            freezes = [freeze for freeze in self._freezes if _about(freeze, place)]
            mine = [openings for window, openings in self._windows if _about(window, place)]
            openings = sorted(opening for found in mine for opening in found) if mine else None
        return [
            first_moment(max(start, since), start + self.length, openings, freezes) for start in self.starts
        ]


def first_moment(
    start: datetime,
    end: datetime,
    openings: Sequence[tuple[datetime, datetime]] | None,
    freezes: Sequence[FreezeSettings],
) -> datetime | None:
    """Give the first moment from `start` to before `end` that lies in an opening and in no freeze.

    Parameters
    ----------
    openings : sequence of (datetime, datetime) or None
        Sorted. None: always open.
    freezes : sequence of FreezeSettings
    """
    now = start
    while now < end:
        if openings is not None:
            coming = next(((begin, close) for begin, close in openings if close > now), None)
            if coming is None or coming[0] >= end:
                return None
            now = max(now, coming[0])
        frozen = next((freeze for freeze in freezes if freeze.start <= now < freeze.end), None)
        if frozen is None:
            return now
        now = frozen.end.astimezone(UTC)
    return None


def place_of(action: "Action") -> Place:
    """Give who and where an action is."""
    return action.owner, action.environment, (*action.names, *(each.host for each in action.endpoints))


def closed(place: Place, planning: PlanningSettings, now: datetime) -> str | None:
    """Say why a place may not be changed now; None if it may.

    Raises
    ------
    InputError
        If a window's recurrence or the time zone is not understood.
    """
    for freeze in planning.freezes:
        if _about(freeze, place) and freeze.start <= now < freeze.end:
            return f"nothing may be changed there until {freeze.end:%Y-%m-%d %H:%M %Z} (planning.freezes)"
    windows = [window for window in planning.windows if _about(window, place)]
    zone = _zone(planning.timezone)
    if windows and not any(
        begin <= now < end for window in windows for begin, end in _openings(window, now, now, zone)
    ):
        return "it may be changed in its windows only (planning.windows)"
    return None


def working_hours(slots: Slots, planning: PlanningSettings) -> list[float]:
    """Give the share of a working day that lies in each slot; 0 to 1.

    Raises
    ------
    InputError
        If the country or the time zone is not known.
    """
    import holidays

    zone = _zone(planning.timezone)
    try:
        free = holidays.country_holidays(planning.country) if planning.country else {}
    except NotImplementedError as error:
        raise InputError(
            f"planning.country {planning.country!r} is no country whose holidays are known: give its "
            "ISO 3166 code, such as DE"
        ) from error
    shares = []
    for start in slots.starts:
        begin, end, hours = start.astimezone(zone), (start + slots.length).astimezone(zone), timedelta()
        for day in {begin.date(), end.date()}:
            if day.weekday() < 5 and day not in free:
                opens, closes = (datetime.combine(day, at, zone) for at in (_OPENS, _CLOSES))
                hours += max(min(closes, end) - max(opens, begin), timedelta())
        shares.append(hours / _WORKING_DAY)
    return shares


def _about(hosts: WindowSettings | FreezeSettings, place: Place) -> bool:
    owner, environment, names = place
    return (
        hosts.owner in (None, owner)
        and hosts.environment in (None, environment)
        and (hosts.host is None or any(fnmatchcase(name, hosts.host) for name in names))
    )


def _openings(
    window: WindowSettings, start: datetime, end: datetime, zone: ZoneInfo
) -> list[tuple[datetime, datetime]]:
    """Give when a window is open between two moments."""
    try:
        length = timedelta(hours=window.hours)
        first, last = (at.astimezone(zone).replace(tzinfo=None) for at in (start - length - _DAY, end))
        found = _between(window.rrule, first, last)
    except Exception as error:  # dateutil raises whatever it runs into, and some of it not before it counts
        raise InputError(
            f"planning.windows: {window.rrule!r} is no recurrence (RFC 5545, section 3.3.10): {error}; "
            "write it in local time, like FREQ=WEEKLY;BYDAY=TU,TH;BYHOUR=2;BYMINUTE=0"
        ) from error
    opens = [moment.replace(tzinfo=zone).astimezone(UTC) for moment in found]
    return [(begin, begin + length) for begin in opens]


def _between(text: str, first: datetime, last: datetime) -> list[datetime]:
    """Give the moments of a recurrence, in local time; one thread at a time counts.

    A rule that remembers keeps its own lock when it comes to its end or breaks off, and others wait for ever.
    """
    with _COUNTING:
        try:
            return list(_rule(text).between(first, last, inc=True))
        except BaseException:
            _rule.cache_clear()
            raise


@lru_cache(maxsize=64)
def _rule(text: str) -> "rrule.rrule | rrule.rruleset":
    """Read a recurrence in local time; it remembers what it has counted."""
    from dateutil.rrule import rrulestr

    if _ENDLESS.search(text):
        raise ValueError("it comes more often than once an hour")
    return rrulestr(text, dtstart=_EPOCH, cache=True)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InputError(
            f"planning.timezone {name!r} is not known: name one of the IANA database, such as Europe/Berlin"
        ) from error
