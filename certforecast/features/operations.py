"""Operations: failed attempts, how the host is run, and what its neighbours go through."""

from typing import TYPE_CHECKING

from certforecast.features.catalogue import category, flag, number
from certforecast.features.context import KEY, Context

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["FEATURES", "operations"]

FEATURES = (
    number("operations", "attempts_failed_week", "a day", "Failed attempts for this certificate in 7 days."),
    number(
        "operations", "attempts_failed_month", "a day", "Failed attempts for this certificate in 30 days."
    ),
    number(
        "operations", "attempt_failed_age", "days", "Since its last failed attempt; null if there was none."
    ),
    category(
        "operations", "attempt_failed_code", "Cause of its last failed attempt; null if there was none."
    ),
    flag("operations", "reload_failed", "Whether a reload or installation failed since it was issued."),
    number(
        "operations", "domain_trouble_share", "share", "Of the domain's lineages, failed attempts in 7 days."
    ),
    number("operations", "domain_overdue_share", "share", "Of the domain's open renewals, past due."),
    number(
        "operations",
        "owner_overdue_share",
        "share",
        "Of the owner's open renewals, past due; null if unknown.",
    ),
    category("operations", "automation", "How the host renews, by the inventory; null if unknown."),
    category("operations", "environment", "Environment by the inventory; null if unknown."),
    flag("operations", "key_reused", "Whether the key is that of the certificate before; null if unknown."),
)


def operations(context: Context) -> "ir.Table":
    """Compute the operations features for every target; ``as_of, fingerprint`` and `FEATURES`."""
    import ibis

    targets, attempts = context.targets, context.attempts
    own = attempts.filter(attempts["at"] >= attempts.issued)
    age = own.now - own["at"]
    counts = own.group_by(list(KEY)).aggregate(
        week=(age <= 7.0).cast("float64").sum(),
        month=(age <= 30.0).cast("float64").sum(),
        attempt_failed_age=age.min(),
        reloads=own.kind.isin(["reload_failed", "install_failed"]).cast("float64").max(),
    )
    latest = ibis.window(group_by=list(KEY), order_by=[own["at"].desc(), own.kind, own.code.fill_null("")])
    codes = (
        own.mutate(place=ibis.row_number().over(latest))
        .filter(lambda t: t.place == 0)
        .select(*KEY, attempt_failed_code=own.code.coalesce(own.kind))
    )
    recent = attempts.filter(attempts.now - attempts["at"] <= 7.0)
    troubled = recent.group_by(["as_of", "domain"]).aggregate(troubled=recent.lineage.nunique())
    overdue = (targets.now > targets.due).cast("float64")
    domains = targets.group_by(["as_of", "domain"]).aggregate(
        domain_overdue_share=overdue.mean(), live=targets.lineage.nunique()
    )
    owners = (
        targets.filter(targets.owner.notnull())
        .group_by(["as_of", "owner"])
        .aggregate(owner_overdue_share=overdue.mean())
    )
    rows = targets
    for table, on in (
        (counts, list(KEY)),
        (codes, list(KEY)),
        (troubled, ["as_of", "domain"]),
        (domains, ["as_of", "domain"]),
        (owners, ["as_of", "owner"]),
        (context.previous.select(*KEY, "previous_spki"), list(KEY)),
    ):
        rows = rows.left_join(table, on).drop(*(f"{column}_right" for column in on))
    return rows.select(
        *KEY,
        "attempt_failed_age",
        "attempt_failed_code",
        "domain_overdue_share",
        "owner_overdue_share",
        "automation",
        "environment",
        attempts_failed_week=rows.week.fill_null(0.0) / 7.0,
        attempts_failed_month=rows.month.fill_null(0.0) / 30.0,
        reload_failed=rows.reloads.fill_null(0.0),
        domain_trouble_share=ibis.least(rows.troubled.fill_null(0) / rows.live, 1.0),
        key_reused=(rows.spki_hash == rows.previous_spki).cast("float64"),
    )
