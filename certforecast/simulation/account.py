"""What a replay came to: outages, near misses, orders, people's hours."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from certforecast.simulation.columns import Floats
from certforecast.simulation.journal import Journal
from certforecast.simulation.mechanisms import Outcome
from certforecast.simulation.population import Automation

if TYPE_CHECKING:
    from certforecast.simulation.fleet import Fleet

__all__ = ["Account", "account"]

#: Of the fleet's own people, for each attempt by hand and each mending. An assumption.
_OWN_HOURS = 1.0


@dataclass(frozen=True, slots=True)
class Account:
    """What happened from the fleet's end on.

    Attributes
    ----------
    renewals : int
        That were resolved, whatever their outcome.
    outages : int
        Certificates that expired in service.
    outage_days : float
        For how long, all together; those not over are counted as far as they went.
    weighed_outage_days : float
        The same, each weighed by how critical the service is.
    near_misses_slip, near_misses_day : int
        Successors in service after the slip point, and less than a day before expiry.
    attempts, orders : int
        Of the executor; installations of what lay ready are no orders.
    people_hours : float
        Spent on the policy's behalf.
    own_hours : float
        Spent by the fleet's own people: an hour for each attempt by hand and each mending.
    """

    renewals: int
    outages: int
    outage_days: float
    weighed_outage_days: float
    near_misses_slip: int
    near_misses_day: int
    attempts: int
    orders: int
    people_hours: float
    own_hours: float


def account(
    fleet: "Fleet", journal: Journal, last_day: int, orders: int, attempts: int, people_hours: float
) -> Account:
    """Count what a journal tells of the days from the fleet's end to `last_day`."""
    first_day = fleet.last_day
    resolved = journal.frame("resolved")
    resolved = resolved[(resolved["at"] >= first_day) & (resolved["at"] < last_day)]
    failed = resolved[resolved["outcome"] == Outcome.FAILED]
    days = _until_over(failed, journal, last_day)
    served = journal.frame("installed")
    issued = pd.concat([journal.frame("entered").assign(number=0), journal.frame("issued")])
    expiry = issued.set_index(["lineage", "number"])["not_after"]
    replaced = pd.MultiIndex.from_arrays([served["lineage"], served["number"] - 1])
    left = expiry.reindex(replaced).to_numpy() - served["at"].to_numpy()
    in_time = (served["at"] >= first_day).to_numpy() & (left >= 0.0) & (left < 1.0)
    return Account(
        renewals=len(resolved),
        outages=len(failed),
        outage_days=float(days.sum()),
        weighed_outage_days=float((days * fleet.population.traits.criticality[failed["lineage"]]).sum()),
        near_misses_slip=int((resolved["outcome"] == Outcome.SLIPPED).sum()),
        near_misses_day=int(in_time.sum()),
        attempts=attempts,
        orders=orders,
        people_hours=people_hours,
        own_hours=_OWN_HOURS * _own_acts(journal, first_day),
    )


def _until_over(failed: pd.DataFrame, journal: Journal, last_day: int) -> Floats:
    """Give how long each outage lasted: until a successor was in service, or the service was retired."""
    ends = pd.concat([journal.frame("installed"), journal.frame("retired")])[["lineage", "at"]]
    later = failed.reset_index(drop=True).reset_index(names="outage")[["outage", "lineage", "at"]]
    later = later.merge(ends, on="lineage", suffixes=("", "_end"))
    first = later[later["at_end"] > later["at"]].groupby("outage")["at_end"].min()
    over = first.reindex(range(len(failed))).fillna(float(last_day)).to_numpy(dtype=np.float64)
    lasted: Floats = np.minimum(over, last_day) - failed["at"].to_numpy(dtype=np.float64)
    return lasted


def _own_acts(journal: Journal, first_day: int) -> int:
    """Count what the fleet's own people did by hand."""
    total = 0
    for kind in ("issued", "blocked", "mended"):
        frame = journal.frame(kind)
        by_hand = (frame["automation"] != Automation.TIMER) | (kind == "mended")
        total += int((by_hand & ~frame["ours"] & (frame["at"] >= first_day)).sum())
    return total
