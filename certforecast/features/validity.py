"""Validity period: how long, how much of it is gone, and what kind of certificate it is."""

from typing import TYPE_CHECKING

from certforecast.features.catalogue import category, flag, number
from certforecast.features.context import KEY, Context

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["FEATURES", "validity"]

FEATURES = (
    number("validity", "validity_days", "days", "Lifetime of the certificate."),
    number("validity", "validity_ratio", "ratio", "Its lifetime over that of the one before; null if none."),
    number("validity", "elapsed_share", "share", "How much of the lifetime has passed."),
    number("validity", "days_left", "days", "From `as_of` to expiry."),
    number(
        "validity", "log_days_left", "log days", "Logarithm of a quarter plus the days left: the last days."
    ),
    number("validity", "days_past_due", "days", "From due to `as_of`; negative before due."),
    number("validity", "days_to_slip", "days", "From `as_of` to the slip point; negative after it."),
    category("validity", "validation", "DV, OV, EV or unknown."),
    category("validity", "key_algorithm", "Algorithm of the key."),
    flag("validity", "wildcard", "Whether a name is a wildcard."),
)


def validity(context: Context) -> "ir.Table":
    """Compute the validity features for every target; ``as_of, fingerprint`` and `FEATURES`."""
    rows = context.targets.left_join(context.previous, list(KEY)).drop("as_of_right", "fingerprint_right")
    lifetime = rows.expires - rows.issued
    return rows.select(
        *KEY,
        "validation",
        "key_algorithm",
        validity_days=lifetime,
        validity_ratio=lifetime / rows.previous_lifetime,
        elapsed_share=(rows.now - rows.issued) / lifetime,
        days_left=rows.expires - rows.now,
        log_days_left=(rows.expires - rows.now + 0.25).ln(),
        days_past_due=rows.now - rows.due,
        days_to_slip=rows.slip_point - rows.now,
        wildcard=rows.wildcard.cast("float64"),
    )
