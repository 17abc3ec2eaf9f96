"""Renewal lag: when this lineage, its domain and its owner have renewed before."""

from typing import TYPE_CHECKING

from certforecast.features.catalogue import number
from certforecast.features.context import KEY, Context, smoothed

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["FEATURES", "lag"]

#: How many renewals of a lineage are remembered.
MEMORY = 6

FEATURES = (
    number(
        "lag", "lag_last", "lifetimes", "Lag of the last renewal over its lifetime; null if there is none."
    ),
    number("lag", "lag_mean", "lifetimes", "Mean of the last 6; null if there is none."),
    number("lag", "lag_spread", "lifetimes", "Standard deviation of the last 6; null below 2."),
    number("lag", "margin_last", "lifetimes", "Margin of the last renewal over its lifetime; null if none."),
    number("lag", "margin_least", "lifetimes", "Least margin of the last 6; null if there is none."),
    number(
        "lag", "install_delay", "days", "From issue to service, mean of the last 6; null if there is none."
    ),
    number(
        "lag", "interval_spread", "ratio", "Spread over mean of the last 6 issue intervals; null below 2."
    ),
    number("lag", "lineage_late_rate", "share", "Slipped or failed among the last 6, smoothed."),
    number("lag", "lineage_failed_rate", "share", "Failed among the last 6, smoothed."),
    number(
        "lag",
        "past_usual",
        "lifetimes",
        "How far `as_of` lies beyond the mean moment of renewal; null if none.",
    ),
    number("lag", "domain_late_rate", "share", "Slipped or failed in the registered domain, smoothed."),
    number("lag", "domain_failed_rate", "share", "Failed in the registered domain, smoothed."),
    number("lag", "owner_late_rate", "share", "Slipped or failed with the same owner, smoothed."),
    number("lag", "owner_failed_rate", "share", "Failed with the same owner, smoothed."),
)


def lag(context: Context) -> "ir.Table":
    """Compute the lag features for every target; ``as_of, fingerprint`` and `FEATURES`."""
    import ibis

    rows = context.renewals
    lifetime = rows.expires - rows.issued
    natural = ~rows.intervention
    resolved = rows.outcome.isin(["on_time", "slipped", "failed"]) & natural
    before = ibis.window(
        group_by=["as_of", "lineage"],
        order_by=[rows.issued, rows.fingerprint],
    )
    rows = rows.mutate(
        lag=ibis.ifelse(natural, (rows.in_service - rows.due) / lifetime, None),
        margin=ibis.ifelse(natural, (rows.expires - rows.in_service) / lifetime, None),
        delay=ibis.ifelse(natural, rows.in_service - rows.successor_issued, None),
        interval=rows.issued - rows.issued.lag().over(before),
        trial=resolved.cast("float64"),
        late=(resolved & (rows.outcome != "on_time")).cast("float64"),
        failed=(resolved & (rows.outcome == "failed")).cast("float64"),
    )
    # Two renewals are enough to compare; a zero spread of intervals is a clockwork.
    window = ibis.window(
        group_by=["as_of", "lineage"],
        order_by=[rows.issued, rows.fingerprint],
        preceding=(MEMORY, 1),
    )
    nearest = ibis.window(
        group_by=["as_of", "lineage"], order_by=[rows.issued, rows.fingerprint], preceding=(1, 1)
    )
    overall = (
        rows.filter(rows.trial > 0)
        .group_by("as_of")
        .aggregate(late_overall=lambda t: t.late.mean(), failed_overall=lambda t: t.failed.mean())
    )
    rows = rows.mutate(
        lag_last=rows.lag.max().over(nearest),
        lag_mean=rows.lag.mean().over(window),
        lag_spread=rows.lag.std(how="sample").over(window),
        margin_last=rows.margin.max().over(nearest),
        margin_least=rows.margin.min().over(window),
        install_delay=rows.delay.mean().over(window),
        interval_mean=rows.interval.mean().over(window),
        interval_deviation=rows.interval.std(how="sample").over(window),
        lineage_trials=rows.trial.sum().over(window),
        lineage_late=rows.late.sum().over(window),
        lineage_failed=rows.failed.sum().over(window),
    )
    out = context.targets.select(*KEY).inner_join(rows, list(KEY))
    out = out.left_join(overall, "as_of").drop("as_of_right")
    for place in ("domain", "owner"):
        past = rows.filter(rows.trial > 0, rows[place].notnull())
        record = past.group_by(["as_of", place]).aggregate(
            **{
                f"{place}_trials": past.trial.sum(),
                f"{place}_late": past.late.sum(),
                f"{place}_failed": past.failed.sum(),
            }
        )
        out = out.left_join(record, ["as_of", place]).drop("as_of_right", f"{place}_right")
    rates = {
        f"{place}_{kind}_rate": smoothed(
            out[f"{place}_{kind}"].fill_null(0.0),
            out[f"{place}_trials"].fill_null(0.0),
            out[f"{kind}_overall"],
        )
        for place in ("lineage", "domain", "owner")
        for kind in ("late", "failed")
    }
    return out.select(
        *KEY,
        "lag_last",
        "lag_mean",
        "lag_spread",
        "margin_last",
        "margin_least",
        "install_delay",
        interval_spread=out.interval_deviation / out.interval_mean,
        past_usual=(out.now - out.due) / (out.expires - out.issued) - out.lag_mean,
        **rates,
    )
