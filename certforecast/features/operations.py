"""Operations: failed attempts and how they are retried, rehearsals, how the host is run, and its key."""

from typing import TYPE_CHECKING

from certforecast.features.catalogue import category, flag, number
from certforecast.features.context import KEY, Context, joined

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["FEATURES", "operations"]

FEATURES = (
    number(
        "operations",
        "attempts_failed_week",
        "a day",
        "Failed attempts for this certificate in 7 days.",
        "attempts",
    ),
    number(
        "operations",
        "attempts_failed_month",
        "a day",
        "Failed attempts for this certificate in 30 days.",
        "attempts",
    ),
    number(
        "operations",
        "attempt_failed_age",
        "days",
        "Since its last failed attempt; null if there was none.",
        "attempts",
    ),
    category(
        "operations",
        "attempt_failed_code",
        "Cause of its last failed attempt; null if there was none.",
        "attempts",
    ),
    number(
        "operations",
        "attempt_causes",
        "causes",
        "Different causes of its failed attempts in 30 days; 0 if there was none.",
        "attempts",
    ),
    number(
        "operations",
        "retry_interval",
        "days",
        "Mean time between its failed attempts in 30 days; null below 2.",
        "attempts",
    ),
    number(
        "operations",
        "success_age",
        "days",
        "Since its client last issued, installed or verified; null if nothing is told.",
        "successes",
    ),
    flag(
        "operations",
        "reload_failed",
        "Whether a reload or installation failed since it was issued.",
        "attempts",
    ),
    flag(
        "operations",
        "rehearsal_failed",
        "Whether its last rehearsal found something; null if there was none.",
        "rehearsals",
    ),
    number(
        "operations",
        "days_since_rehearsal",
        "days",
        "Since its last rehearsal; null if there was none.",
        "rehearsals",
    ),
    category(
        "operations", "automation", "How the host renews, by the inventory; null if unknown.", "inventory"
    ),
    category("operations", "environment", "Environment by the inventory; null if unknown.", "inventory"),
    flag(
        "operations",
        "key_reused",
        "Whether the key is that of the certificate before; null if unknown.",
        "lineage",
    ),
    number(
        "operations",
        "key_sharing",
        "lineages",
        "Other live lineages with the same key; null if the key is unknown.",
        "live",
    ),
)


def operations(context: Context) -> "ir.Table":
    """Compute the operations features for every target; ``as_of, fingerprint`` and `FEATURES`."""
    import ibis

    targets, attempts = context.targets, context.attempts
    own = attempts.filter(attempts["at"] >= attempts.issued)
    age = own.now - own["at"]
    month = age <= 30.0
    cause = own.code.coalesce(own.kind)
    counts = own.group_by(list(KEY)).aggregate(
        week=(age <= 7.0).cast("float64").sum(),
        month=month.cast("float64").sum(),
        attempt_failed_age=age.min(),
        attempt_causes=cause.nunique(where=month).cast("float64"),
        span=own["at"].max(where=month) - own["at"].min(where=month),
        reloads=own.kind.isin(["reload_failed", "install_failed"]).cast("float64").max(),
    )
    latest = ibis.window(group_by=list(KEY), order_by=[own["at"].desc(), own.kind, own.code.fill_null("")])
    codes = (
        own.mutate(place=ibis.row_number().over(latest), attempt_failed_code=cause)
        .filter(lambda t: t.place == 0)
        .select(*KEY, "attempt_failed_code")
    )
    good = context.successes
    fared = good.group_by(list(KEY)).aggregate(success_age=(good.now - good["at"]).min())
    tried = context.rehearsals.filter(context.rehearsals["at"] >= context.rehearsals.issued)
    rehearsed = tried.group_by(list(KEY)).aggregate(
        last_rehearsal=tried["at"].max(), last_finding=tried["at"].max(where=tried.code.notnull())
    )
    keyed = targets.filter(targets.spki_hash.notnull())
    shared = keyed.group_by(["as_of", "spki_hash"]).aggregate(lineages=keyed.lineage.nunique())
    rows = joined(
        targets,
        (counts, KEY),
        (codes, KEY),
        (fared, KEY),
        (rehearsed, KEY),
        (shared, ("as_of", "spki_hash")),
        (context.previous.select(*KEY, "previous_spki"), KEY),
    )
    return rows.select(
        *KEY,
        *("attempt_failed_age", "attempt_failed_code", "success_age", "automation", "environment"),
        attempts_failed_week=rows.week.fill_null(0.0) / 7.0,
        attempts_failed_month=rows.month.fill_null(0.0) / 30.0,
        attempt_causes=rows.attempt_causes.fill_null(0.0),
        retry_interval=ibis.ifelse(rows.month >= 2.0, rows.span / (rows.month - 1.0), None),
        reload_failed=rows.reloads.fill_null(0.0),
        # All events of one rehearsal have one time; nothing found yet is no time to compare with.
        rehearsal_failed=ibis.ifelse(
            rows.last_rehearsal.notnull(),
            (rows.last_finding.fill_null(-1.0) == rows.last_rehearsal).cast("float64"),
            None,
        ),
        days_since_rehearsal=rows.now - rows.last_rehearsal,
        key_reused=(rows.spki_hash == rows.previous_spki).cast("float64"),
        key_sharing=rows.lineages.cast("float64") - 1.0,
    )
