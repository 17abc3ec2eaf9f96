"""Calendar: weekdays, public holidays, the year-end freeze, and how crowded the expiry is."""

from typing import TYPE_CHECKING, Any, cast

from certforecast.errors import InputError
from certforecast.features.catalogue import flag, number
from certforecast.features.context import KEY, Context, joined
from certforecast.renewals.engine import brought

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import ibis.expr.types as ir
    import pandas as pd

__all__ = ["FEATURES", "calendar"]

#: Years around `as_of` that the calendar covers: a certificate of ten years may be long past due, or far off.
_YEARS_BACK, _YEARS_AHEAD = 11, 11

#: First and last day of the usual year-end change freeze, as (month, day). An assumption.
FREEZE = ((12, 15), (1, 5))

#: Columns of the days that the calendar covers, in days since 1970-01-01.
_DATES = {"day": "int64", "free": "float64", "frozen": "float64"}

FEATURES = (
    number("calendar", "expiry_weekday", "weekday", "0 for Monday to 6 for Sunday.", "calendar"),
    number("calendar", "due_weekday", "weekday", "0 for Monday to 6 for Sunday.", "calendar"),
    number("calendar", "free_days", "days", "Public holidays in the 14 days up to expiry.", "calendar"),
    flag(
        "calendar",
        "expires_in_freeze",
        "Whether it expires in the year-end freeze (15 December to 5 January).",
        "calendar",
    ),
    flag("calendar", "due_in_freeze", "Whether it falls due in the year-end freeze.", "calendar"),
    number(
        "calendar",
        "crowding",
        "share",
        "Of the live certificates, expiring within 3 calendar days of this one.",
        "live",
    ),
)


def calendar(context: Context) -> "ir.Table":
    """Compute the calendar features for every target; ``as_of, fingerprint`` and `FEATURES`."""
    targets = context.targets.select(
        *KEY,
        "expires",
        "due",
        expiry_day=lambda t: t.expires.floor().cast("int64"),
        due_day=lambda t: t.due.floor().cast("int64"),
    )
    dates = brought(context.tables.certificates, context.known.moments, _DATES, _days, context.country)
    on_expiry = dates.select(expiry_day="day", free_days="free", expires_in_freeze="frozen")
    on_due = dates.select(due_day="day", due_in_freeze="frozen")
    counts = targets.group_by(["as_of", "expiry_day"]).aggregate(number=targets.count())
    near = counts.select("as_of", "number", other="expiry_day")
    crowds = counts.select("as_of", "expiry_day").inner_join(near, "as_of")
    crowds = crowds.group_by(["as_of", "expiry_day"]).aggregate(
        crowding=crowds.number.sum(where=(crowds.other - crowds.expiry_day).abs() <= 3) / crowds.number.sum()
    )
    rows = joined(
        targets, (on_expiry, ("expiry_day",)), (on_due, ("due_day",)), (crowds, ("as_of", "expiry_day"))
    )
    return rows.select(
        *KEY,
        "crowding",
        "expires_in_freeze",
        "due_in_freeze",
        expiry_weekday=_weekday(rows.expires),
        due_weekday=_weekday(rows.due),
        free_days=rows.free_days,
    )


def _weekday(moment: "ir.FloatingValue") -> "ir.FloatingValue":
    # 1970-01-01 was a Thursday.
    return cast("ir.FloatingValue", ((moment.floor().cast("int64") + 3) % 7).cast("float64"))


def _days(moments: "Sequence[datetime]", country: str) -> "pd.DataFrame":
    """List the days that a live certificate may expire on or fall due, with what is known of them."""
    import holidays
    import pandas as pd

    first, last = (edge.year for edge in (min(moments), max(moments)))
    years = range(first - _YEARS_BACK, last + _YEARS_AHEAD + 1)
    try:
        found: Any = holidays.country_holidays(country, years=years)
    except NotImplementedError as error:
        raise InputError(
            f"no public holidays are known of {country!r}: give an ISO code such as DE"
        ) from error
    (first_month, first_day), (last_month, last_day) = FREEZE
    days = pd.date_range(f"{years[0]}-01-01", f"{years[-1]}-12-31")
    free = pd.Series(days.isin(pd.to_datetime(sorted(found))), index=days)
    month_day = days.month * 100 + days.day
    frozen = (month_day >= first_month * 100 + first_day) | (month_day <= last_month * 100 + last_day)
    return pd.DataFrame(
        {
            "day": (days - pd.Timestamp(0)).days.astype("int64"),
            "free": free.rolling(14, min_periods=1).sum().to_numpy(dtype="float64"),
            "frozen": frozen.astype("float64"),
        }
    )
