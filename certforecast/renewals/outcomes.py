"""What became of each renewal, as far as it is known at each moment.

Rules, in this order (DESIGN words: on_time, slipped, failed, retired, open):

1. The certificate was seen in service after its expiry: ``failed``.
2. Its successor certainly came into service after the expiry: ``failed``.
3. Its successor is in service on every endpoint still alive: ``on_time`` up to the slip point, else
   ``slipped``. The switch is dated half-way between the looks around it, at the latest at the expiry:
   a gap is only claimed where it was seen.
4. A ``retired`` event is recorded, or the grace period is over without a sign of use: ``retired``.
5. Otherwise ``open``, which is to say right-censored.

Where no endpoint of a certificate was ever seen, or none was looked at after its expiry although a successor
was issued, issuance stands in for service (`evidence` says which).
"""

from typing import TYPE_CHECKING

from certforecast.history.tables import Tables
from certforecast.policy import RenewalPolicy
from certforecast.renewals.times import DAY, seconds

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["outcomes"]


def outcomes(
    certificates: "ir.Table",
    successors: "ir.Table",
    service: "ir.Table",
    tables: Tables,
    policy: RenewalPolicy,
) -> "ir.Table":
    """Join certificates, successors and service, and judge.

    Returns
    -------
    ibis table
        One row a certificate and moment: the certificate's columns, the successor's, the service counts, and
        ``due, slip_point, in_service, resolved`` (seconds), ``outcome``, ``evidence``, ``intervention``.
    """
    import ibis

    taken = service.select(
        "as_of", successor="fingerprint", taken_seen="first_seen", taken_known="first_known"
    )
    rows = (
        certificates.left_join(successors, ["as_of", "fingerprint"])
        .drop("as_of_right", "fingerprint_right")
        .left_join(service, ["as_of", "fingerprint"])
        .drop("as_of_right", "fingerprint_right")
    )
    rows = rows.left_join(taken, ["as_of", "successor"]).drop("as_of_right", "successor_right")
    rows = rows.left_join(_marks(certificates, tables, policy), ["as_of", "fingerprint"]).drop(
        "as_of_right", "fingerprint_right"
    )
    lifetime = rows.expires - rows.issued
    short = lifetime < policy.short_lifetime_days * DAY
    fraction = ibis.ifelse(short, policy.short_due_fraction, policy.due_fraction)
    rows = rows.mutate(
        now=seconds(rows.as_of),
        endpoints=rows.endpoints.fill_null(0),
        endpoints_moved=rows.endpoints_moved.fill_null(0),
        endpoints_still=rows.endpoints_still.fill_null(0),
        endpoints_gone=rows.endpoints_gone.fill_null(0),
        intervention=rows.intervention.fill_null(False),
        due=rows.issued + (lifetime * fraction).cast("int64"),
        slip_point=rows.expires
        - ibis.least(lifetime * policy.slip_fraction, policy.slip_cap_days * DAY).cast("int64"),
    )
    grace_end = rows.expires + int(policy.grace_days * DAY)
    graced = rows.now >= grace_end
    seen = rows.endpoints > 0
    stale = graced & (rows.last_look < rows.expires)
    by_issuance = rows.successor.notnull() & (~seen | stale)
    by_move = ~by_issuance & seen & (rows.endpoints_still == 0) & (rows.endpoints_moved > 0)
    elsewhere = (
        ~by_issuance & seen & (rows.endpoints_still + rows.endpoints_moved == 0) & rows.taken_seen.notnull()
    )

    def by_evidence(move: "ir.Value", other: "ir.Value", issuance: "ir.Value") -> "ir.Value":
        return ibis.cases((by_issuance, issuance), (by_move, move), (elsewhere, other))

    # A link by coverage has no issue of its own: the other lineage was in place all along.
    issued = ibis.ifelse(rows.link == "covered", rows.expires, rows.successor_issued)
    rows = rows.mutate(
        evidence=ibis.ifelse(by_issuance | ~seen, "issuance", "service"),
        service_low=by_evidence(rows.moved_low, rows.successor_issued, issued),
        service_high=by_evidence(rows.moved_high, rows.taken_seen, issued),
        service_known=by_evidence(
            rows.moved_known,
            ibis.greatest(rows.taken_known, rows.successor_known),
            ibis.ifelse(seen, ibis.greatest(grace_end, rows.successor_known), rows.successor_known),
        ),
    )
    middle = rows.service_low + (rows.service_high - rows.service_low) // 2
    late = rows.service_low > rows.expires
    rows = rows.mutate(
        in_service=ibis.cases(
            (late, rows.service_low),
            (middle > rows.expires, rows.expires),
            else_=middle,  # null as long as no successor is in service
        )
    )
    # Whoever is merged into another lineage was covered; to call it on time or late would be a guess.
    merged = rows.link.fill_null("") == "covered"
    rules = [
        (rows.expired_use_known.notnull(), "failed", rows.expired_use_known),
        (merged & rows.in_service.notnull(), "retired", ibis.greatest(rows.expires, rows.service_known)),
        (rows.in_service.notnull() & late, "failed", rows.service_known),
        (rows.in_service.notnull() & (rows.in_service <= rows.slip_point), "on_time", rows.service_known),
        (rows.in_service.notnull(), "slipped", rows.service_known),
        (rows.retired_known.notnull(), "retired", rows.retired_known),
        (graced, "retired", grace_end),
    ]
    return rows.mutate(
        outcome=ibis.cases(*((rule, outcome) for rule, outcome, _ in rules), else_="open"),
        resolved=ibis.cases(*((rule, known) for rule, _, known in rules)),
    )


def _marks(certificates: "ir.Table", tables: Tables, policy: RenewalPolicy) -> "ir.Table":
    """Find retirements and our own interventions in the events, by the names of the certificate."""
    events = tables.events
    own = events.source == "executor"
    kinds = ["retired", "order_created", "reloaded"]
    events = events.filter(events.kind.isin(kinds) & (own | (events.kind == "retired"))).select(
        "as_of",
        "kind",
        "detail",
        name=events.lineage,
        at=seconds(events.at),
        event_known=seconds(events.known_at),
        own=own,
    )
    named = certificates.select("as_of", "fingerprint", "issued", "expires", name=certificates.names.unnest())
    rows = named.inner_join(events, ["as_of", "name"])
    rows = rows.filter(rows["at"] >= rows.issued, rows["at"] <= rows.expires + int(policy.grace_days * DAY))
    return rows.group_by(["as_of", "fingerprint"]).aggregate(
        retired_known=rows.event_known.min(where=(rows.kind == "retired")),
        # The executor names the certificate it acts upon, so that its successor is not marked too.
        intervention=(rows.own & (rows.detail == rows.fingerprint)).any(),
    )
