"""What is known at some moments, stage by stage: from the four tables to renewals with their outcomes."""

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from certforecast.clock import as_utc
from certforecast.history.tables import Tables
from certforecast.policy import RenewalPolicy
from certforecast.renewals import lineages, namesets, service
from certforecast.renewals.engine import brought, keep
from certforecast.renewals.labels import labelled
from certforecast.renewals.outcomes import outcomes
from certforecast.renewals.recording import active

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

__all__ = ["Known"]


class Known:
    """The stages, each computed on the engine when first asked for, for all moments in one pass.

    Parameters
    ----------
    tables : Tables
        Everything there is.
    moments : sequence of datetime
        At least one.
    policy : RenewalPolicy
        Thresholds.
    """

    def __init__(self, tables: Tables, moments: Sequence[datetime], policy: RenewalPolicy) -> None:
        self.moments = tuple(moments)
        self.tables = tables.at(moments, _listed(tables, moments))
        self.policy = policy
        self._everything = tables

    @cached_property
    def sets(self) -> "ir.Table":
        """Name sets: ``name_set_id, names``. Facts about names alone, so of all moments."""
        return keep(namesets.sets(self._everything))

    @cached_property
    def sightings(self) -> "ir.Table":
        """Looks at endpoints, condensed: see :func:`certforecast.renewals.service.sightings`."""
        return keep(service.sightings(self.tables))

    @cached_property
    def certificates(self) -> "ir.Table":
        """Certificates, each with the next of its kind: see :mod:`certforecast.renewals.lineages`."""
        return lineages.certificates(self.tables)

    @cached_property
    def spells(self) -> "ir.Table":
        """Sightings of known certificates: :func:`certforecast.renewals.service.spells`."""
        return keep(service.spells(self.sightings, self.certificates))

    @cached_property
    def moves(self) -> "ir.Table":
        """What came after each spell: :func:`certforecast.renewals.service.moves`."""
        return keep(service.moves(self.spells, self.sightings, self.sets))

    @cached_property
    def renewals(self) -> "ir.Table":
        """Every certificate with its lineage, successor and outcome.

        One row a certificate and moment: ``as_of, fingerprint, name_set_id, key_algorithm, issuer, domain,
        issued, expires, known, successor, why, successor_issued, successor_known, lineage``, then what
        :func:`certforecast.renewals.outcomes.outcomes` adds. Times in seconds.
        """
        relations = keep(namesets.relations(self.sets))
        linked = lineages.successors(
            self.certificates, self.moves, relations, self.sets, self.tables, self.policy
        )
        served = service.service(self.moves, service.expired_use(self.spells, self.tables))
        judged = keep(
            outcomes(
                labelled(linked, self.certificates, relations), served, self.sets, self.tables, self.policy
            )
        )
        del self.certificates, self.spells  # large, and of no use to what comes after
        return judged


def _listed(tables: Tables, moments: Sequence[datetime]) -> "ir.Table | None":
    """Bring the moments to the engine where statements are recorded, which are to hold for others, too."""
    if active() is None:
        return None
    return brought(tables.certificates, moments, {"as_of": "timestamp('UTC', 6)"}, _frame)


def _frame(moments: Sequence[datetime]) -> "pd.DataFrame":
    import pandas as pd

    distinct = sorted({as_utc(moment) for moment in moments})
    return pd.DataFrame({"as_of": pd.to_datetime(distinct, utc=True).as_unit("us")})
