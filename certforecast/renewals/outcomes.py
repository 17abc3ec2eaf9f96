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
from certforecast.renewals.ari import last_asked
from certforecast.renewals.events import concerning
from certforecast.renewals.times import DAY, seconds

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["outcomes"]

_KEY = ["as_of", "fingerprint"]
#: What the executor does to a renewal, as its events tell.
_ACTS = ["order_created", "reloaded"]


def outcomes(
    rows: "ir.Table", service: "ir.Table", sets: "ir.Table", tables: Tables, policy: RenewalPolicy
) -> "ir.Table":
    """Join certificates with their successors to what was seen in service, and judge.

    Parameters
    ----------
    rows : ibis table
        As given by :func:`certforecast.renewals.labels.labelled`.
    service : ibis table
        As given by :func:`certforecast.renewals.service.service`.
    sets : ibis table
        As given by :func:`certforecast.renewals.namesets.sets`.

    Returns
    -------
    ibis table
        One row a certificate and moment: the columns of `rows`, the service counts, and ``due, slip_point,
        in_service, resolved`` (seconds), ``outcome``, ``evidence``, ``intervention``, ``intervened,
        held_out`` (seconds) and ``holdout_share``.
    """
    import ibis

    taken = service.select(
        "as_of", successor="fingerprint", taken_seen="first_seen", taken_known="first_known"
    )
    marks = _marks(rows, sets, tables, policy)
    rows = rows.left_join(service, _KEY).drop("as_of_right", "fingerprint_right")
    rows = rows.left_join(taken, ["as_of", "successor"]).drop("as_of_right", "successor_right")
    rows = rows.left_join(marks, _KEY).drop("as_of_right", "fingerprint_right")
    asked = last_asked(tables).drop("asked_detail")
    rows = rows.left_join(asked, _KEY).drop("as_of_right", "fingerprint_right")
    lifetime = (rows.expires - rows.issued).cast("float64")
    short = lifetime < policy.short_lifetime_days * DAY
    fraction = ibis.ifelse(short, policy.short_due_fraction, policy.due_fraction)
    slip_point = rows.expires - ibis.least(
        lifetime * policy.slip_fraction, policy.slip_cap_days * DAY
    ).round().cast("int64")
    # Engines differ in what is least among nulls, so these are kept apart.
    asked_for = ibis.greatest(ibis.least(rows.asked_moment, slip_point), rows.issued)
    by_rule = rows.issued + (lifetime * fraction).round().cast("int64")
    rows = rows.mutate(
        now=seconds(rows.as_of),
        endpoints=rows.endpoints.fill_null(0),
        endpoints_moved=rows.endpoints_moved.fill_null(0),
        endpoints_still=rows.endpoints_still.fill_null(0),
        endpoints_gone=rows.endpoints_gone.fill_null(0),
        intervention=rows.intervened.notnull(),
        due=ibis.ifelse(rows.asked_moment.notnull(), asked_for, by_rule),
        slip_point=slip_point,
    ).drop("asked_moment")
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
    issued = ibis.ifelse(rows.why == "covered", rows.expires, rows.successor_issued)
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
    merged = rows.why.fill_null("") == "covered"
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


def _marks(rows: "ir.Table", sets: "ir.Table", tables: Tables, policy: RenewalPolicy) -> "ir.Table":
    """Find retirements in the events, by name, and what we did or left undone, by certificate."""
    import ibis

    events = tables.events
    known = events.mutate(happened=seconds(events["at"]), event_known=seconds(events.known_at))
    # Our own actions name the certificate they act upon, so that its successor is not marked too.
    own = known.filter(known.source == "executor", known.kind.isin([*_ACTS, "held_out"]))
    times = rows.select(*_KEY, "name_set_id", "issued", "expires")
    # What expired in use has failed by itself, whatever we did about it afterwards.
    own = own.inner_join(times, _KEY).filter(ibis._.happened < ibis._.expires)
    acted, left = own.kind.isin(_ACTS), own.kind == "held_out"
    own = own.group_by(_KEY).aggregate(
        intervened=own.happened.min(where=acted),
        held_out=own.event_known.min(where=left),
        # Where the share changed meanwhile, the least is the chance of being left alone all along.
        holdout_share=own.detail.try_cast("float64").min(where=left),
    )
    retired = known.filter(known.kind == "retired").select(
        "as_of", "lineage", "fingerprint", "happened", "event_known"
    )
    retired = concerning(retired, tables, times, sets)
    retired = retired.filter(
        retired.happened >= retired.issued,
        retired.happened <= retired.expires + int(policy.grace_days * DAY),
    )
    retired = retired.group_by(_KEY).aggregate(retired_known=retired.event_known.min())
    joined = retired.outer_join(own, _KEY)
    return joined.select(
        "retired_known",
        "intervened",
        "held_out",
        "holdout_share",
        as_of=joined.as_of.coalesce(joined.as_of_right),
        fingerprint=joined.fingerprint.coalesce(joined.fingerprint_right),
    )
