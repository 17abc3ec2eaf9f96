"""The four tables as expressions, and the one gate for time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from certforecast.clock import as_utc
from certforecast.history.schema import DETAILS

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["Tables"]


@dataclass(frozen=True, slots=True)
class Tables:
    """The four tables as ibis expressions, on whatever engine they live."""

    certificates: "ir.Table"
    observations: "ir.Table"
    events: "ir.Table"
    hosts: "ir.Table"

    def at(self, moments: Sequence[datetime], listed: "ir.Table | None" = None) -> "Tables":
        """Give what was known at each of several moments.

        This is the one gate through which derived numbers see the store: every table gets a column
        ``as_of``, and a row appears once for each moment by which it was known (``known_at <= as_of``).
        Details of a certificate (:data:`certforecast.history.schema.DETAILS`) are null before it was known
        as a whole. What is computed from the result with ``as_of`` in every group, join and window is
        therefore a function of the past alone, for many moments in one pass.

        Parameters
        ----------
        moments : sequence of datetime
            At least one.
        listed : ibis table, optional
            The same, as the column ``as_of`` of a table on the engine.
        """
        import ibis

        # Engines tell differently which columns are never null; only some of them would then fit together.
        plain = [
            table.select(
                **{name: table[name].cast(kind(nullable=True)) for name, kind in table.schema().items()}
            )
            for table in self
        ]
        distinct = sorted({as_utc(moment) for moment in moments})
        kind = "timestamp('UTC', 6)"
        if len(distinct) == 1 and listed is None:  # much the usual case, and much cheaper without a join
            as_of = ibis.literal(distinct[0], type=kind)
            joined = [
                table.filter(table.known_at <= as_of).select(as_of.name("as_of"), *table.columns)
                for table in plain
            ]
        else:
            rows = ibis.memtable({"as_of": distinct}, schema={"as_of": kind}) if listed is None else listed
            joined = [rows.inner_join(table, table.known_at <= rows.as_of) for table in plain]
        certificates = joined[0]
        seen = ibis.coalesce(certificates.details_known_at, certificates.known_at) <= certificates.as_of
        details = {
            name: seen.ifelse(certificates[name], ibis.null(certificates[name].type())) for name in DETAILS
        }
        return Tables(certificates.mutate(**details), *joined[1:])

    def last_known(self) -> datetime | None:
        """Give when the latest certificate or observation became known; None if there is none."""
        times = [table.known_at.max().execute() for table in (self.certificates, self.observations)]
        known = [as_utc(time.to_pydatetime()) for time in times if time is not None and time == time]
        return max(known, default=None)

    def __iter__(self) -> Iterator["ir.Table"]:
        return iter((self.certificates, self.observations, self.events, self.hosts))
