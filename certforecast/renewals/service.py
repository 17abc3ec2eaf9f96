"""What was served where: observations condensed to spells, and what became of each certificate in service."""

from typing import TYPE_CHECKING

from certforecast.history.tables import Tables
from certforecast.renewals.times import seconds

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["ENDPOINT", "replacements", "service", "spells"]

#: What identifies an endpoint within one moment.
ENDPOINT = ("as_of", "host", "port", "server_name")


def spells(tables: Tables, certificates: "ir.Table") -> "ir.Table":
    """Condense observations: one row for each certificate on each endpoint.

    Parameters
    ----------
    tables : Tables
        As given by :meth:`Tables.at`.
    certificates : ibis table
        As given by :func:`certforecast.renewals.lineages.certificates`.

    Returns
    -------
    ibis table
        `ENDPOINT`, ``fingerprint, name_set_id, issued, expires``, and in seconds ``first_seen``,
        ``last_seen``, ``first_known`` (when the first look was known), ``expired_use_known`` (when it was
        first known that the certificate was served after its expiry; null if it was not).
    """
    looks = tables.observations
    # A server that shows another site's certificate by default does not serve this one's names with it.
    looks = looks.filter(looks.fingerprint.notnull(), looks.chain_status.fill_null("") != "wrong_name")
    looks = looks.select(
        *ENDPOINT, "fingerprint", seen=seconds(looks.observed_at), known=seconds(looks.known_at)
    )
    looks = looks.inner_join(
        certificates.select("as_of", "fingerprint", "name_set_id", "issued", "expires"),
        ["as_of", "fingerprint"],
    )
    return looks.group_by([*ENDPOINT, "fingerprint", "name_set_id", "issued", "expires"]).aggregate(
        first_seen=looks.seen.min(),
        last_seen=looks.seen.max(),
        first_known=looks.known.min(),
        expired_use_known=looks.known.min(where=looks.seen > looks.expires),
    )


def replacements(spells: "ir.Table", tables: Tables, overlaps: "ir.Table") -> "ir.Table":
    """Say for each spell what came after it on its endpoint.

    Returns
    -------
    ibis table
        A row a spell, with ``next_fingerprint``, ``next_low`` and ``next_high`` (the bounds, in seconds,
        between which the next newer certificate that shares a name took over), ``next_known``, and the flags
        ``moved`` (it took over and still stands), ``still`` (this certificate is what the last
        successful look saw), ``gone`` (the last look found no certificate, or one of other names).
    """
    import ibis

    newer = ibis.window(group_by=list(ENDPOINT), order_by=[spells.issued, spells.fingerprint])
    rows = spells.mutate(
        next_fingerprint=spells.fingerprint.lead().over(newer),
        next_set=spells.name_set_id.lead().over(newer),
        next_issued=spells.issued.lead().over(newer),
        next_high=spells.first_seen.lead().over(newer),
        next_known=spells.first_known.lead().over(newer),
    )
    rows = rows.left_join(
        overlaps.select(name_set_id="set_a", next_set="set_b", shared="shared"), ["name_set_id", "next_set"]
    ).drop("name_set_id_right", "next_set_right")
    looks = tables.observations
    ordered = ibis.window(
        group_by=list(ENDPOINT),
        order_by=[looks.observed_at.desc(), looks.fingerprint.desc(), looks.error.desc()],
    )
    last = (
        looks.mutate(place=ibis.row_number().over(ordered))
        .filter(lambda t: t.place == 0)
        .select(*ENDPOINT, last_look=seconds(looks.observed_at), last_fingerprint="fingerprint")
    )
    newest_seen = ibis.window(
        group_by=list(ENDPOINT), order_by=[spells.last_seen.desc(), spells.fingerprint.desc()]
    )
    served = (
        spells.mutate(place=ibis.row_number().over(newest_seen))
        .filter(lambda t: t.place == 0)
        .select(*ENDPOINT, served_fingerprint="fingerprint")
    )
    rows = rows.inner_join(last, list(ENDPOINT)).inner_join(served, list(ENDPOINT))
    shares_name = rows.shared.fill_null(0) > 0
    current = rows.served_fingerprint == rows.fingerprint
    return rows.mutate(
        moved=~current & shares_name,
        still=current & rows.last_fingerprint.notnull(),
        gone=(current & rows.last_fingerprint.isnull()) | (~current & ~shares_name),
        # The switch fell between the last look at the old and the first at the new, not before its issue.
        next_low=ibis.least(ibis.greatest(rows.last_seen, rows.next_issued), rows.next_high),
    )


def service(replacements: "ir.Table") -> "ir.Table":
    """Sum up over the endpoints of each certificate.

    Returns
    -------
    ibis table
        ``as_of, fingerprint``; counts ``endpoints, endpoints_moved, endpoints_still, endpoints_gone``;
        ``moved_low, moved_high, moved_known`` (the last endpoint to switch), ``first_seen``,
        ``first_known``, ``last_look``, ``expired_use_known``; all times in seconds.
    """
    rows = replacements
    return rows.group_by(["as_of", "fingerprint"]).aggregate(
        endpoints=rows.count(),
        endpoints_moved=rows.moved.sum(),
        endpoints_still=rows.still.sum(),
        endpoints_gone=rows.gone.sum(),
        moved_low=rows.next_low.max(where=rows.moved),
        moved_high=rows.next_high.max(where=rows.moved),
        moved_known=rows.next_known.max(where=rows.moved),
        first_seen=rows.first_seen.min(),
        first_known=rows.first_known.min(),
        last_look=rows.last_look.max(),
        expired_use_known=rows.expired_use_known.min(),
    )
