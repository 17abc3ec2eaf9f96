"""Training frames: one pass over many moments, beside a loop over the moments.

    python benchmarks/features.py [--quick]

Both give the same rows. The loop is what a user would write with :func:`certforecast.features.features`.
"""

import argparse
import json
import platform
import resource
import time
import warnings
from datetime import timedelta
from importlib.metadata import version

from rich.console import Console
from rich.table import Table

from certforecast.features import features, training_frame
from certforecast.history import History
from certforecast.history.schema import TABLES
from certforecast.history.sources import Batch
from certforecast.simulation import Fleet


def main() -> None:
    """Measure in turns, print a table, and a JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller fleet and fewer moments")
    quick = parser.parse_args().quick
    lineages, count, turns = (60, 8, 2) if quick else (360, 24, 3)
    warnings.simplefilter("ignore")
    fleet = Fleet(seed=7, lineages=lineages)
    moments = [fleet.end - timedelta(days=14 * number) for number in range(1, count + 1)]
    one_pass, loop, rows = [], [], 0
    with History(None) as history:
        history.append(Batch(**{name: fleet.tables()[name].to_pylist() for name in TABLES}))
        for _ in range(turns):
            started = time.perf_counter()
            rows = len(training_frame(history, moments, fleet.end))
            one_pass.append(time.perf_counter() - started)
            started = time.perf_counter()
            looped = sum(len(features(history, moment)) for moment in moments)
            loop.append(time.perf_counter() - started)
            if looped != rows:
                raise SystemExit(f"the loop gave {looped} rows, the one pass {rows}")
    figures = {
        "rows": rows,
        "one_pass_s": round(min(one_pass), 3),
        "loop_s": round(min(loop), 3),
        "loop_ratio": round(min(loop) / min(one_pass), 2),
        "rows_per_s": round(rows / min(one_pass), 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    table = Table("figure", "value")
    for name, value in figures.items():
        table.add_row(name, f"{value:,}")
    Console().print(table)
    packages = ("certforecast", "duckdb", "ibis-framework", "pandas")
    result = {
        "benchmark": "features",
        "figures": figures,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "settings": {"quick": quick, "lineages": lineages, "moments": count, "turns": turns},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
