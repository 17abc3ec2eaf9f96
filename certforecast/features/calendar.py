"""Calendar: weekdays, public holidays, the year-end freeze, and how crowded the expiry is."""

from datetime import date
from typing import TYPE_CHECKING, Any, cast

from certforecast.features.catalogue import flag, number
from certforecast.features.context import KEY, Context

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["FEATURES", "calendar"]

_EPOCH = date(1970, 1, 1)

#: First and last day of the usual year-end change freeze, as (month, day). An assumption.
FREEZE = ((12, 15), (1, 5))

FEATURES = (
    number("calendar", "expiry_weekday", "weekday", "0 for Monday to 6 for Sunday."),
    number("calendar", "due_weekday", "weekday", "0 for Monday to 6 for Sunday."),
    number("calendar", "free_days", "days", "Public holidays in the 14 days up to expiry."),
    flag(
        "calendar",
        "expires_in_freeze",
        "Whether it expires in the year-end freeze (15 December to 5 January).",
    ),
    number("calendar", "crowding", "share", "Of the live certificates, expiring within 3 days of this one."),
)


def calendar(context: Context) -> "ir.Table":
    """Compute the calendar features for every target; ``as_of, fingerprint`` and `FEATURES`."""
    import ibis

    targets = context.targets
    free = ibis.memtable({"free": _free_days(context)}, schema={"free": "float64"})
    near = (free.free > targets.expires.floor() - 14.0) & (free.free <= targets.expires.floor())
    counted = (
        targets.select(*KEY, "expires")
        .inner_join(free, near)
        .group_by(list(KEY))
        .aggregate(free_days=lambda t: t.count())
    )
    other = targets.select("as_of", other_expires="expires")
    pairs = targets.select(*KEY, "expires").inner_join(other, "as_of")
    crowd = pairs.group_by(list(KEY)).aggregate(
        crowding=((pairs.other_expires - pairs.expires).abs() <= 3.0).cast("float64").mean()
    )
    rows = targets
    for table in (counted, crowd):
        rows = rows.left_join(table, list(KEY)).drop("as_of_right", "fingerprint_right")
    frozen = ibis.memtable({"frozen": _frozen_days(context)}, schema={"frozen": "float64"})
    return rows.select(
        *KEY,
        "crowding",
        expiry_weekday=_weekday(rows.expires),
        due_weekday=_weekday(rows.due),
        free_days=rows.free_days.fill_null(0).cast("float64"),
        expires_in_freeze=rows.expires.floor().cast("float64").isin(frozen.frozen).cast("float64"),
    )


def _weekday(moment: "ir.FloatingValue") -> "ir.FloatingValue":
    # 1970-01-01 was a Thursday.
    return cast("ir.FloatingValue", ((moment.floor().cast("int64") + 3) % 7).cast("float64"))


def _years(context: Context) -> range:
    if context.frame.empty:
        return range(1970, 1971)
    return range(context.frame["as_of"].min().year, context.frame["as_of"].max().year + 4)


def _free_days(context: Context) -> list[float]:
    import holidays

    found: Any = holidays.country_holidays(context.country, years=_years(context))
    return sorted(float((day - _EPOCH).days) for day in found)


def _frozen_days(context: Context) -> list[float]:
    (first_month, first_day), (last_month, last_day) = FREEZE
    return [
        float(number)
        for year in _years(context)
        for number in range(
            (date(year - 1, first_month, first_day) - _EPOCH).days,
            (date(year, last_month, last_day) - _EPOCH).days + 1,
        )
    ]
