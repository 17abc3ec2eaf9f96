"""Neighbours: how the registered domain and the owner of a certificate renew."""

from typing import TYPE_CHECKING

from certforecast.features.catalogue import number
from certforecast.features.context import KEY, Context, joined, smoothed

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["FEATURES", "neighbours"]

FEATURES = (
    number(
        "neighbours",
        "domain_late_rate",
        "share",
        "Slipped or failed in the registered domain, smoothed.",
        "domain",
    ),
    number(
        "neighbours", "domain_failed_rate", "share", "Failed in the registered domain, smoothed.", "domain"
    ),
    number(
        "neighbours", "owner_late_rate", "share", "Slipped or failed with the same owner, smoothed.", "owner"
    ),
    number("neighbours", "owner_failed_rate", "share", "Failed with the same owner, smoothed.", "owner"),
    number(
        "neighbours",
        "domain_trouble_share",
        "share",
        "Of the domain's lineages, failed attempts in 7 days.",
        "domain",
    ),
    number(
        "neighbours", "domain_overdue_share", "share", "Of the domain's open renewals, past due.", "domain"
    ),
    number(
        "neighbours",
        "owner_overdue_share",
        "share",
        "Of the owner's open renewals, past due; null if unknown.",
        "owner",
    ),
)


def neighbours(context: Context) -> "ir.Table":
    """Compute the neighbour features for every target; ``as_of, fingerprint`` and `FEATURES`."""
    import ibis

    targets, attempts = context.targets, context.attempts
    domain, owner = ("as_of", "domain"), ("as_of", "owner")
    past = context.past.select(*KEY, "domain", "late", "failed")
    owned = past.inner_join(context.places.select(*KEY, "owner"), list(KEY))
    recent = attempts.filter(attempts.now - attempts["at"] <= 7.0)
    troubled = recent.group_by(list(domain)).aggregate(troubled=recent.lineage.nunique())
    overdue = (targets.now > targets.due).cast("float64")
    domains = targets.group_by(list(domain)).aggregate(
        domain_overdue_share=overdue.mean(), live=targets.lineage.nunique()
    )
    owners = targets.filter(targets.owner.notnull())
    owners = owners.group_by(list(owner)).aggregate(
        owner_overdue_share=(owners.now > owners.due).cast("float64").mean()
    )
    rows = joined(
        targets.select(*KEY, "domain", "owner"),
        (context.overall, ("as_of",)),
        (_record(past, "domain"), domain),
        (_record(owned, "owner"), owner),
        (troubled, domain),
        (domains, domain),
        (owners, owner),
    )
    rates = {
        f"{place}_{kind}_rate": smoothed(
            rows[f"{place}_{kind}"].fill_null(0.0),
            rows[f"{place}_trials"].fill_null(0),
            rows[f"{kind}_overall"],
        )
        for place in ("domain", "owner")
        for kind in ("late", "failed")
    }
    return rows.select(
        *KEY,
        "domain_overdue_share",
        "owner_overdue_share",
        domain_trouble_share=ibis.least(rows.troubled.fill_null(0) / rows.live, 1.0),
        **rates,
    )


def _record(past: "ir.Table", place: str) -> "ir.Table":
    rows = past.filter(past[place].notnull())
    return rows.group_by(["as_of", place]).aggregate(
        **{
            f"{place}_trials": rows.count(),
            f"{place}_late": rows.late.sum(),
            f"{place}_failed": rows.failed.sum(),
        }
    )
