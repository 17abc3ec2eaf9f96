"""When a certificate began, of which only the end was kept."""

from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final

from certforecast.clock import as_utc
from certforecast.errors import InputError

__all__ = ["estimated_not_before"]

_ALWAYS: Final = datetime.min.replace(tzinfo=UTC)

#: Usual lifetimes in days, and from which beginning on they are usual. A lifetime that hardly anyone had yet
#: would be taken for that of every older certificate first seen in its last weeks.
_USUAL: Final = (
    (160 / 24, datetime(2026, 1, 15, tzinfo=UTC)),  # Let's Encrypt, profile "shortlived", open to all
    (45, datetime(2028, 2, 16, tzinfo=UTC)),  # Let's Encrypt, default by then (notice of 2025-12-02)
    (47, datetime(2029, 3, 15, tzinfo=UTC)),  # the most allowed (CA/Browser Forum ballot SC-081v3)
    (64, datetime(2027, 2, 10, tzinfo=UTC)),  # Let's Encrypt, default by then
    (90, _ALWAYS),  # Let's Encrypt and most other ACME CAs; cert-manager's default
    (100, datetime(2027, 3, 15, tzinfo=UTC)),  # the most allowed (SC-081v3)
    (180, _ALWAYS),  # Buypass
    (184, _ALWAYS),  # half a year by the calendar, at most
    (199, datetime(2026, 2, 24, tzinfo=UTC)),  # DigiCert, a day below the limit
    (200, datetime(2026, 3, 15, tzinfo=UTC)),  # the most allowed (SC-081v3)
    (365, _ALWAYS),
    (366, _ALWAYS),  # a year with a leap day, or to the end of its last day
    (397, _ALWAYS),  # a year and a month, a day below the limit
    (398, _ALWAYS),  # the most allowed from 2020-09-01 to 2026-03-14 (SC-081v3)
    (730, _ALWAYS),
    (731, _ALWAYS),
    (825, _ALWAYS),  # the most allowed from 2018-03-01 to 2020-08-31 (ballot 193)
    (1095, _ALWAYS),
    (1096, _ALWAYS),
)
#: Longer ones (private CAs) are whole years, each of so many days.
_YEAR: Final = 366


def estimated_not_before(first_seen: datetime, not_after: datetime) -> datetime:
    """Estimate when a certificate began from its end and from when it was first seen.

    The shortest usual lifetime is taken that reaches back to the first sighting. This is right where the
    certificate was seen soon after it was put in place, and a lower bound of the lifetime otherwise. Only the
    first sighting counts, never a later one: an estimate that later looks could change would tell at the
    first sighting what was not known then.

    Parameters
    ----------
    first_seen : datetime
        When the certificate was first seen.
    not_after : datetime
        When it expires. May lie before `first_seen`: some are found expired.

    Returns
    -------
    datetime
        In UTC, not later than `first_seen`, and earlier than `not_after`.

    Raises
    ------
    InputError
        If the calendar does not reach back so far.

    Examples
    --------
    >>> from datetime import date
    >>> estimated_not_before(datetime(2024, 3, 5), datetime(2024, 6, 1)).date()
    datetime.date(2024, 3, 3)
    """
    seen, end = as_utc(first_seen), as_utc(not_after)
    try:
        begins = (end - timedelta(days=days) for days, since in _USUAL if end - timedelta(days=days) >= since)
        found = next((begin for begin in begins if begin <= seen), None)
        return found or end - timedelta(days=_YEAR * ceil((end - seen) / timedelta(days=_YEAR)))
    except OverflowError as error:
        raise InputError(f"not_after {end.isoformat()} is too early for a certificate") from error
