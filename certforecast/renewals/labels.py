"""The name of each lineage: the fingerprint of its earliest certificate.

A lineage is a connected component of the successor links. As a certificate has one successor at most, issued
later, the links are a forest, and its roots are found by pointer jumping (Shiloach and Vishkin, 1982): each
round doubles the distance that a pointer spans. Most lineages are plain, one name set renewed again and
again, and need none of this; in the others, plain stretches are contracted first. A certificate that was
merged into another lineage (``covered``) ends its own.
"""

from typing import TYPE_CHECKING

from certforecast.renewals.engine import keep

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["labelled"]

_KEY = ("as_of", "fingerprint")
_SERIES = ("as_of", "name_set_id", "key_algorithm")


def labelled(rows: "ir.Table", certificates: "ir.Table") -> "ir.Table":
    """Add ``lineage`` to certificates with their successors.

    Parameters
    ----------
    rows : ibis table
        As given by :func:`certforecast.renewals.lineages.successors`.
    certificates : ibis table
        As given by :func:`certforecast.renewals.lineages.certificates`.

    Returns
    -------
    ibis table
        The same with ``lineage``, and without ``next, next_issued, next_known, earliest``.
    """
    import ibis

    linked = rows.mutate(onward=ibis.ifelse(rows.why == "covered", None, rows.successor))
    # Where the successor is not simply the next: few, so that `rows`, which is large, need not be kept.
    branching = linked.filter(~linked.onward.identical_to(linked.next))
    branching = keep(branching.select(*_SERIES, "fingerprint", "next", "onward"))
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
        "label", "earliest", "next", "next_issued", "next_known"
    )


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
        if not jumped.filter(jumped.moved).limit(1).count().execute():
            break
    first = ibis.window(group_by=["as_of", "to"], order_by=[pointers.began, pointers.start])
    named = pointers.select("as_of", "start", label=pointers.start.first().over(first))
    labelled = rows.select("as_of", "fingerprint", "start").inner_join(named, ["as_of", "start"])
    return keep(labelled.select("as_of", "fingerprint", "label"))
