"""The one place where days and fractions of a lifetime are decided."""

from dataclasses import dataclass, fields
from datetime import timedelta

from certforecast.errors import InputError

__all__ = ["RenewalPolicy"]


@dataclass(frozen=True, slots=True)
class RenewalPolicy:
    """Thresholds by which renewals are judged.

    Attributes
    ----------
    due_fraction : float
        Share of the lifetime after which a renewal is due when nothing better is known.
        Two thirds is what certbot, cert-manager and Caddy do and what Let's Encrypt advises.
    short_lifetime_days : float
        Lifetimes under this many days are short-lived.
    short_due_fraction : float
        The due share for short-lived certificates.
    slip_fraction : float
        The slip point lies this share of the lifetime before ``not_after`` ...
    slip_cap_days : float
        ... but never more than this many days before it.
    grace_days : float
        How long after ``not_after`` signs of use are awaited before a certificate without a
        successor counts as retired.
    successor_window_days : float
        How long after ``not_after`` a certificate may still be issued and count as successor.
    parallel_fraction : float
        A certificate of the same names with another kind of key, issued within this share of the lifetime,
        runs beside the old one instead of replacing it.
    incident_window_days : float
        Window over which recent failures of an issuer are counted in features.
    """

    due_fraction: float = 2 / 3
    short_lifetime_days: float = 10.0
    short_due_fraction: float = 0.5
    slip_fraction: float = 0.10
    slip_cap_days: float = 30.0
    grace_days: float = 30.0
    successor_window_days: float = 30.0
    parallel_fraction: float = 1 / 3
    incident_window_days: float = 90.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            limit = 1.0 if field.name.endswith("_fraction") else float("inf")
            if not 0.0 <= value <= limit:
                raise InputError(f"policy.{field.name} is {value}; it must lie between 0 and {limit:g}")

    def due_after(self, lifetime: timedelta) -> timedelta:
        """Give the time from ``not_before`` until the renewal is due."""
        short = lifetime < timedelta(days=self.short_lifetime_days)
        return lifetime * (self.short_due_fraction if short else self.due_fraction)

    def slip_before_expiry(self, lifetime: timedelta) -> timedelta:
        """Give the time from the slip point until ``not_after``."""
        return min(lifetime * self.slip_fraction, timedelta(days=self.slip_cap_days))
