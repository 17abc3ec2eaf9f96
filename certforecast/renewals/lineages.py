"""Which certificate replaces which, and the lineages that follow from it.

A successor of certificate A is a later certificate B, with one of four kinds of evidence (`link`):

``exact``
    B has the same names and was issued before A had been expired for `successor_window_days`.
``superset``
    B's names include all of A's, and that name set was born after A was issued: the set has grown.
``endpoint``
    B shares a name with A, is newer, and replaced it on an endpoint.
``covered``
    When A expired, a live certificate covered all its names: A was merged into another lineage.

A candidate seen to take over an endpoint of A comes before any other; then the kinds rank in this order;
then the earliest issued is taken.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from certforecast.history.tables import Tables
from certforecast.policy import RenewalPolicy
from certforecast.renewals.times import DAY, seconds

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["certificates", "label_lineages", "overlaps", "successors"]


def certificates(tables: Tables) -> "ir.Table":
    """Select what renewals need to know of certificates, times in seconds.

    Returns
    -------
    ibis table
        ``as_of, fingerprint, name_set_id, names, name, issued, expires, known``.
    """
    rows = tables.certificates
    return rows.select(
        "as_of",
        "fingerprint",
        "name_set_id",
        "names",
        name=rows.subject_cn.nullif("").coalesce(rows.names[0]),
        issued=seconds(rows.not_before),
        expires=seconds(rows.not_after),
        known=seconds(rows.known_at),
    )


def overlaps(tables: Tables) -> "ir.Table":
    """Count the names that any two name sets share.

    Returns
    -------
    ibis table
        ``set_a, set_b, shared, size_a``, for pairs that share at least one name, a set with itself included.
    """
    rows = tables.certificates
    members = rows.select("name_set_id", name=rows.names.unnest()).distinct()
    sizes = members.group_by("name_set_id").aggregate(size_a=members.count())
    a = members.select(set_a="name_set_id", name="name")
    b = members.view().select(set_b="name_set_id", name="name")
    shared = a.inner_join(b, "name").group_by(["set_a", "set_b"]).aggregate(shared=lambda t: t.count())
    return shared.inner_join(sizes.select(set_a="name_set_id", size_a="size_a"), "set_a")


def successors(
    certificates: "ir.Table", overlaps: "ir.Table", replacements: "ir.Table", policy: RenewalPolicy
) -> "ir.Table":
    """Choose for every certificate its successor as far as it is known at each moment.

    Returns
    -------
    ibis table
        ``as_of, fingerprint, successor, link, successor_issued, successor_known`` (seconds), a row for each
        certificate that has a successor.
    """
    import ibis

    born = certificates.group_by(["as_of", "name_set_id"]).aggregate(born=certificates.issued.min())
    covering = overlaps.filter(overlaps.shared == overlaps.size_a).select("set_a", "set_b")
    a = certificates.select(
        "as_of",
        "fingerprint",
        "issued",
        "expires",
        "known",
        set_a="name_set_id",
        now=seconds(certificates.as_of),
    )
    later = certificates.view()
    b = later.inner_join(born, ["as_of", "name_set_id"]).select(
        "as_of",
        "born",
        set_b="name_set_id",
        successor="fingerprint",
        successor_issued="issued",
        successor_expires="expires",
        successor_seen="known",
    )
    window = int(policy.successor_window_days * DAY)
    pairs = a.inner_join(covering, "set_a").inner_join(b, ["as_of", "set_b"])
    in_time = (pairs.successor_issued > pairs.issued) & (pairs.successor_issued <= pairs.expires + window)
    covered = (
        (pairs.now >= pairs.expires)
        & (pairs.successor_issued <= pairs.expires)
        & (pairs.successor_expires > pairs.expires)
        & (pairs.successor != pairs.fingerprint)
    )
    by_name = pairs.mutate(
        rank=ibis.cases(
            ((pairs.set_a == pairs.set_b) & in_time, 1),
            (in_time & (pairs.born > pairs.issued), 2),
            (covered & (pairs.set_a != pairs.set_b), 4),
            else_=0,
        )
    ).filter(lambda t: t["rank"] > 0)
    columns = ["as_of", "fingerprint", "successor", "successor_issued", "rank", "known", "successor_seen"]
    moved = replacements.filter(replacements.moved, replacements.next_issued > replacements.issued).select(
        "as_of", "fingerprint", successor="next_fingerprint"
    )
    moved = moved.distinct()
    by_endpoint = (
        moved.inner_join(a.select("as_of", "fingerprint", "known"), ["as_of", "fingerprint"])
        .inner_join(
            b.select("as_of", "successor", "successor_issued", "successor_seen"), ["as_of", "successor"]
        )
        .mutate(rank=ibis.literal(3, type="int8"))
    )
    candidates = (
        by_name.mutate(rank=by_name["rank"].cast("int8"))
        .select(columns)
        .union(by_endpoint.select(columns))
        .left_join(moved.mutate(seen=True), ["as_of", "fingerprint", "successor"])
    )
    first = ibis.window(
        group_by=["as_of", "fingerprint"],
        order_by=[
            candidates.seen.fill_null(False).desc(),
            candidates["rank"],
            candidates.successor_issued,
            candidates.successor,
        ],
    )
    chosen = candidates.mutate(place=ibis.row_number().over(first)).filter(lambda t: t.place == 0)
    return chosen.select(
        "as_of",
        "fingerprint",
        "successor",
        "successor_issued",
        link=chosen["rank"].cases((1, "exact"), (2, "superset"), (3, "endpoint"), else_="covered"),
        successor_known=ibis.greatest(chosen.known, chosen.successor_seen),
    )


def label_lineages(links: pd.DataFrame) -> "pd.Series[str]":
    """Name the lineage of each certificate: the fingerprint of its earliest member.

    Parameters
    ----------
    links : DataFrame, shape (n_rows, >=4)
        Columns ``as_of, fingerprint, issued, successor``, one row for each certificate at each moment;
        ``successor`` null where there is none.

    Returns
    -------
    Series of str, shape (n_rows,)
        Lineages are the connected components of the successor links, each moment by itself.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(links)
    node = pd.Series(np.arange(count), index=pd.MultiIndex.from_frame(links[["as_of", "fingerprint"]]))
    linked = links["successor"].notna().to_numpy()
    targets = pd.MultiIndex.from_arrays([links["as_of"][linked], links["successor"][linked]])
    start, end = np.flatnonzero(linked), node.reindex(targets).to_numpy().astype(np.int64)
    graph = coo_array((np.ones(len(start), dtype=np.int8), (start, end)), shape=(count, count))
    component = connected_components(graph, directed=False)[1]
    order = np.lexsort((links["fingerprint"].to_numpy(dtype=str), links["issued"].to_numpy(), component))
    first = order[np.unique(component[order], return_index=True)[1]]
    return pd.Series(
        links["fingerprint"].to_numpy(dtype=object)[first][component], index=links.index, dtype="str"
    )
