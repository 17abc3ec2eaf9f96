"""The inventory as people keep it: attested twice a year, so a little behind."""

from typing import Any, Final

import numpy as np
import pandas as pd

from certforecast.simulation.journal import Journal
from certforecast.simulation.naming import host_name, owner_name
from certforecast.simulation.population import ISSUERS, Automation, Population

__all__ = ["take_stock"]

#: A row describes its host until the next attestation, so that its end is known from the start.
_ATTESTED_DAYS: Final = 182
_MISSING: Final = 0.05  # share of hosts nobody entered
_NO_OWNER: Final = 0.05
_NO_AUTOMATION: Final = 0.25
_ENVIRONMENTS: Final = ("production", "staging", "test")
_ENVIRONMENT_SHARES: Final = (0.72, 0.16, 0.12)
_STREAM: Final = 30


def take_stock(
    journal: Journal, population: Population, names: dict[int, str], seed: int, first_day: int, last_day: int
) -> pd.DataFrame:
    """Give the inventory's rows; times are days since 1970.

    Parameters
    ----------
    names : dict
        Each lineage's own name: the inventory lists a service that no scan reaches by name, not by machine.

    Returns
    -------
    pandas.DataFrame
        `host, valid_from, valid_to, known, owner, environment, criticality, automation, issuer`; what nobody
        filled in is None.
    """
    stays = _stays(journal, names, population)
    attestations = np.arange(first_day, last_day + 2 * _ATTESTED_DAYS, _ATTESTED_DAYS)
    rows: list[dict[str, Any]] = []
    for place, (host, group) in enumerate(stays.groupby("host", sort=False)):
        dice = np.random.default_rng([seed, _STREAM, place])
        missing, nobody, unknown, delay = dice.random(4)
        if missing < _MISSING:
            continue
        arrival = max(float(group["since"].min()), float(first_day))
        fixed = {
            "host": host,
            "owner": None
            if nobody < _NO_OWNER
            else owner_name(int(population.traits.owner[group["lineage"].iloc[0]])),
            "environment": str(dice.choice(_ENVIRONMENTS, p=_ENVIRONMENT_SHARES)),
        }
        for moment in [arrival, *attestations[attestations > arrival]]:
            here = group[(group["since"] <= moment) & (group["until"] > moment)]
            if here.empty or moment >= last_day:
                continue
            kinds = np.where(here["migrated"] <= moment, Automation.TIMER, here["automation"])
            kind = Automation(int(np.bincount(kinds).argmax())).name.lower()
            rows.append(
                fixed
                | {
                    "valid_from": moment,
                    "valid_to": attestations[attestations > moment].min(),
                    "known": moment + (1 + 3 * delay if arrival == moment > first_day else 0.0),
                    "criticality": population.traits.criticality[here["lineage"]].max(),
                    "automation": None if unknown < _NO_AUTOMATION else kind,
                    "issuer": ISSUERS[int(here["issuer"].iloc[0])].organisation,
                }
            )
    return pd.DataFrame(rows)


def _stays(journal: Journal, names: dict[int, str], population: Population) -> pd.DataFrame:
    """Give the stretches of time over which a lineage was on a host, in the order in which they began."""
    entered, retired = journal.frame("entered"), journal.frame("retired")
    stays = pd.concat([entered, journal.frame("moved")])[["lineage", "at", "host"]]
    stays = stays.sort_values(["at", "lineage"], kind="stable").rename(columns={"at": "since"})
    next_stay = stays.groupby("lineage")["since"].shift(-1)
    ends = _by_lineage(retired, "at")
    stays["until"] = np.fmin(next_stay.fillna(np.inf), stays["lineage"].map(ends).fillna(np.inf))
    stays["migrated"] = stays["lineage"].map(_by_lineage(journal.frame("migrated"), "at")).fillna(np.inf)
    for column in ("automation", "issuer"):
        stays[column] = stays["lineage"].map(_by_lineage(entered, column)).astype(int)
    stays["host"] = [
        host_name(int(host)) if population.observed[lineage] else names[lineage]
        for lineage, host in zip(stays["lineage"], stays["host"], strict=True)
    ]
    return stays


def _by_lineage(frame: pd.DataFrame, column: str) -> "pd.Series[float]":
    return frame.drop_duplicates("lineage").set_index("lineage")[column]
