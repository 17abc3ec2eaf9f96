"""Which certificate replaces which: all the evidence together, and what is believed when it disagrees.

The successor of a certificate is a later one of the same service. Evidence, in the order in which it is
believed (`why` names all that speaks for the pair, as in ``"exact+endpoint"``):

``replaces``
    The client or manager that issued both holds them in one lineage, one after the other: certbot's and
    cert-manager's lineages, Lemur's ``replaces``.
``endpoint``
    It followed on an endpoint, is newer, and shares a name.
``exact``
    The same names and the same kind of key, the next one issued. RSA and ECDSA certificates that run side by
    side are lineages of their own; a switch from one to the other is a renewal.
``superset``
    Its names cover all of the old (by wildcards, too), and that name set was born after the old was issued:
    the set has grown, or a wildcard took over.
``key``
    The same key and a name in common.
``split``
    Together with others, all name sets born after the old was issued, it covers the old's names.
``overlap``
    A name set born after the old was issued that shares at least half of the names that either has: the set
    shrank, or its tenants shuffle.
``covered``
    When the old expired, a valid certificate covered all its names: it was merged into another lineage.

Of several with the same evidence, one with the same kind of key is taken before others, then the earliest.
An ``exact`` one that came only after the expiry gives way to what covered the gap. All but ``covered`` must
be issued before the old one has been expired for `successor_window_days`. A name set is also born again when
none of its certificates was valid. Names a successor drops are taken to be given up, unless an endpoint goes
on serving the old certificate: then its renewal goes on, too.
"""

from typing import TYPE_CHECKING

from certforecast.history.tables import Tables
from certforecast.policy import RenewalPolicy
from certforecast.renewals import evidence
from certforecast.renewals.engine import keep
from certforecast.renewals.namesets import first
from certforecast.renewals.times import DAY, seconds

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["EVIDENCE", "certificates", "successors"]

#: Kinds of evidence, the most trusted first.
EVIDENCE = ("replaces", "endpoint", "exact", "superset", "key", "split", "overlap", "covered")

_KEY = ["as_of", "fingerprint"]


def certificates(tables: Tables) -> "ir.Table":
    """Select what linking needs to know of certificates, times in seconds.

    Returns
    -------
    ibis table
        ``as_of, fingerprint, name_set_id, key_algorithm`` (empty if unknown) ``, issuer, domain, issued,
        expires, known``; and of the next certificate with the same names and kind of key, if it came in
        time for the old: ``next, next_issued, next_known``; ``earliest``, the first such certificate; and
        ``fresh``, whether the one before had expired by then, or there was none.
    """
    import ibis

    rows = tables.certificates
    rows = rows.select(
        *_KEY,
        "name_set_id",
        key_algorithm=rows.key_algorithm.fill_null(""),
        issuer=rows.issuer_org.coalesce(rows.issuer_cn, rows.issuer_dn),
        domain=first(rows.registered_domains),
        issued=seconds(rows.not_before),
        expires=seconds(rows.not_after),
        known=seconds(rows.known_at),
    )
    order = ibis.window(
        group_by=["as_of", "name_set_id", "key_algorithm"], order_by=[rows.issued, rows.fingerprint]
    )
    return keep(
        rows.mutate(
            next=rows.fingerprint.lead().over(order),
            next_issued=rows.issued.lead().over(order),
            next_known=rows.known.lead().over(order),
            earliest=rows.fingerprint.first().over(order),
            fresh=(rows.expires.lag().over(order) < rows.issued).fill_null(True),
        )
    )


def successors(
    certificates: "ir.Table",
    moves: "ir.Table",
    relations: "ir.Table",
    sets: "ir.Table",
    tables: Tables,
    policy: RenewalPolicy,
) -> "ir.Table":
    """Choose for every certificate its successor as far as it is known at each moment.

    Returns
    -------
    ibis table
        The columns of `certificates`, a row each, with ``successor, why, successor_issued,
        successor_known`` (seconds), null where there is none.
    """
    import ibis

    rows = certificates
    in_time = rows.next_issued <= rows.expires + int(policy.successor_window_days * DAY)
    ends = keep(rows.filter(~(rows.next_issued <= rows.expires).fill_null(False)))
    born = rows.filter(rows.fresh).semi_join(relations, [("name_set_id", "set_b")])
    born = keep(
        born.select(
            "as_of",
            set_b="name_set_id",
            algorithm_b="key_algorithm",
            successor="fingerprint",
            successor_issued="issued",
            successor_known="known",
        )
    )
    pairs = ibis.union(
        evidence.replaces(tables, rows, policy),
        evidence.endpoint(moves),
        evidence.switched(ends, rows, policy),
        evidence.key(ends, tables, policy),
        evidence.superset_and_overlap(ends, born, relations, policy),
        evidence.split(ends, born, relations, sets, tables, policy),
        evidence.covered(ends, rows, relations),
    )
    best = keep(_best(pairs))
    joined = rows.left_join(best, _KEY).drop("as_of_right", "fingerprint_right")
    joined = joined.mutate(exact=in_time.fill_null(False))
    told = joined["rank"] < EVIDENCE.index("exact")
    filled = (joined.other_issued < joined.next_issued) & joined["rank"].between(
        EVIDENCE.index("exact") + 1, EVIDENCE.index("covered") - 1
    )
    by_next = joined.exact & ~told.fill_null(False) & ~filled.fill_null(False)
    joined = joined.mutate(
        successor=ibis.ifelse(by_next, joined.next, joined.other),
        successor_issued=ibis.ifelse(by_next, joined.next_issued, joined.other_issued),
        successor_known=ibis.greatest(
            joined.known, ibis.ifelse(by_next, joined.next_known, joined.other_known)
        ),
        why=ibis.cases(
            (by_next & (joined.next == joined.other), _words(joined, exact=True)),
            (by_next, ibis.literal("exact")),
            (joined.other.notnull(), _words(joined, exact=False)),
        ),
    )
    return joined.select(*certificates.columns, "successor", "why", "successor_issued", "successor_known")


def _best(pairs: "ir.Table") -> "ir.Table":
    """Give the pair to believe for each certificate, with all that speaks for it, as flags."""
    import ibis

    flags = {kind: (pairs.kind == kind).any() for kind in EVIDENCE}
    flags["exact"] = flags["exact"] | (pairs.same_names & (pairs.kind != "covered")).any()
    rank = pairs.kind.cases(*((kind, number) for number, kind in enumerate(EVIDENCE)), else_=len(EVIDENCE))
    rows = pairs.mutate(rank=rank).group_by([*_KEY, "successor"])
    rows = rows.aggregate(
        rank=lambda t: t["rank"].min(),
        other_issued=lambda t: t.successor_issued.max(),
        other_known=lambda t: t.successor_known.max(),
        switched=lambda t: t.switched.any(),
        **flags,
    ).rename(other="successor")
    order = ibis.window(group_by=_KEY, order_by=[rows["rank"], rows.switched, rows.other_issued, rows.other])
    rows = rows.mutate(place=ibis.row_number().over(order))
    return (
        rows.filter(rows.place == 0)
        .drop("place", "switched")
        .rename(**{f"by_{kind}": kind for kind in EVIDENCE})
    )


def _words(rows: "ir.Table", *, exact: bool) -> "ir.StringValue":
    """Write the evidence for the best pair as one word, its parts joined by a plus sign."""
    import ibis

    said = ibis.literal("")
    for kind in EVIDENCE:
        flag = rows[f"by_{kind}"] | (exact and kind == "exact")
        if kind == "covered":  # says nothing where anything else speaks
            flag = flag & (rows["rank"] == EVIDENCE.index(kind)) & (not exact)
        said += ibis.ifelse(flag, f"+{kind}", "")
    return said.substr(1)
