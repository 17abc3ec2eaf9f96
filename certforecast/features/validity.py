"""Validity period: how long, how much of it is gone, and what kind of certificate it is."""

from datetime import date
from typing import TYPE_CHECKING, Final

from certforecast.features.catalogue import category, flag, number
from certforecast.features.context import KEY, Context, joined
from certforecast.renewals.times import DAY

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["FEATURES", "LIMITS", "counted", "validity"]

#: Longest validity of public TLS certificates in days, by first day of issue: CA/B Forum Baseline
#: Requirements, section 6.3.2, with ballots 193, SC-031 (browsers' rule of 2020) and SC-081v3.
LIMITS: Final = (
    (date(2018, 3, 1), 825),
    (date(2020, 9, 1), 398),
    (date(2026, 3, 15), 200),
    (date(2027, 3, 15), 100),
    (date(2029, 3, 15), 47),
)

#: From so many days on, lifetimes are counted in steps of so many seconds. Whether the last second counts, or
#: a certificate begins some minutes before it is issued, is a habit of its issuer and no news.
_STEPS: Final = ((100, DAY), (10, DAY // 10), (1, DAY // 100), (0, 60))

#: Name of a profile, and the lifetime in days up to which it goes.
_PROFILES: Final = (
    ("short-lived", 10),
    ("47 days", 47),
    ("90 days", 100),
    ("200 days", 200),
    ("398 days", 398),
)

FEATURES = (
    number("validity", "validity_days", "days", "Lifetime of the certificate, to three digits."),
    number(
        "validity",
        "validity_ratio",
        "ratio",
        "Its lifetime over that of the one before; null if none.",
        "lineage",
    ),
    category(
        "validity", "validity_profile", "Class of lifetime: short-lived, 47, 90, 200, 398 days, longer."
    ),
    number(
        "validity",
        "limit_ratio",
        "ratio",
        "Its lifetime over the limit for public certificates at `as_of`; above 1 the next must be shorter.",
    ),
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
    import ibis

    rows = joined(context.targets, (context.previous.select(*KEY, "previous_lifetime"), KEY))
    exact = rows.expires - rows.issued
    lifetime, before = counted(exact), counted(rows.previous_lifetime)
    begins = [((day - date(1970, 1, 1)).days, limit) for day, limit in LIMITS]
    limit = ibis.cases(*((rows.now >= day, float(limit)) for day, limit in reversed(begins)))
    return rows.select(
        *KEY,
        "validation",
        "key_algorithm",
        validity_days=lifetime,
        validity_ratio=lifetime / before.nullif(0.0),
        validity_profile=ibis.cases(*((lifetime <= most, name) for name, most in _PROFILES), else_="longer"),
        limit_ratio=lifetime / limit,
        elapsed_share=(rows.now - rows.issued) / exact,
        days_left=rows.expires - rows.now,
        log_days_left=(rows.expires - rows.now + 0.25).ln(),
        days_past_due=rows.now - rows.due,
        days_to_slip=rows.slip_point - rows.now,
        wildcard=rows.wildcard.cast("float64"),
    )


def counted(lifetime: "ir.FloatingValue") -> "ir.FloatingValue":
    """Round lifetimes, in days, to three digits; under a day to the minute, over a thousand to the day."""
    import ibis

    seconds = lifetime * float(DAY)
    step = ibis.cases(
        *((seconds >= float(days * DAY), float(step)) for days, step in _STEPS[:-1]),
        else_=float(_STEPS[-1][1]),
    ).cast("float64")
    # Spark rounds to whole numbers, and a literal with a point is a decimal of few places to it.
    return (seconds / step + 0.5).floor().cast("float64") * step / float(DAY)
