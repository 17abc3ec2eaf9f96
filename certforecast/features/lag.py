"""Renewal lag: when this lineage has renewed before, how regularly, and at what time of the day."""

import math
from typing import TYPE_CHECKING

from certforecast.features.catalogue import number
from certforecast.features.context import KEY, Context, joined, smoothed
from certforecast.renewals.engine import keep

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["FEATURES", "MEMORY", "lag"]

#: How many renewals of a lineage are remembered.
MEMORY = 6
#: So large that its neighbours among the numbers of the machine are 2**-30 away.
_COARSE = 1.5 * 2.0**22
#: Deviations are squared in these units, so that six squares stay below that, and are told apart well: of
#: lags up to 6 lifetimes, of intervals up to 1,600 days.
_LIFETIMES, _DAYS = 2.0**-7, 2.0

FEATURES = tuple(
    number("lag", name, unit, doc, "lineage")
    for name, unit, doc in (
        ("lag_last", "lifetimes", "Lag of the last renewal over its lifetime; null if there is none."),
        ("lag_mean", "lifetimes", "Mean of the last 6; null if there is none."),
        ("lag_spread", "lifetimes", "Standard deviation of the last 6; null below 2."),
        (
            "lag_trend",
            "lifetimes",
            "Slope of the last 6, a renewal; null below 2. Positive: later and later.",
        ),
        ("margin_last", "lifetimes", "Margin of the last renewal over its lifetime; null if none."),
        ("margin_least", "lifetimes", "Least margin of the last 6; null if there is none."),
        ("install_delay", "days", "From issue to service, mean of the last 6; null if there is none."),
        (
            "interval_spread",
            "ratio",
            "Spread over mean of the last 6 intervals between issues, near 0 for a clockwork; null below 2.",
        ),
        (
            "weekday_share",
            "share",
            "Of the 6 issues before its own, on Monday to Friday (UTC); null if there is none.",
        ),
        (
            "hour_concentration",
            "0 to 1",
            "How alike the hours of the 6 issues before its own are (length of their mean direction on the"
            " clock, to three digits: a few minutes are nothing); 1 is a timer; null if there is none.",
        ),
        ("lineage_late_rate", "share", "Slipped or failed among the last 6, smoothed."),
        ("lineage_failed_rate", "share", "Failed among the last 6, smoothed."),
        ("past_usual", "lifetimes", "How far `as_of` lies beyond the mean moment of renewal; null if none."),
    )
)


def lag(context: Context) -> "ir.Table":
    """Compute the lag features for every target; ``as_of, fingerprint`` and `FEATURES`."""
    history, targets = _history(context), context.targets
    ours = history.semi_join(targets, list(KEY)).select(
        "as_of", "lineage", "fingerprint", "usual", "pace", ours="position"
    )
    past = history.drop("fingerprint", "usual", "pace").inner_join(ours, ["as_of", "lineage"])
    past = past.filter(past.position < past.ours, past.position >= past.ours - MEMORY)
    turn = past.ours - past.position
    steps = (-turn).cast("float64")
    known = past["lag"].notnull()
    angle = (past.issued - past.issued.floor()) * (2 * math.pi)
    off, drift = (past["lag"] - past.usual) / _LIFETIMES, (past.interval - past.pace) / _DAYS
    # 1970-01-01 was a Thursday.
    working = ((past.issued.floor().cast("int64") + 3) % 7 < 5).cast("float64")
    summed = past.group_by(list(KEY)).aggregate(
        lag_last=past["lag"].max(where=turn == 1),
        lag_mean=past["lag"].mean(),
        lag_off=off.sum(),
        lag_squares=_exact(off * off).sum(),
        lags=known.cast("float64").sum(),
        steps=steps.sum(where=known),
        steps_squared=(steps * steps).sum(where=known),
        products=(steps * past["lag"]).sum(where=known),
        lag_sum=past["lag"].sum(),
        margin_last=past.margin.max(where=turn == 1),
        margin_least=past.margin.min(),
        install_delay=past.delay.mean(),
        interval_mean=past.interval.mean(),
        intervals=past.interval.count().cast("float64"),
        interval_off=drift.sum(),
        interval_squares=_exact(drift * drift).sum(),
        weekday_share=working.mean(),
        east=_exact(angle.cos()).mean(),
        north=_exact(angle.sin()).mean(),
        trials=past.trial.sum(),
        late=past.late.sum(),
        failed=past.failed.sum(),
    )
    rows = joined(
        targets.select(*KEY, "now", "due", "issued", "expires"), (summed, KEY), (context.overall, ("as_of",))
    )
    trials = rows.trials.fill_null(0.0)
    scatter = rows.lags * rows.steps_squared - rows.steps * rows.steps
    return rows.select(
        *KEY,
        *("lag_last", "lag_mean", "margin_last", "margin_least", "install_delay", "weekday_share"),
        lag_spread=_spread(rows.lag_squares, rows.lag_off, rows.lags) * _LIFETIMES,
        lag_trend=(rows.lags * rows.products - rows.steps * rows.lag_sum) / scatter.nullif(0.0),
        interval_spread=_spread(rows.interval_squares, rows.interval_off, rows.intervals)
        * _DAYS
        / rows.interval_mean.nullif(0.0),
        # What is finer is a matter of seconds, and of rounding.
        hour_concentration=((rows.east * rows.east + rows.north * rows.north).sqrt() * 1000 + 0.5)
        .floor()
        .cast("float64")
        / 1000,
        lineage_late_rate=smoothed(rows.late.fill_null(0.0), trials, rows.late_overall),
        lineage_failed_rate=smoothed(rows.failed.fill_null(0.0), trials, rows.failed_overall),
        past_usual=(rows.now - rows.due) / (rows.expires - rows.issued) - rows.lag_mean,
    )


def _history(context: Context) -> "ir.Table":
    """Number the renewals of each lineage that has a target, and measure each."""
    import ibis

    live = context.targets.select("as_of", "lineage").distinct()
    rows = context.renewals.semi_join(live, ["as_of", "lineage"])
    lifetime = (rows.expires - rows.issued).nullif(0.0)
    natural = ~rows.intervention
    resolved = rows.outcome.isin(["on_time", "slipped", "failed"]) & natural
    order = ibis.window(group_by=["as_of", "lineage"], order_by=[rows.issued, rows.fingerprint])
    lag = ibis.ifelse(natural, _exact((rows.in_service - rows.due) / lifetime), None)
    return keep(
        rows.select(
            *("as_of", "lineage", "fingerprint", "issued"),
            position=ibis.row_number().over(order),
            interval=_exact(rows.issued.lead().over(order) - rows.issued),
            lag=lag,
            # Those of the one before: deviations are taken from them.
            usual=lag.lag().over(order).fill_null(0.0),
            pace=_exact(rows.issued - rows.issued.lag().over(order)).fill_null(0.0),
            margin=ibis.ifelse(natural, (rows.expires - rows.in_service) / lifetime, None),
            delay=ibis.ifelse(natural, _exact(rows.in_service - rows.successor_issued), None),
            trial=resolved.cast("float64"),
            late=(resolved & (rows.outcome != "on_time")).cast("float64"),
            failed=(resolved & (rows.outcome == "failed")).cast("float64"),
        )
    )


def _spread(
    squares: "ir.NumericValue", total: "ir.NumericValue", count: "ir.NumericValue"
) -> "ir.FloatingValue":
    """Give the standard deviation of a sample from sums of deviations from any number near the mean.

    What engines offer goes through the rows one by one, and shows in the last bit in which order.
    """
    variance = (squares - total * total / count.nullif(0.0)) / (count - 1.0).nullif(0.0)
    return variance.clip(lower=0.0).sqrt()  # unknown stays unknown


def _exact(value: "ir.NumericValue") -> "ir.NumericValue":
    """Round to 2**-30, so that sums of a few such numbers do not hang on the order of the rows.

    Engines that work with many threads add in another order each time, and a trend, a small difference of
    large sums, shows it. What is added and taken away has that step between itself and its neighbours.
    """
    return (value + _COARSE) - _COARSE
