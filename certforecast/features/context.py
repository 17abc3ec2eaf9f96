"""What the feature groups are computed from: renewals, targets, past and attempts, each with `as_of`."""

from functools import cached_property
from typing import TYPE_CHECKING

from certforecast.renewals.engine import keep
from certforecast.renewals.events import concerning
from certforecast.renewals.known import Known
from certforecast.renewals.namesets import called
from certforecast.renewals.places import inventory
from certforecast.renewals.times import DAY, seconds

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["KEY", "Context", "days", "in_days", "joined", "smoothed"]

#: What identifies a row of features.
KEY = ("as_of", "fingerprint")

#: Weight, in renewals, of the overall rate in a smoothed one. An assumption: two years of 90-day renewals.
PRIOR_STRENGTH = 10.0

_TIMES = ("issued", "expires", "due", "slip_point", "successor_issued", "in_service", "resolved")
_FAILURES = ["order_failed", "challenge_failed", "install_failed", "reload_failed", "verify_failed"]
_SUCCESSES = ["issued", "installed", "reloaded", "verified"]


def days(moment: "ir.TimestampValue") -> "ir.FloatingValue":
    """Convert a timestamp to days since 1970-01-01 UTC."""
    return in_days(seconds(moment))


def in_days(time: "ir.IntegerValue") -> "ir.FloatingValue":
    """Convert seconds to days."""
    # Spark takes a literal with a point for a decimal, and a division by it for one of six places.
    return time.cast("float64") / float(DAY)


def smoothed(hits: "ir.Value", trials: "ir.Value", overall: "ir.Value") -> "ir.FloatingValue":
    """Shrink a rate toward the overall one (the posterior mean under a beta prior)."""
    return (hits + PRIOR_STRENGTH * overall) / (trials + PRIOR_STRENGTH)


def joined(rows: "ir.Table", *others: "tuple[ir.Table, tuple[str, ...]]") -> "ir.Table":
    """Left join tables one after the other, each on its columns, which are kept once."""
    for table, on in others:
        rows = rows.left_join(table, list(on)).drop(*(f"{column}_right" for column in on))
    return rows


class Context:
    """Inputs of the feature groups, each computed when first asked for; times in days since 1970.

    Parameters
    ----------
    known : Known
        What is known at the moments.
    country : str
        ISO code of the country whose public holidays count.
    """

    def __init__(self, known: Known, country: str) -> None:
        self.known = known
        self.tables = known.tables
        self.policy = known.policy
        self.country = country

    @cached_property
    def renewals(self) -> "ir.Table":
        """All renewals: one row a certificate and moment."""
        rows = self.known.renewals
        return rows.select(
            *("as_of", "fingerprint", "lineage", "name_set_id", "issuer", "domain", "successor"),
            *("outcome", "intervention"),
            *("endpoints", "endpoints_moved", "endpoints_still", "endpoints_gone"),
            now=days(rows.as_of),
            **{name: in_days(rows[name]) for name in _TIMES},
        )

    @cached_property
    def places(self) -> "ir.Table":
        """The inventory row of each certificate, where there is one."""
        return keep(inventory(self.known))

    @cached_property
    def targets(self) -> "ir.Table":
        """The renewals a forecast is made for, described: valid at `as_of`, and not resolved."""
        rows = self.renewals
        rows = rows.filter(rows.outcome == "open", rows.issued <= rows.now, rows.now < rows.expires)
        told = self.tables.certificates
        told = told.select(
            *KEY,
            *("key_algorithm", "wildcard", "spki_hash"),
            validation="policy",
            names=told.names.length().cast("float64"),
            name=called(told),
        )
        described = rows.inner_join(told, list(KEY))
        return keep(joined(described, (self.places, KEY)))

    @cached_property
    def past(self) -> "ir.Table":
        """Past renewals that tell how renewals go: resolved, neither retired nor by an action of ours.

        Adds ``late`` and ``failed``, 1.0 for those that were (whoever failed was late), else 0.0.
        """
        rows = self.renewals
        rows = rows.filter(rows.outcome.isin(["on_time", "slipped", "failed"]), ~rows.intervention)
        return rows.mutate(
            late=(rows.outcome != "on_time").cast("float64"),
            failed=(rows.outcome == "failed").cast("float64"),
        )

    @cached_property
    def overall(self) -> "ir.Table":
        """Rates over all past renewals: ``as_of, late_overall, failed_overall``; a row a moment."""
        past = self.past
        return keep(
            past.group_by("as_of").aggregate(late_overall=past.late.mean(), failed_overall=past.failed.mean())
        )

    @cached_property
    def previous(self) -> "ir.Table":
        """The certificate that each target replaced; the latest, where there were several."""
        import ibis

        rows = self.renewals.select(
            "as_of",
            "successor",
            "fingerprint",
            "issued",
            previous_issuer="issuer",
            previous_lifetime=lambda t: t.expires - t.issued,
            previous_name_set="name_set_id",
            previous_endpoints="endpoints",
        )
        ours = self.targets.select("as_of", successor="fingerprint")
        rows = rows.semi_join(ours, ["as_of", "successor"])
        latest = ibis.window(
            group_by=["as_of", "successor"], order_by=[rows.issued.desc(), rows.fingerprint.desc()]
        )
        rows = rows.mutate(place=ibis.row_number().over(latest)).filter(lambda t: t.place == 0)
        keys = self.tables.certificates.select(*KEY, previous_spki="spki_hash")
        rows = rows.inner_join(keys, list(KEY)).drop("fingerprint", "issued", "place")
        return keep(rows.rename(fingerprint="successor"))

    @cached_property
    def attempts(self) -> "ir.Table":
        """Failed attempts for targets: `KEY`, ``lineage, issuer, domain, issued, now, at, kind, code``."""
        return self._happenings(_FAILURES)

    @cached_property
    def successes(self) -> "ir.Table":
        """What went well for targets: the same columns as `attempts`."""
        return self._happenings(_SUCCESSES)

    @cached_property
    def rehearsals(self) -> "ir.Table":
        """What rehearsals found: the same columns as `attempts`; `code` is null where one passed."""
        return self._happenings(["rehearsed"])

    def _happenings(self, kinds: list[str]) -> "ir.Table":
        events = self.tables.events.filter(self.tables.events.kind.isin(kinds))
        events = events.select(
            "as_of", "kind", "code", "fingerprint", called="lineage", at=days(events["at"])
        ).rename(lineage="called")
        targets = self.targets.select(
            *KEY, "name_set_id", "issuer", "domain", "issued", "now", line="lineage"
        )
        rows = concerning(events, self.tables, targets, self.known.sets)
        return keep(rows.drop("lineage", "name_set_id").rename(lineage="line").distinct())
