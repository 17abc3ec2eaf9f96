"""What scans saw: every endpoint every two or three days, at its own minute."""

from typing import Final

import numpy as np
import pandas as pd

from certforecast.simulation.columns import Flags, Floats, Ints
from certforecast.simulation.journal import Journal
from certforecast.simulation.population import Population

__all__ = ["observe"]

_PORTS: Final = np.array([443, 8443, 993, 636, 5432])
_PORT_SHARES: Final = np.array([0.86, 0.06, 0.03, 0.03, 0.02])

_MISSED: Final = 0.06  # share of scans that did not run
_HICCUP: Final = 0.008  # share of scans that timed out although the service was there
_SPELL: Final = 0.002  # chance a day that an endpoint becomes unreachable for a while ...
_SPELL_DAYS: Final = 3.0  # ... of this mean length
_LATE: Final = 0.03  # share of rows that reach us hours or days later
_FORGET_DAYS: Final = (12.0, 40.0)  # how long a vanished endpoint stays on the scan list
_STREAM: Final = 10


def observe(
    journal: Journal, population: Population, seed: int, first_day: int, last_day: int
) -> pd.DataFrame:
    """Give the scans' rows; times are days since 1970.

    Returns
    -------
    pandas.DataFrame
        `lineage, host, port, at, known, number` (-1 where no certificate was got), `not_after, error` (empty
        where one was got), `latency`.
    """
    entered, retired = journal.frame("entered"), journal.frame("retired")
    first = entered.assign(number=0)
    expiries = pd.concat([first, journal.frame("issued")])[["lineage", "number", "not_after"]]
    served = pd.concat([first, journal.frame("installed")])[["lineage", "number", "at"]]
    served = served.merge(expiries, on=["lineage", "number"]).sort_values(["lineage", "at"])
    stays = pd.concat([entered, journal.frame("moved")]).sort_values(["lineage", "at"])
    ends = dict(zip(retired["lineage"], retired["at"], strict=True))
    parts = []
    for lineage in np.flatnonzero(population.observed).tolist():
        rows = served[served["lineage"] == lineage]
        if len(rows):
            homes = stays.loc[stays["lineage"] == lineage, ["at", "host"]]
            end = ends.get(lineage, np.inf)
            parts.append(_scan(lineage, rows, homes, end, seed, np.arange(first_day, last_day)))
    return pd.concat(parts, ignore_index=True)


def _scan(
    lineage: int, served: pd.DataFrame, stays: pd.DataFrame, retired_at: float, seed: int, days: Ints
) -> pd.DataFrame:
    """Scan one lineage's endpoint day by day, and those it has left while they are on the list."""
    once = np.random.default_rng([seed, _STREAM, lineage])
    every, port = int(once.integers(2, 4)), int(once.choice(_PORTS, p=_PORT_SHARES))
    minute = once.integers(1440) / 1440
    forget = once.uniform(*_FORGET_DAYS)
    gone_error = "dns" if once.random() < 0.6 else "refused"
    slow = once.lognormal(3.4, 0.5)

    dice = np.random.default_rng([seed, _STREAM, lineage, 1]).random((len(days), 6))
    at = days + minute
    looked = ((days + lineage) % every == 0) & (dice[:, 0] >= _MISSED)
    looked &= (at >= served["at"].iloc[0]) & (at < retired_at + forget)
    down = _spells(dice[:, 1], dice[:, 2])
    error = np.where(down, "unreachable" if lineage % 3 == 0 else "timeout", "")
    error = np.where(dice[:, 3] < _HICCUP, "timeout", error)
    error = np.where(at >= retired_at, gone_error, error)
    which = np.maximum(np.searchsorted(served["at"].to_numpy(), at, side="right") - 1, 0)
    where = np.maximum(np.searchsorted(stays["at"].to_numpy(), at, side="right") - 1, 0)

    known = at + 2 / 1440 + np.where(dice[:, 4] < _LATE, 0.1 + 3.0 * dice[:, 5], 0.0)
    frame = pd.DataFrame(
        {
            "lineage": lineage,
            "host": stays["host"].to_numpy()[where],
            "port": port,
            "at": at,
            "known": known,
            "number": np.where(error == "", served["number"].to_numpy()[which], -1),
            "not_after": served["not_after"].to_numpy()[which],
            "error": error,
            "latency": np.round(slow * (0.8 + 0.6 * dice[:, 3]), 0),
        }
    )
    parts: list[pd.DataFrame] = [frame[looked]]
    for place in range(1, len(stays)):
        left_at, left = stays["at"].iloc[place], stays["host"].iloc[place - 1]
        still_listed = looked & (at >= left_at) & (at < left_at + forget)
        parts.append(frame[still_listed].assign(host=left, number=-1, error=gone_error))
    return pd.concat(parts)


def _spells(starts: Floats, lengths: Floats) -> Flags:
    """Give the days on which an endpoint is unreachable."""
    down = np.zeros(len(starts), bool)
    for day in np.flatnonzero(starts < _SPELL):
        down[day : day + 1 + int(-_SPELL_DAYS * np.log1p(-lengths[day]))] = True
    return down
