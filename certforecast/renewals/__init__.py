"""Lineages, successors and outcomes: history read as a series of renewals."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from certforecast.policy import RenewalPolicy

if TYPE_CHECKING:
    import pandas as pd

    from certforecast.history.tables import Tables

__all__ = ["OUTCOMES", "HasTables", "renewals", "renewals_at"]

#: The outcomes a forecast speaks of; a renewal not yet resolved is ``open``.
OUTCOMES = ("on_time", "slipped", "failed", "retired")


class HasTables(Protocol):
    """Whatever holds the four tables: a `History`, or a warehouse that ibis speaks to."""

    def tables(self) -> "Tables":
        """Give the four tables as ibis expressions."""
        ...


def renewals(history: HasTables, as_of: datetime, policy: RenewalPolicy | None = None) -> "pd.DataFrame":
    """List every renewal with what is known of it at one moment.

    Parameters
    ----------
    history : History
        The store.
    as_of : datetime
        Nothing known later is used.
    policy : RenewalPolicy, optional
        Thresholds.

    Returns
    -------
    DataFrame, shape (n_certificates, 27)
        One row a certificate, by lineage and issue. ``as_of``; ``lineage`` (fingerprint of its earliest
        certificate), ``name``, ``fingerprint``, ``names``, ``name_set_id``; ``successor`` and ``why`` (the
        evidence: :mod:`certforecast.renewals.lineages`); the times ``not_before``, ``not_after``, ``due``,
        ``slip_point``, ``successor_not_before``, ``in_service_at``, ``resolved_at``; ``renewal_lag_days``
        (successor in service minus due) and ``margin_days`` (``not_after`` minus successor in service);
        ``outcome``, ``evidence`` (issuance or service), ``intervention`` and ``intervened_at`` (our own
        action changed the outcome), ``held_out_at`` and ``holdout_share`` (since when it is known that we
        left it alone on purpose, and how likely that was); counts of ``endpoints`` and how many have moved
        on, still serve it, are gone.
    """
    return renewals_at(history, [as_of], policy)


def renewals_at(
    history: HasTables, moments: Sequence[datetime], policy: RenewalPolicy | None = None
) -> "pd.DataFrame":
    """Do as :func:`renewals` for many moments in one pass; one row a certificate and moment."""
    from certforecast.renewals.computing import computed
    from certforecast.renewals.frames import framed, listed

    return framed(computed(listed, history.tables(), moments, policy or RenewalPolicy()).to_pandas())
