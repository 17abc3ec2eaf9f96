"""Where certificates live: the endpoints that serve them, and the inventory rows that describe them."""

from typing import TYPE_CHECKING

from certforecast.history.tables import Tables
from certforecast.renewals.known import Known

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["inventory", "serving"]


def inventory(known: Known) -> "ir.Table":
    """Find the inventory row that describes each certificate best.

    A host belongs to a certificate that was seen on it or that names it; of several, the most critical
    one counts.

    Returns
    -------
    ibis table
        ``as_of, fingerprint, owner, environment, automation, criticality, host_issuer, host_installer``.
    """
    import ibis

    key = ["as_of", "fingerprint"]
    hosts = known.tables.hosts
    valid = (hosts.valid_from <= hosts.as_of) & (hosts.valid_to.isnull() | (hosts.valid_to > hosts.as_of))
    current = hosts.filter(valid).select(
        "as_of",
        "host",
        "owner",
        "environment",
        "automation",
        "criticality",
        "valid_from",
        host_issuer="issuer",
        host_installer="installer",
    )
    sets = known.sets
    named = current.inner_join(sets.select("name_set_id", host=sets.names.unnest()), "host")
    certificates = known.tables.certificates.select(*key, "name_set_id")
    by_name = certificates.inner_join(named, ["as_of", "name_set_id"]).drop("name_set_id")
    seen = known.sightings.filter(known.sightings.fingerprint.notnull()).select(*key, "host").distinct()
    by_sight = seen.inner_join(current, ["as_of", "host"])
    rows = by_name.select(*key, *current.columns[1:]).union(by_sight.select(*key, *current.columns[1:]))
    best = ibis.window(
        group_by=key,
        order_by=[rows.criticality.fill_null(-1.0).desc(), rows.valid_from.desc(), rows.host],
    )
    return (
        rows.mutate(place=ibis.row_number().over(best))
        .filter(lambda t: t.place == 0)
        .drop("place", "host", "valid_from")
    )


def serving(tables: Tables) -> "ir.Table":
    """List which certificate each endpoint served when last seen to serve one.

    Returns
    -------
    ibis table
        ``as_of, host, port, server_name, fingerprint, observed_at``, a row an endpoint.
    """
    import ibis

    looks = tables.observations.filter(tables.observations.fingerprint.notnull())
    endpoint = ["as_of", "host", "port", "server_name"]
    latest = ibis.window(group_by=endpoint, order_by=[looks.observed_at.desc(), looks.fingerprint])
    return (
        looks.mutate(place=ibis.row_number().over(latest))
        .filter(lambda t: t.place == 0)
        .select(*endpoint, "fingerprint", "observed_at")
    )
