"""Issuer: who it is, how its renewals have gone, and whether it is in trouble now."""

from typing import TYPE_CHECKING

from certforecast.features.catalogue import category, flag, number
from certforecast.features.context import KEY, Context, smoothed

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["FEATURES", "issuer"]

FEATURES = (
    category("issuer", "issuer_org", "Organisation of the issuer; its common name where it names none."),
    number("issuer", "issuer_failed_rate", "share", "Failed among its resolved renewals, smoothed."),
    number("issuer", "issuer_late_rate", "share", "Slipped or failed among its resolved renewals, smoothed."),
    number("issuer", "issuer_recent_late_rate", "share", "The same over the incident window, smoothed."),
    number(
        "issuer", "issuer_overdue_share", "share", "Of its open renewals past due, out of all its open ones."
    ),
    number(
        "issuer",
        "issuer_trouble_share",
        "share",
        "Of its live certificates, with a failed attempt in 7 days.",
    ),
    flag(
        "issuer", "issuer_changed", "Whether the certificate before came from another issuer; null if none."
    ),
)


def issuer(context: Context) -> "ir.Table":
    """Compute the issuer features for every target; ``as_of, fingerprint`` and `FEATURES`."""
    import ibis

    past = context.resolved
    past = past.mutate(
        failed=(past.outcome == "failed").cast("float64"),
        late=(past.outcome != "on_time").cast("float64"),
        recent=((past.now - past.resolved) <= context.policy.incident_window_days).cast("float64"),
    )
    overall = past.group_by("as_of").aggregate(
        failed_overall=past.failed.mean(), late_overall=past.late.mean()
    )
    record = past.group_by(["as_of", "issuer_org"]).aggregate(
        trials=past.count(),
        failed=past.failed.sum(),
        late=past.late.sum(),
        recent=past.recent.sum(),
        recent_late=(past.recent * past.late).sum(),
    )
    targets = context.targets
    live = targets.group_by(["as_of", "issuer_org"]).aggregate(
        overdue=(targets.now > targets.due).cast("float64").mean(), live=targets.count()
    )
    attempts = context.attempts
    attempts = attempts.filter(attempts.now - attempts["at"] <= 7.0)
    troubled = attempts.group_by(["as_of", "issuer_org"]).aggregate(troubled=attempts.lineage.nunique())
    rows = targets.select(*KEY, "issuer_org")
    for table, on in (
        (overall, ["as_of"]),
        (record, ["as_of", "issuer_org"]),
        (live, ["as_of", "issuer_org"]),
        (troubled, ["as_of", "issuer_org"]),
        (context.previous.select(*KEY, "previous_issuer"), list(KEY)),
    ):
        rows = rows.left_join(table, on).drop(*(f"{column}_right" for column in on))
    trials = rows.trials.fill_null(0)
    return rows.select(
        *KEY,
        "issuer_org",
        issuer_failed_rate=smoothed(rows.failed.fill_null(0.0), trials, rows.failed_overall),
        issuer_late_rate=smoothed(rows.late.fill_null(0.0), trials, rows.late_overall),
        issuer_recent_late_rate=smoothed(
            rows.recent_late.fill_null(0.0), rows.recent.fill_null(0.0), rows.late_overall
        ),
        issuer_overdue_share=rows.overdue,
        issuer_trouble_share=ibis.least(rows.troubled.fill_null(0) / rows.live, 1.0),
        issuer_changed=(rows.previous_issuer != rows.issuer_org).cast("float64"),
    )
