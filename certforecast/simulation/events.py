"""What clients and people left in their logs."""

from typing import Final

import numpy as np
import pandas as pd
from numpy.random import Generator

from certforecast.simulation.issuances import elliptic, twins
from certforecast.simulation.journal import Journal
from certforecast.simulation.mechanisms import Block
from certforecast.simulation.naming import owner_name
from certforecast.simulation.population import Automation, Population

__all__ = ["FAILURES", "log"]

#: Kind and code of a failed attempt, by what blocked it. Codes are ACME's problem types where there is one.
FAILURES: Final = {
    Block.CONNECTION: ("challenge_failed", "connection"),
    Block.DNS: ("challenge_failed", "dns"),
    Block.UNAUTHORIZED: ("challenge_failed", "unauthorized"),
    Block.CAA: ("challenge_failed", "caa"),
    Block.DEAD_NAME: ("challenge_failed", "dns"),
    Block.OUTAGE: ("order_failed", "serverInternal"),
    Block.ACCOUNT: ("order_failed", "accountDoesNotExist"),
    Block.RATE_LIMITED: ("order_failed", "rateLimited"),
    Block.ZONE: ("challenge_failed", "dns"),
    Block.DISK: ("order_failed", "disk"),
    Block.TRANSIENT: ("challenge_failed", "connection"),
    Block.PEOPLE: ("order_failed", "rejected"),
}

_CLIENTS: Final = ("certbot", "acme.sh", "lego", "certbot")
_HOOK_LOGGED: Final = 0.5  # a failing deploy hook exits 0 and is often seen by nobody
_MENDING_LOGGED: Final = 0.5
_MOVE_LOGGED: Final = 0.4
_RETIREMENT_LOGGED: Final = 0.3
_LATE: Final = 0.04
_MINUTE: Final = 1 / 1440
_STREAM: Final = 20


def log(journal: Journal, population: Population, seed: int) -> pd.DataFrame:
    """Give the events; times are days since 1970.

    Returns
    -------
    pandas.DataFrame
        `lineage, primary` (another than `lineage` for a twin), `suffix` (of the lineage's name), `at, kind,
        code` (empty: none), `number` (of the certificate issued), `host, actor, known`.
    """
    issued, installed, blocked, mended = (
        _own(journal, kind) for kind in ("issued", "installed", "blocked", "mended")
    )
    names = issued[issued["grew"] | issued["shrank"] | issued["split"]]
    parts = [
        issued.assign(kind="issued", code=""),
        installed.assign(kind="reloaded", code=""),
        _failures(blocked),
        _some(journal.frame("hook_failed"), _HOOK_LOGGED, seed, 0).assign(kind="reload_failed", code="hook"),
        _some(mended, _MENDING_LOGGED, seed, 1).assign(kind="config_changed", code="repaired"),
        _some(journal.frame("moved"), _MOVE_LOGGED, seed, 2).assign(kind="config_changed", code="moved"),
        journal.frame("migrated").assign(kind="config_changed", code="automation"),
        names.assign(at=names["at"] - _MINUTE, kind="config_changed", code="names"),
    ]
    logged = pd.concat(parts)
    logged = logged[population.logged[logged["lineage"]]]
    retired = _some(journal.frame("retired"), _RETIREMENT_LOGGED, seed, 3)
    events = pd.concat([logged, retired.assign(kind="retired", code="")])
    events = events.sort_values(["at", "lineage", "kind", "code"], ignore_index=True)
    events = events.assign(known=_known(events, seed), primary=events["lineage"], suffix="")
    events = pd.concat([events, _twins(issued, population, seed)])
    events = events.sort_values(["at", "lineage", "kind", "code"], ignore_index=True)
    return events.assign(actor=_actors(events, population))


def _own(journal: Journal, kind: str) -> pd.DataFrame:
    """Give what the fleet itself did: others keep logs of their own."""
    frame = journal.frame(kind)
    return frame[~frame["ours"]]


def _twins(issued: pd.DataFrame, population: Population, seed: int) -> pd.DataFrame:
    """Give the issues of twins, whose lineage the client calls by the algorithm of its keys too."""
    logged = twins(issued[population.logged[issued["lineage"]]], population, seed)
    suffix = np.where(elliptic(logged), "-ecdsa", "-rsa")
    return logged.assign(kind="issued", code="", suffix=suffix, known=logged["at"] + 5 * _MINUTE)


def _failures(blocked: pd.DataFrame) -> pd.DataFrame:
    """Name the failures; of a long row of them a log keeps the first ones and then one a week."""
    blocked = blocked.sort_values(["lineage", "at"])
    new_row = blocked.groupby("lineage")["at"].diff().fillna(np.inf) > 4.0
    place = blocked.groupby(["lineage", new_row.groupby(blocked["lineage"]).cumsum()]).cumcount()
    kept = blocked[(place < 5) | (place % 7 == 0)]
    kinds = [FAILURES[Block(code)] for code in kept["code"]]
    return kept.assign(kind=[kind for kind, _ in kinds], code=[code for _, code in kinds])


def _some(frame: pd.DataFrame, share: float, seed: int, kind: int) -> pd.DataFrame:
    """Keep a share of the rows; what is kept does not depend on rows to come."""
    rng = np.random.default_rng([seed, _STREAM, kind])
    return frame[rng.random(len(frame)) < share]


def _actors(events: pd.DataFrame, population: Population) -> list[str]:
    central = population.traits.manager < population.managers
    actors = []
    for lineage, automation in zip(events["primary"], events["automation"], strict=True):
        if automation == Automation.TIMER:
            actors.append("cert-manager" if central[lineage] else _CLIENTS[lineage % len(_CLIENTS)])
        else:
            actors.append(owner_name(int(population.traits.owner[lineage])))
    return actors


def _known(events: pd.DataFrame, seed: int) -> pd.Series:
    dice: Generator = np.random.default_rng([seed, _STREAM, 9])
    late = dice.random((len(events), 2))
    return events["at"] + 5 * _MINUTE + np.where(late[:, 0] < _LATE, 0.1 + 2.0 * late[:, 1], 0.0)
