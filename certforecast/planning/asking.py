"""What the CA of a certificate asks for, and what that makes of its forecast."""

from datetime import datetime, timedelta
from typing import Any

from certforecast.clock import as_utc
from certforecast.policy import RenewalPolicy
from certforecast.renewals import HasTables
from certforecast.renewals.ari import Asked, last_asked

__all__ = ["asked", "heeded", "is_urgent"]


def asked(history: HasTables, as_of: datetime) -> dict[str, Asked]:
    """Give by fingerprint the window that was asked for last; what cannot be read is passed over."""
    rows = last_asked(history.tables().at([as_of])).to_pandas()
    readable = rows[rows["asked_moment"].notna()]
    return {row.fingerprint: Asked.read(row.asked_detail) for row in readable.itertuples()}


def is_urgent(row: dict[str, Any], policy: RenewalPolicy) -> bool:
    """Tell whether the CA wants a certificate replaced before it would be due, as before a revocation.

    Parameters
    ----------
    row : dict
        ``not_before, not_after`` and ``asked``: an `Asked`, or None.
    policy : RenewalPolicy
    """
    window: Asked | None = row.get("asked")
    return window is not None and window.early(as_utc(row["not_before"]), as_utc(row["not_after"]), policy)


def heeded(row: dict[str, Any], as_of: datetime, policy: RenewalPolicy) -> dict[str, Any]:
    """Give the forecast of one renewal as it is once the CA's window is heeded.

    A model knows nothing of revocations to come. Unless it is used no more, what the CA wants replaced early
    counts as failing for certain, and the time left ends with the window.

    Parameters
    ----------
    row : dict
        A forecast's row with its features, and ``asked``.
    as_of : datetime
    policy : RenewalPolicy
    """
    if not is_urgent(row, policy):
        return row
    window: Asked = row["asked"]
    return row | {
        "p_on_time": 0.0,
        "p_slipped": 0.0,
        "p_failed": 1.0 - row["p_retired"],
        "days_to_slip": min(row["days_to_slip"], (window.end - as_of) / timedelta(days=1)),
        "urgent": True,
    }
