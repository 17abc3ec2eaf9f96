"""Linking certificates into lineages: how much of the truth comes back, with all the evidence and with half.

    python benchmarks/linking.py [--quick]

Fleets are simulated, so the true lineage of every certificate is known. A pair of certificates of one
lineage that were put into one is a hit; precision is hits over pairs found, recall hits over true pairs.
In the second turn, half of the observations, events and inventory rows, drawn at random, are withheld.
"""

import argparse
import json
import platform
from importlib.metadata import version

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from certforecast.history import History
from certforecast.history.schema import TABLES
from certforecast.history.sources import Batch
from certforecast.renewals import renewals
from certforecast.simulation import Fleet


def main() -> None:
    """Measure, print a table, and a JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one fleet instead of four")
    quick = parser.parse_args().quick
    seeds = (7,) if quick else (7, 11, 12, 13)
    scores = {
        (seed, half): pairwise(*lineages(Fleet(seed=seed), half=half))
        for seed in seeds
        for half in (False, True)
    }
    table = Table("seed", "evidence", "precision", "recall")
    for (seed, half), (precision, recall) in scores.items():
        table.add_row(str(seed), "half" if half else "all", f"{precision:.4f}", f"{recall:.4f}")
    Console().print(table)
    figures = {
        f"{name}_{what}": round(min(scores[seed, half][place] for seed in seeds), 4)
        for half, name in ((False, "all"), (True, "half"))
        for place, what in enumerate(("precision", "recall"))
    }
    result = {
        "benchmark": "linking",
        "figures": figures,
        "versions": {"python": platform.python_version(), "certforecast": version("certforecast")},
        "settings": {"quick": quick, "seeds": seeds, "figures": "the worst of the seeds"},
    }
    print(json.dumps(result))


def lineages(fleet: Fleet, *, half: bool) -> tuple[pd.Series, pd.Series]:
    """Give the true and the found lineage of every certificate."""
    random = np.random.default_rng(fleet.seed)
    rows = dict(fleet.tables())
    if half:
        for name in ("observations", "events", "hosts"):
            rows[name] = rows[name].filter(random.random(len(rows[name])) < 0.5)
    with History(None) as history:
        history.append(Batch(**{name: rows[name].to_pylist() for name in TABLES}))
        found = renewals(history, fleet.end).set_index("fingerprint")["lineage"]
    return fleet.lineages().set_index("fingerprint")["lineage"].reindex(found.index), found


def pairwise(truth: pd.Series, found: pd.Series) -> tuple[float, float]:
    """Give pairwise precision and recall of a grouping."""
    hits = _pairs(pd.DataFrame({"truth": truth, "found": found}).value_counts())
    return hits / _pairs(found.value_counts()), hits / _pairs(truth.value_counts())


def _pairs(sizes: "pd.Series[int]") -> float:
    return float((sizes * (sizes - 1) // 2).sum())


if __name__ == "__main__":
    main()
