"""How sets of names relate: which covers which, and which are nearly the same.

These are facts about names alone. They hold at every moment, so they are computed once.

Comparing every set with every other is hopeless; two filters leave few pairs. A set that covers A holds A's
rarest name, or its wildcard. Two sets with a Jaccard similarity of 1/2 or more share a name among the
rarest half of each (the prefix filter of Chaudhuri, Ganti and Kaushik, ICDE 2006).
"""

from typing import TYPE_CHECKING

from certforecast.history.tables import Tables
from certforecast.renewals.engine import keep

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["called", "first", "relations", "sets", "star"]


def star(name: "ir.StringValue") -> "ir.StringValue":
    """Give the wildcard that covers a name (RFC 6125, section 6.4.3): its first label replaced by a star."""
    import ibis

    return ibis.literal("*") + name.substr(ibis.greatest(name.find("."), 0))


def first(names: "ir.ArrayValue") -> "ir.StringValue":
    """Give the first of some names, null if there is none (some engines fail there)."""
    import ibis

    return ibis.ifelse(names.length() > 0, names[0], None)


def called(certificates: "ir.Table") -> "ir.StringValue":
    """Give the name by which people know a certificate: its common name, else its first name."""
    return certificates.subject_cn.nullif("").coalesce(first(certificates.names))


def sets(tables: Tables) -> "ir.Table":
    """List the name sets: ``name_set_id, names``, one row each."""
    rows = tables.certificates
    return rows.group_by("name_set_id").aggregate(names=rows.names.arbitrary())


def relations(sets: "ir.Table") -> "ir.Table":
    """Compare name sets.

    Parameters
    ----------
    sets : ibis table
        As given by :func:`sets`.

    Returns
    -------
    ibis table
        ``set_a, set_b, size_a, covers`` (every name of A is in B, itself or by a wildcard), ``similar`` (they
        share at least half of the names that either has), ``inside`` (every name of B is in A). A row for
        each ordered pair of different sets for which one of the three holds.
    """
    import ibis

    members = sets.select("name_set_id", name=sets.names.unnest())
    common = members.group_by("name").aggregate(common=members.count())
    sizes = sets.select("name_set_id", "names", size=sets.names.length())
    # A set that shares no name with another cannot relate to one, unless by a wildcard.
    stars = members.filter(members.name.startswith("*.")).select(name="name").distinct()
    starred = members.mutate(star=star(members.name)).semi_join(stars, [("star", "name")])
    related = (
        members.semi_join(common.filter(common.common > 1), "name")
        .select("name_set_id")
        .union(starred.select("name_set_id"), distinct=True)
    )
    rows = (
        members.semi_join(related, "name_set_id")
        .inner_join(common, "name")
        .inner_join(sizes.select("name_set_id", "size"), "name_set_id")
    )
    rarest = ibis.window(group_by="name_set_id", order_by=[rows.common, rows.name])
    rows = keep(rows.select("name_set_id", "name", "size", place=ibis.row_number().over(rarest)))
    first = rows.filter(rows.place == 0)
    keys = first.select(set_a="name_set_id", name="name").union(
        first.select(set_a="name_set_id", name=star(first.name)), distinct=True
    )
    held = rows.select(set_b="name_set_id", name="name")
    covering = keys.inner_join(held, "name").select("set_a", "set_b")
    prefix = rows.filter(rows.place <= rows["size"] // 2)
    a = prefix.select(set_a="name_set_id", name="name")
    b = prefix.select(set_b="name_set_id", name="name")
    alike = a.inner_join(b, "name").select("set_a", "set_b")
    inside = covering.select(set_a="set_b", set_b="set_a")
    pairs = covering.union(alike, inside).distinct().filter(lambda t: t.set_a != t.set_b)
    pairs = pairs.inner_join(
        sizes.select(set_a="name_set_id", names_a="names", size_a="size"), "set_a"
    ).inner_join(sizes.select(set_b="name_set_id", names_b="names", size_b="size"), "set_b")
    shared = pairs.names_a.intersect(pairs.names_b).length()
    names_b = pairs.names_b
    covered = pairs.names_a.filter(lambda name: names_b.contains(name) | names_b.contains(star(name)))
    return pairs.select(
        "set_a",
        "set_b",
        "size_a",
        covers=covered.length() == pairs.size_a,
        similar=2 * shared >= pairs.size_a + pairs.size_b - shared,
        inside=shared == pairs.size_b,
    ).filter(lambda t: t.covers | t.similar | t.inside)
