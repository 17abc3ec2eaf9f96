"""Which certificates an event concerns."""

from typing import TYPE_CHECKING

from certforecast.history.tables import Tables

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["concerning"]


def concerning(events: "ir.Table", tables: Tables, certificates: "ir.Table", sets: "ir.Table") -> "ir.Table":
    """Join events to the certificates that carry the name, or a host, of their lineage.

    Many clients' names for a lineage are no names of its certificate; the hosts that its other events tell
    then say which it is. Whether an event falls into a certificate's time is for the caller to judge.

    Parameters
    ----------
    events : ibis table
        Some of ``tables.events``, with columns of one's own.
    tables : Tables
        As given by :meth:`Tables.at`.
    certificates : ibis table
        ``as_of, fingerprint, name_set_id`` and more: those that may be concerned.
    sets : ibis table
        ``name_set_id, names``.

    Returns
    -------
    ibis table
        The columns of `events` but ``fingerprint``, then those of `certificates`; each pair once.
    """
    told = tables.events.semi_join(events, ["as_of", "lineage"])
    called = events.select("as_of", "lineage", name="lineage").union(
        told.filter(told.host.notnull()).select("as_of", "lineage", name="host"), distinct=True
    )
    named = sets.select("name_set_id", name=sets.names.unnest())
    matched = named.inner_join(called, "name").select("as_of", "name_set_id", "lineage").distinct()
    pairs = events.drop("fingerprint").inner_join(matched, ["as_of", "lineage"])
    return pairs.inner_join(certificates, ["as_of", "name_set_id"])
