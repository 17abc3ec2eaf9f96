"""The evidence that one certificate replaces another, beside the exact name set: pairs, each with its kind.

Every function gives a table ``as_of, fingerprint, successor, successor_issued, successor_known, same_names,
switched, kind``; which of several is believed is decided in :mod:`certforecast.renewals.lineages`.
"""

from typing import TYPE_CHECKING

from certforecast.history.tables import Tables
from certforecast.policy import RenewalPolicy
from certforecast.renewals.engine import keep
from certforecast.renewals.namesets import called
from certforecast.renewals.times import DAY, seconds

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["covered", "endpoint", "key", "replaces", "split", "superset_and_overlap", "switched"]

_PAIR = ("as_of", "fingerprint", "successor", "successor_issued", "successor_known")

_AS_SUCCESSOR = {
    "successor": "fingerprint",
    "successor_issued": "issued",
    "successor_known": "known",
    "set_b": "name_set_id",
}


def replaces(tables: Tables, certificates: "ir.Table", policy: RenewalPolicy) -> "ir.Table":
    """Pair the certificates that a client or manager issued one after the other for one of its lineages."""
    import ibis

    events = tables.events
    told = (
        events.filter(events.kind == "issued", events.fingerprint.notnull())
        .select("as_of", "source", "lineage", "fingerprint")
        .distinct()
        .inner_join(
            certificates.select("as_of", "fingerprint", "name_set_id", "issued", "expires", "known"),
            ["as_of", "fingerprint"],
        )
    )
    order = ibis.window(group_by=["as_of", "source", "lineage"], order_by=[told.issued, told.fingerprint])
    rows = told.mutate(
        successor=told.fingerprint.lead().over(order),
        successor_issued=told.issued.lead().over(order),
        successor_known=told.known.lead().over(order),
        set_b=told.name_set_id.lead().over(order),
    )
    return _kind(rows.filter(_in_time(rows, policy)), "replaces")


def endpoint(moves: "ir.Table") -> "ir.Table":
    """Pair the certificates that followed one another on an endpoint, with a name in common."""
    rows = moves.filter(moves.moved, moves.next_issued > moves.issued)
    rows = rows.select(
        *("as_of", "fingerprint", "name_set_id"),
        successor="next_fingerprint",
        successor_issued="next_issued",
        successor_known="next_certificate_known",
        set_b="next_set",
    )
    return _kind(rows.distinct(), "endpoint")


def key(ends: "ir.Table", tables: Tables, policy: RenewalPolicy) -> "ir.Table":
    """Pair certificates that have the same key and a name in common.

    Parameters
    ----------
    ends : ibis table
        The certificates that look for a successor.
    """
    keyed = tables.certificates.select("as_of", "fingerprint", "name_set_id", "spki_hash")
    asked = keyed.semi_join(ends, ["as_of", "fingerprint"]).select("as_of", "spki_hash").distinct()
    keyed = keyed.semi_join(asked, ["as_of", "spki_hash"])
    several = keyed.group_by(["as_of", "spki_hash"]).aggregate(
        one=keyed.name_set_id.min(), other=keyed.name_set_id.max()
    )
    several = keep(several.filter(several.one != several.other).select("as_of", "spki_hash"))
    rows = tables.certificates.semi_join(several, ["as_of", "spki_hash"])
    named = keep(
        rows.select(
            *("as_of", "fingerprint", "spki_hash", "name_set_id"),
            issued=seconds(rows.not_before),
            expires=seconds(rows.not_after),
            known=seconds(rows.known_at),
            name=rows.names.unnest(),
        )
    )
    a = named.semi_join(ends, ["as_of", "fingerprint"])
    b = named.select("as_of", "spki_hash", "name", **_AS_SUCCESSOR)
    rows = a.inner_join(b, ["as_of", "spki_hash", "name"])
    return _kind(rows.filter(rows.successor_issued > rows.issued, _in_time(rows, policy)), "key")


def superset_and_overlap(
    ends: "ir.Table", born: "ir.Table", relations: "ir.Table", policy: RenewalPolicy
) -> "ir.Table":
    """Pair a certificate with the first of a name set that was born after it, and covers it or is similar.

    Parameters
    ----------
    ends : ibis table
        The certificates that look for a successor.
    born : ibis table
        ``as_of, set_b, algorithm_b, successor, successor_issued, successor_known``: the first certificate of
        each set and kind of key.
    relations : ibis table
        As given by :func:`certforecast.renewals.namesets.relations`.
    """
    rows = _newborn(ends, born, relations.filter(relations.covers | relations.similar), policy)
    return _kind(rows.filter(rows.covers), "superset").union(_kind(rows.filter(rows.similar), "overlap"))


def split(
    ends: "ir.Table",
    born: "ir.Table",
    relations: "ir.Table",
    sets: "ir.Table",
    tables: Tables,
    policy: RenewalPolicy,
) -> "ir.Table":
    """Pair a certificate with the main one of those that, together, cover its names from then on.

    The main part is the one that has the first name of the old; then the one with most names.
    """
    import ibis

    parts = _newborn(ends, born, relations.filter(relations.inside), policy)
    parts = parts.inner_join(sets.select(set_b="name_set_id", part="names"), "set_b")
    key = ["as_of", "fingerprint"]
    named = parts.select(*key, "size_a", name=parts.part.unnest()).distinct()
    whole = named.group_by([*key, "size_a"]).aggregate(covered=named.count())
    whole = whole.filter(whole.covered == whole.size_a).select(*key)
    named = tables.certificates.select(*key, name=called(tables.certificates))
    rows = parts.semi_join(whole, key).inner_join(named, key)
    main = ibis.window(
        group_by=key,
        order_by=[
            rows.part.contains(rows.name).desc(),
            rows.part.length().desc(),
            rows.successor_issued,
            rows.successor,
        ],
    )
    rows = rows.mutate(place=ibis.row_number().over(main))
    return _kind(rows.filter(rows.place == 0), "split")


def switched(ends: "ir.Table", certificates: "ir.Table", policy: RenewalPolicy) -> "ir.Table":
    """Pair certificates of the same names and other kinds of key, unless they run side by side.

    One that comes within `parallel_fraction` of the lifetime runs beside the old one.
    """
    b = _several_algorithms(ends, certificates)
    b = b.select("as_of", **_AS_SUCCESSOR, other="key_algorithm")
    rows = ends.inner_join(b, ["as_of", ("name_set_id", "set_b")])
    rows = rows.filter(
        rows.key_algorithm != rows.other, rows.successor_issued > rows.issued, _in_time(rows, policy)
    )
    beside = (
        (rows.key_algorithm != "")
        & (rows.other != "")
        & (
            rows.successor_issued
            < rows.issued + (rows.expires - rows.issued).cast("float64") * policy.parallel_fraction
        )
    )
    return _kind(rows.filter(~beside), "exact")


def covered(ends: "ir.Table", certificates: "ir.Table", relations: "ir.Table") -> "ir.Table":
    """Pair an expired certificate with those that were valid at its expiry and covered all its names."""
    expired = ends.filter(ends.expires <= seconds(ends.as_of))
    columns = ["as_of", "fingerprint", "name_set_id", "expires", *_AS_SUCCESSOR, "successor_expires"]
    b = certificates.select("as_of", **_AS_SUCCESSOR, successor_expires="expires")
    beside = expired.inner_join(relations.filter(relations.covers), [("name_set_id", "set_a")])
    beside = beside.inner_join(b, ["as_of", "set_b"]).select(columns)
    b = _several_algorithms(ends, certificates)
    b = b.select("as_of", **_AS_SUCCESSOR, successor_expires="expires", other="key_algorithm")
    twins = expired.inner_join(b, ["as_of", ("name_set_id", "set_b")])
    twins = twins.filter(twins.key_algorithm != twins.other).select(columns)
    rows = beside.union(twins)
    return _kind(
        rows.filter(rows.successor_issued <= rows.expires, rows.successor_expires > rows.expires), "covered"
    )


def _several_algorithms(ends: "ir.Table", certificates: "ir.Table") -> "ir.Table":
    """Keep the certificates of name sets for which keys of different kinds are known."""
    # The last of each kind looks for a successor, so `ends` tells which kinds there are.
    rows = ends.group_by(["as_of", "name_set_id"]).aggregate(
        one=ends.key_algorithm.min(), other=ends.key_algorithm.max()
    )
    return certificates.semi_join(rows.filter(rows.one != rows.other), ["as_of", "name_set_id"])


def _newborn(ends: "ir.Table", born: "ir.Table", relations: "ir.Table", policy: RenewalPolicy) -> "ir.Table":
    rows = ends.inner_join(relations, [("name_set_id", "set_a")]).inner_join(born, ["as_of", "set_b"])
    rows = rows.mutate(switched=rows.key_algorithm != rows.algorithm_b)
    return rows.filter(rows.successor_issued > rows.issued, _in_time(rows, policy))


def _in_time(rows: "ir.Table", policy: RenewalPolicy) -> "ir.BooleanValue":
    return rows.successor_issued <= rows.expires + int(policy.successor_window_days * DAY)


def _kind(rows: "ir.Table", kind: "str | ir.StringValue") -> "ir.Table":
    import ibis

    return rows.select(
        *_PAIR,
        same_names=rows.name_set_id == rows.set_b,
        switched=rows.switched if "switched" in rows.columns else ibis.literal(False),
        kind=ibis.literal(kind) if isinstance(kind, str) else kind,
    )
