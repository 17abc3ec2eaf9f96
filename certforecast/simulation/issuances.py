"""Every certificate of a fleet, with what is known of it apart from its names."""

from typing import Final

import numpy as np
import pandas as pd

from certforecast.simulation.columns import Flags
from certforecast.simulation.journal import Journal
from certforecast.simulation.naming import digest
from certforecast.simulation.population import ISSUERS, Population

__all__ = ["elliptic", "issuances", "twins"]

_DELAY_STREAM: Final = 41
_MINUTE: Final = 1 / 1440
#: A twin is issued so many minutes after its sibling.
_APART: Final = (1, 10)


def issuances(journal: Journal, population: Population, seed: int) -> pd.DataFrame:
    """List the certificates in the order in which they begin; times are days since 1970.

    Returns
    -------
    pandas.DataFrame
        `lineage` (a twin's is its own), `number`, `primary` (the lineage it has its place in the world from),
        `issuer, elliptic, not_before, not_after, known`.
    """
    issued = pd.concat([journal.frame("entered").assign(number=0), journal.frame("issued")])
    issued = pd.concat([issued.assign(primary=issued["lineage"]), twins(issued, population, seed)])
    issued = issued.sort_values(["not_before", "lineage", "number"], ignore_index=True)
    # Certificate Transparency shows a public certificate within hours, a nightly look at files a private one.
    public = np.array([issuer.public for issuer in ISSUERS])[issued["issuer"]]
    dice = np.array(
        [
            np.random.default_rng([seed, _DELAY_STREAM, *one]).random(2)
            for one in issued[["lineage", "number"]].to_numpy()
        ]
    )
    delay = np.where(public, 0.05 + 0.3 * dice[:, 0] ** 3, 0.05 + dice[:, 0])
    delay = np.where(dice[:, 1] < 0.03, delay + 1.0 + 3.0 * dice[:, 0], delay)
    columns = ["lineage", "number", "primary", "issuer", "not_before", "not_after"]
    return issued[columns].assign(elliptic=elliptic(issued), known=issued["not_before"] + delay)


def twins(issued: pd.DataFrame, population: Population, seed: int) -> pd.DataFrame:
    """Give what is issued beside certificates of lineages that have twins, minutes later.

    Parameters
    ----------
    issued : pandas.DataFrame
        With `lineage`, `number`, `at`, `not_before`, `not_after`.

    Returns
    -------
    pandas.DataFrame
        The same columns and `primary`; `lineage` numbers the twins after all others.
    """
    pairs = issued[population.parallel[issued["lineage"]]]
    least, most = _APART
    minutes = [
        least + int(digest("apart", seed, *pair)[:8], 16) % (most - least)
        for pair in pairs[["lineage", "number"]].itertuples(index=False)
    ]
    later = np.array(minutes, float) * _MINUTE
    moved = {name: pairs[name] + later for name in ("at", "not_before", "not_after")}
    return pairs.assign(**moved, primary=pairs["lineage"], lineage=pairs["lineage"] + len(population))


def elliptic(issued: pd.DataFrame) -> Flags:
    """Tell which certificates have keys on an elliptic curve: of two twins, one."""
    curves = np.array([issuer.algorithm == "ecdsa" for issuer in ISSUERS])[issued["issuer"]]
    usual = curves | (issued["primary"] % 3 == 0).to_numpy()
    flags: Flags = usual ^ (issued["primary"] != issued["lineage"]).to_numpy()
    return flags
