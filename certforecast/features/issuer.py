"""Issuer: who it is, how its renewals have gone, and whether it is in trouble now."""

from typing import TYPE_CHECKING

from certforecast.features.catalogue import category, flag, number
from certforecast.features.context import KEY, Context, joined, smoothed

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["FEATURES", "issuer"]

FEATURES = (
    category("issuer", "issuer_org", "Organisation of the issuer; its common name where it names none."),
    number(
        "issuer", "issuer_failed_rate", "share", "Failed among its resolved renewals, smoothed.", "issuer"
    ),
    number(
        "issuer",
        "issuer_late_rate",
        "share",
        "Slipped or failed among its resolved renewals, smoothed.",
        "issuer",
    ),
    number(
        "issuer", "issuer_recent_late_rate", "share", "The same over the incident window, smoothed.", "issuer"
    ),
    number(
        "issuer",
        "issuer_overdue_share",
        "share",
        "Of its open renewals past due, out of all its open ones.",
        "live",
    ),
    number(
        "issuer",
        "issuer_trouble_share",
        "share",
        "Of its live certificates, with a failed attempt in 7 days.",
        "live",
    ),
    number(
        "issuer",
        "issuer_early_share",
        "share",
        "Of its renewals in 7 days, in the first half of the lifetime, as after a mass revocation; null if it"
        " had none.",
        "issuer",
    ),
    flag(
        "issuer",
        "issuer_changed",
        "Whether the certificate before came from another issuer; null if none.",
        "lineage",
    ),
)


def issuer(context: Context) -> "ir.Table":
    """Compute the issuer features for every target; ``as_of, fingerprint`` and `FEATURES`."""
    import ibis

    who = ("as_of", "issuer")
    past = context.past
    recent = ((past.now - past.resolved) <= context.policy.incident_window_days).cast("float64")
    record = past.group_by(list(who)).aggregate(
        trials=past.count(),
        failed=past.failed.sum(),
        late=past.late.sum(),
        recent=recent.sum(),
        recent_late=(recent * past.late).sum(),
    )
    renewed = context.renewals
    renewed = renewed.filter(renewed.now - renewed.successor_issued <= 7.0)
    early = (renewed.successor_issued < (renewed.issued + renewed.expires) / 2).cast("float64")
    rush = renewed.group_by(list(who)).aggregate(early=early.mean())
    targets = context.targets
    live = targets.group_by(list(who)).aggregate(
        overdue=(targets.now > targets.due).cast("float64").mean(), live=targets.count()
    )
    attempts = context.attempts
    attempts = attempts.filter(attempts.now - attempts["at"] <= 7.0)
    troubled = attempts.group_by(list(who)).aggregate(troubled=attempts.lineage.nunique())
    rows = joined(
        targets.select(*KEY, "issuer"),
        (context.overall, ("as_of",)),
        (record, who),
        (rush, who),
        (live, who),
        (troubled, who),
        (context.previous.select(*KEY, "previous_issuer"), KEY),
    )
    trials = rows.trials.fill_null(0)
    return rows.select(
        *KEY,
        issuer_org=rows.issuer,
        issuer_failed_rate=smoothed(rows.failed.fill_null(0.0), trials, rows.failed_overall),
        issuer_late_rate=smoothed(rows.late.fill_null(0.0), trials, rows.late_overall),
        issuer_recent_late_rate=smoothed(
            rows.recent_late.fill_null(0.0), rows.recent.fill_null(0.0), rows.late_overall
        ),
        issuer_overdue_share=rows.overdue,
        issuer_trouble_share=ibis.least(rows.troubled.fill_null(0) / rows.live, 1.0),
        issuer_early_share=rows.early,
        issuer_changed=(rows.previous_issuer != rows.issuer).cast("float64"),
    )
