"""The name of each lineage: the fingerprint of its earliest certificate.

A lineage is a connected component of the successor links. As a certificate has one successor at most, issued
later, the links are a forest, and its roots are found by pointer jumping (Shiloach and Vishkin, 1982): each
round doubles the distance that a pointer spans. Most lineages are plain, one name set renewed again and
again, and need none of this; in the others, plain stretches are contracted first. A certificate that was
merged into another lineage (``covered``) ends its own.
"""

from typing import TYPE_CHECKING

from certforecast.renewals.engine import any_row, keep

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["labelled"]

_KEY = ("as_of", "fingerprint")
_SERIES = ("as_of", "name_set_id", "key_algorithm")


def labelled(rows: "ir.Table", certificates: "ir.Table", relations: "ir.Table") -> "ir.Table":
    """Add ``lineage`` to certificates with their successors.

    Parameters
    ----------
    rows : ibis table
        As given by :func:`certforecast.renewals.lineages.successors`.
    certificates : ibis table
        As given by :func:`certforecast.renewals.lineages.certificates`.
    relations : ibis table
        As given by :func:`certforecast.renewals.namesets.relations`.

    Returns
    -------
    ibis table
        The same with ``lineage``, and without ``next, next_issued, next_known, earliest, fresh``.
    """
    import ibis

    # Where the successor is not simply the next: few, so that `rows`, which is large, need not be kept.
    branching = rows.filter(~rows.successor.identical_to(rows.next) | (rows.why == "covered"))
    columns = (*_SERIES, "fingerprint", "issued", "next", "successor", "why")
    branching = _ours(keep(branching.select(*columns)), certificates, relations)
    reached = branching.filter(branching.onward.notnull()).select("as_of", fingerprint="onward")
    series = (
        branching.filter(branching.onward.notnull() | branching.next.notnull())
        .select(*_SERIES)
        .union(certificates.semi_join(reached, list(_KEY)).select(*_SERIES))
        .distinct()
    )
    tangled = certificates.semi_join(series, list(_SERIES)).select(*_SERIES, "fingerprint", "issued", "next")
    other = branching.select(*_KEY, "onward", branches=True)
    tangled = tangled.left_join(other, list(_KEY)).drop("as_of_right", "fingerprint_right")
    tangled = tangled.mutate(successor=ibis.ifelse(tangled.branches.notnull(), tangled.onward, tangled.next))
    labels = _components(keep(tangled.drop("onward", "branches")))
    joined = rows.left_join(labels, list(_KEY)).drop("as_of_right", "fingerprint_right")
    return joined.mutate(lineage=joined.label.coalesce(joined.earliest)).drop(
        "label", "earliest", "fresh", "next", "next_issued", "next_known"
    )


def _ours(branching: "ir.Table", certificates: "ir.Table", relations: "ir.Table") -> "ir.Table":
    """Add ``onward``: the successor, if it goes on with this lineage and not with another one.

    Where certificates of unrelated name sets have one successor, they were merged, and it goes on with the
    one that it follows on an endpoint, or resembles most. It goes on with a certificate of its own names
    before any other; and always with the one that its client says it replaces.
    """
    import ibis

    b = certificates.select(
        "as_of", successor="fingerprint", set_b="name_set_id", algorithm_b="key_algorithm"
    )
    edges = branching.filter(branching.why != "covered").inner_join(b, ["as_of", "successor"])
    # Plain successors: those that simply are the next of their kind.
    before = certificates.semi_join(edges, ["as_of", ("next", "successor")]).anti_join(branching, list(_KEY))
    plain = before.select("as_of", successor="next", plain=True)
    edges = edges.left_join(plain, ["as_of", "successor"]).drop("as_of_right", "successor_right")
    edges = edges.mutate(told=edges.why.contains("replaces"), same=edges.name_set_id == edges.set_b)
    # A kind of key that nobody told may be any.
    alike = (
        (edges.key_algorithm == edges.algorithm_b) | (edges.key_algorithm == "") | (edges.algorithm_b == "")
    )
    edges = edges.mutate(alike=alike)
    claim = ibis.window(
        group_by=["as_of", "successor"],
        order_by=[
            edges.told.desc(),
            edges.same.desc(),
            edges.alike.desc(),
            edges.why.contains("endpoint").desc(),
            edges.why.contains("overlap").desc(),
            edges.issued.desc(),
            edges.fingerprint,
        ],
    )
    # The names with which it goes on: those of its plain predecessor, else of who has the best claim.
    edges = edges.mutate(
        main=ibis.ifelse(edges.plain.notnull(), edges.set_b, edges.name_set_id.first().over(claim))
    )
    akin = relations.select(name_set_id="set_a", main="set_b", akin=True)
    edges = edges.left_join(akin, ["name_set_id", "main"]).drop("name_set_id_right", "main_right")
    edges = edges.filter(
        edges.told | edges.same | (edges.alike & (edges.akin.notnull() | (edges.name_set_id == edges.main)))
    )
    onward = edges.select(*_KEY, onward="successor")
    joined = branching.left_join(onward, list(_KEY)).drop("as_of_right", "fingerprint_right")
    return keep(joined.select(*_SERIES, "fingerprint", "next", "onward"))


def _components(rows: "ir.Table") -> "ir.Table":
    """Label connected components: ``as_of, fingerprint, label``."""
    import ibis

    order = ibis.window(group_by=list(_SERIES), order_by=[rows.issued, rows.fingerprint])
    before = rows.successor.lag().over(order)
    rows = rows.mutate(starts=~before.identical_to(rows.fingerprint))
    counted = ibis.cumulative_window(group_by=list(_SERIES), order_by=[rows.issued, rows.fingerprint])
    rows = rows.mutate(stretch=rows.starts.cast("int64").sum().over(counted))
    place = [*_SERIES, "stretch"]
    starts = rows.filter(rows.starts).select(*place, start="fingerprint", began="issued")
    rows = keep(
        rows.inner_join(starts, place).select("as_of", "fingerprint", "next", "successor", "start", "began")
    )
    leaves = rows.filter(rows.successor.notnull() & ~rows.successor.identical_to(rows.next))
    targets = rows.select("as_of", successor="fingerprint", to="start")
    edges = leaves.inner_join(targets, ["as_of", "successor"]).select("as_of", "start", "to")
    stretches = rows.select("as_of", "start", "began").distinct()
    stretches = stretches.left_join(edges, ["as_of", "start"]).drop("as_of_right", "start_right")
    pointers = keep(stretches.mutate(to=stretches.to.coalesce(stretches.start)))
    while True:
        onward = pointers.select("as_of", to="start", beyond="to")
        jumped = pointers.inner_join(onward, ["as_of", "to"])
        jumped = keep(jumped.select("as_of", "start", "began", to="beyond", moved=jumped.to != jumped.beyond))
        pointers = jumped.drop("moved")
        if not any_row(jumped.filter(jumped.moved)):
            break
    first = ibis.window(group_by=["as_of", "to"], order_by=[pointers.began, pointers.start])
    named = pointers.select("as_of", "start", label=pointers.start.first().over(first))
    labelled = rows.select("as_of", "fingerprint", "start").inner_join(named, ["as_of", "start"])
    return keep(labelled.select("as_of", "fingerprint", "label"))
