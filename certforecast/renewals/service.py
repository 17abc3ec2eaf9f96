"""What was served where: observations condensed to spells, and what became of each certificate in service."""

from typing import TYPE_CHECKING

from certforecast.history.tables import Tables
from certforecast.renewals.times import DAY, seconds

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["ENDPOINT", "expired_use", "moves", "service", "sightings", "spells"]

#: What identifies an endpoint within one moment.
ENDPOINT = ("as_of", "host", "port", "server_name")


def sightings(tables: Tables) -> "ir.Table":
    """Condense observations: one row for each certificate, or its absence, on each endpoint.

    Parameters
    ----------
    tables : Tables
        As given by :meth:`Tables.at`.

    Returns
    -------
    ibis table
        `ENDPOINT`, ``fingerprint`` (null: the look failed), ``wrong`` (the server showed another site's
        certificate by default); in seconds ``first_seen``, ``last_seen``, ``first_known``; and ``recent``,
        the number of looks in the last 14 days.
    """
    looks = tables.observations
    seen = seconds(looks.observed_at)
    looks = looks.select(
        *ENDPOINT,
        "fingerprint",
        wrong=looks.chain_status.fill_null("") == "wrong_name",
        seen=seen,
        known=seconds(looks.known_at),
        recent=seconds(looks.as_of) - seen <= 14 * DAY,
    )
    return looks.group_by([*ENDPOINT, "fingerprint", "wrong"]).aggregate(
        first_seen=looks.seen.min(),
        last_seen=looks.seen.max(),
        first_known=looks.known.min(),
        recent=looks.recent.cast("int64").sum(),
    )


def spells(sightings: "ir.Table", certificates: "ir.Table") -> "ir.Table":
    """Give the sightings of known certificates under names of theirs.

    Returns
    -------
    ibis table
        `ENDPOINT`, ``fingerprint, name_set_id, issued, expires, known, first_seen, last_seen, first_known``.
    """
    rows = sightings.filter(sightings.fingerprint.notnull(), ~sightings.wrong).drop("wrong", "recent")
    return rows.inner_join(
        certificates.select("as_of", "fingerprint", "name_set_id", "issued", "expires", "known"),
        ["as_of", "fingerprint"],
    )


def expired_use(spells: "ir.Table", tables: Tables) -> "ir.Table":
    """Say since when it is known that a certificate was served after its expiry.

    Returns
    -------
    ibis table
        ``as_of, fingerprint, expired_use_known`` (seconds), a row for each that was.
    """
    late = spells.filter(spells.last_seen > spells.expires)
    looks = tables.observations
    looks = looks.filter(looks.chain_status.fill_null("") != "wrong_name").select(
        *ENDPOINT, "fingerprint", seen=seconds(looks.observed_at), known=seconds(looks.known_at)
    )
    rows = looks.inner_join(
        late.select(*ENDPOINT, "fingerprint", "expires"), [*ENDPOINT, "fingerprint"]
    ).filter(lambda t: t.seen > t.expires)
    return rows.group_by(["as_of", "fingerprint"]).aggregate(expired_use_known=rows.known.min())


def moves(spells: "ir.Table", sightings: "ir.Table", sets: "ir.Table") -> "ir.Table":
    """Say for each spell what came after it on its endpoint.

    Parameters
    ----------
    sets : ibis table
        ``name_set_id, names``.

    Returns
    -------
    ibis table
        A row a spell, with ``next_fingerprint``, ``next_set``, ``next_issued``, ``next_certificate_known``;
        ``next_low`` and ``next_high`` (the bounds, in seconds, between which the next newer certificate that
        shares a name took over), ``next_known``, ``last_look``, and the flags ``moved`` (it took over and
        still stands), ``still`` (this certificate is what the last successful look saw), ``gone`` (the last
        look found no certificate, or one of other names).
    """
    import ibis

    newer = ibis.window(group_by=list(ENDPOINT), order_by=[spells.issued, spells.fingerprint])
    rows = spells.mutate(
        next_fingerprint=spells.fingerprint.lead().over(newer),
        next_set=spells.name_set_id.lead().over(newer),
        next_issued=spells.issued.lead().over(newer),
        next_high=spells.first_seen.lead().over(newer),
        next_known=spells.first_known.lead().over(newer),
        next_certificate_known=spells.known.lead().over(newer),
        # What was seen last, of those that are known and under their own name, is what is served.
        served=spells.fingerprint.first().over(
            ibis.window(
                group_by=list(ENDPOINT), order_by=[spells.last_seen.desc(), spells.fingerprint.desc()]
            )
        ),
    )
    rows = _with_shared_names(rows, sets)
    ordered = ibis.window(
        group_by=list(ENDPOINT),
        order_by=[
            sightings.last_seen.desc(),
            sightings.fingerprint.notnull().desc(),
            sightings.fingerprint.desc(),
        ],
    )
    last = (
        sightings.mutate(place=ibis.row_number().over(ordered))
        .filter(lambda t: t.place == 0)
        .select(*ENDPOINT, last_look="last_seen", last_failed=sightings.fingerprint.isnull())
    )
    rows = rows.inner_join(last, list(ENDPOINT))
    current = rows.served == rows.fingerprint
    return rows.select(
        *ENDPOINT,
        *("fingerprint", "name_set_id", "issued", "first_seen", "last_seen", "first_known", "last_look"),
        *("next_fingerprint", "next_set", "next_issued", "next_high", "next_known"),
        "next_certificate_known",
        moved=~current & rows.shares,
        still=current & ~rows.last_failed,
        gone=(current & rows.last_failed) | (~current & ~rows.shares),
        # The switch fell between the last look at the old and the first at the new, not before its issue.
        next_low=ibis.least(ibis.greatest(rows.last_seen, rows.next_issued), rows.next_high),
    )


def _with_shared_names(rows: "ir.Table", sets: "ir.Table") -> "ir.Table":
    """Add ``shares``: whether the next certificate has a name in common."""
    pairs = rows.filter(rows.next_set != rows.name_set_id).select("name_set_id", "next_set").distinct()
    pairs = pairs.inner_join(sets, "name_set_id").inner_join(
        sets.select(next_set="name_set_id", next_names="names"), "next_set"
    )
    common = pairs.filter(pairs.names.intersect(pairs.next_names).length() > 0).select(
        "name_set_id", "next_set", common=True
    )
    rows = rows.left_join(common, ["name_set_id", "next_set"]).drop("name_set_id_right", "next_set_right")
    same = (rows.next_set == rows.name_set_id).fill_null(False)
    return rows.mutate(shares=same | rows.common.fill_null(False)).drop("common")


def service(moves: "ir.Table", expired_use: "ir.Table") -> "ir.Table":
    """Sum up over the endpoints of each certificate.

    Returns
    -------
    ibis table
        ``as_of, fingerprint``; counts ``endpoints, endpoints_moved, endpoints_still, endpoints_gone``;
        ``moved_low, moved_high, moved_known`` (the last endpoint to switch), ``first_seen``,
        ``first_known``, ``last_look``, ``expired_use_known``; all times in seconds.
    """
    rows = moves
    summed = rows.group_by(["as_of", "fingerprint"]).aggregate(
        endpoints=rows.count(),
        endpoints_moved=rows.moved.cast("int64").sum(),
        endpoints_still=rows.still.cast("int64").sum(),
        endpoints_gone=rows.gone.cast("int64").sum(),
        moved_low=rows.next_low.max(where=rows.moved),
        moved_high=rows.next_high.max(where=rows.moved),
        moved_known=rows.next_known.max(where=rows.moved),
        first_seen=rows.first_seen.min(),
        first_known=rows.first_known.min(),
        last_look=rows.last_look.max(),
    )
    return summed.left_join(expired_use, ["as_of", "fingerprint"]).drop("as_of_right", "fingerprint_right")
