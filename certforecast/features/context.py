"""What the feature groups are computed from: renewals, certificates, events and hosts, each with `as_of`."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from certforecast.history.tables import Tables
from certforecast.policy import RenewalPolicy
from certforecast.renewals.places import inventory
from certforecast.renewals.times import DAY, seconds

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["KEY", "Context", "days", "smoothed"]

#: What identifies a row of features.
KEY = ("as_of", "fingerprint")

#: Weight, in renewals, of the overall rate in a smoothed one. An assumption: two years of 90-day renewals.
PRIOR_STRENGTH = 10.0


def days(moment: "ir.TimestampValue") -> "ir.FloatingValue":
    """Convert a timestamp to days since 1970-01-01 UTC."""
    return seconds(moment) / float(DAY)


def smoothed(hits: "ir.Value", trials: "ir.Value", overall: "ir.Value") -> "ir.FloatingValue":
    """Shrink a rate toward the overall one (the posterior mean under a beta prior)."""
    return (hits + PRIOR_STRENGTH * overall) / (trials + PRIOR_STRENGTH)


@dataclass(frozen=True)
class Context:
    """Inputs of the feature groups.

    Parameters
    ----------
    tables : Tables
        As given by :meth:`Tables.at`: what was known at each moment.
    frame : DataFrame
        As given by :func:`certforecast.renewals.renewals_at` for the same moments.
    policy : RenewalPolicy
        Thresholds.
    country : str
        ISO code of the country whose public holidays count.
    """

    tables: Tables
    frame: pd.DataFrame
    policy: RenewalPolicy
    country: str

    @cached_property
    def renewals(self) -> "ir.Table":
        """All renewals, times in days: one row a certificate and moment, with issuer, domain and place."""
        import ibis

        columns = ["as_of", "lineage", "fingerprint", "name_set_id", "successor", "outcome", "intervention"]
        counts = ["endpoints", "endpoints_moved", "endpoints_still", "endpoints_gone"]
        times = {
            "issued": "not_before",
            "expires": "not_after",
            "due": "due",
            "slip_point": "slip_point",
            "successor_issued": "successor_not_before",
            "in_service": "in_service_at",
            "resolved": "resolved_at",
        }
        rows = ibis.memtable(self.frame[[*columns, *counts, *times.values()]])
        rows = rows.select(
            *columns,
            *counts,
            now=days(rows.as_of),
            **{name: days(rows[column]) for name, column in times.items()},
        )
        certificates = self.tables.certificates
        described = certificates.select(
            *KEY,
            "key_algorithm",
            "wildcard",
            "spki_hash",
            "names",
            validation="policy",
            issuer_org=certificates.issuer_org.coalesce(certificates.issuer_cn, certificates.issuer_dn),
            domain=certificates.registered_domains[0],
        )
        rows = rows.inner_join(described, list(KEY)).left_join(inventory(self.tables), list(KEY))
        # Computed once: every group starts from it.
        return ibis.memtable(rows.drop("as_of_right", "fingerprint_right").to_pyarrow())

    @cached_property
    def targets(self) -> "ir.Table":
        """The renewals a forecast is made for: valid at `as_of`, and not resolved."""
        rows = self.renewals
        return rows.filter(rows.outcome == "open", rows.issued <= rows.now, rows.now < rows.expires)

    @cached_property
    def resolved(self) -> "ir.Table":
        """Past renewals that tell how renewals go: resolved, neither retired nor by an action of ours."""
        rows = self.renewals
        return rows.filter(rows.outcome.isin(["on_time", "slipped", "failed"]), ~rows.intervention)

    @cached_property
    def previous(self) -> "ir.Table":
        """The certificate that each one replaced; the latest, where there were several."""
        import ibis

        rows = self.renewals.filter(self.renewals.successor.notnull())
        latest = ibis.window(
            group_by=["as_of", "successor"], order_by=[rows.issued.desc(), rows.fingerprint.desc()]
        )
        return (
            rows.mutate(place=ibis.row_number().over(latest))
            .filter(lambda t: t.place == 0)
            .select(
                "as_of",
                fingerprint="successor",
                previous_issuer="issuer_org",
                previous_lifetime=rows.expires - rows.issued,
                previous_spki="spki_hash",
                previous_name_set="name_set_id",
                previous_endpoints="endpoints",
            )
        )

    @cached_property
    def attempts(self) -> "ir.Table":
        """Failed attempts by certificate: ``as_of, fingerprint, at`` (days) ``, kind, code``."""
        events = self.tables.events
        failures = ["order_failed", "challenge_failed", "install_failed", "reload_failed", "verify_failed"]
        # Many clients' names for a lineage are no names of its certificate; its hosts then tell which it is.
        told = events.filter(events.host.notnull()).select("as_of", "lineage", name="host").distinct()
        called = events.select("as_of", "lineage", name="lineage").distinct().union(told, distinct=True)
        events = (
            events.filter(events.kind.isin(failures))
            .inner_join(called, ["as_of", "lineage"])
            .select("as_of", "kind", "code", "name", at=days(events["at"]))
        )
        named = self.renewals.select(
            *KEY, "lineage", "issuer_org", "domain", "issued", "now", name=self.renewals.names.unnest()
        )
        return named.inner_join(events, ["as_of", "name"]).drop("name").distinct()
