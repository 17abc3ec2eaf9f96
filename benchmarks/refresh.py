"""A daily refresh beside computing everything: one day is imported, and the training frame made again.

    python benchmarks/refresh.py [--quick] [--lineages 372] [--days 7]

A simulated fleet is imported up to a day, and then one more day at a time, as a nightly job would. What is
timed is the training frame after each day, with the features of past moments kept; beside it the same frame
from nothing. Both are compared, and must be equal to the bit.
"""

import argparse
import statistics
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
from report import report

from certforecast.features import training_frame
from certforecast.history import History
from certforecast.history.schema import TABLES
from certforecast.history.sources.tables import TablesSource
from certforecast.models import landmarks
from certforecast.simulation import Fleet


def main() -> None:
    """Measure, print a table, and a JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lineages", type=int, default=372, help="size of the fleet")
    parser.add_argument("--days", type=int, default=7, help="daily refreshes to time")
    parser.add_argument("--quick", action="store_true", help="60 lineages, 2 days")
    options = parser.parse_args()
    if options.quick:
        options.lineages, options.days = 60, 2
    fleet = Fleet(seed=7, lineages=options.lineages)
    seconds = []
    with tempfile.TemporaryDirectory() as folder, History(None) as history:
        home = Path(folder)
        first = fleet.end - timedelta(days=options.days)
        _bring(history, fleet, None, first, home)
        began = time.perf_counter()
        _frame(history, first, home / "kept")
        filled = time.perf_counter() - began
        day = first
        for _ in range(options.days):
            _bring(history, fleet, day, day + timedelta(days=1), home)
            day += timedelta(days=1)
            began = time.perf_counter()
            refreshed = _frame(history, day, home / "kept")
            seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
        anew = _frame(history, day, None)
        everything = time.perf_counter() - began
        pd.testing.assert_frame_equal(refreshed, anew, check_exact=True)
        rows = history.counts()["certificates"]
    figures = {
        "certificates": rows,
        "rows": len(anew),
        "first_s": round(filled, 2),
        "everything_s": round(everything, 2),
        "daily_s": round(statistics.mean(seconds), 2),
        "slowest_daily_s": round(max(seconds), 2),
        "daily_share": round(statistics.mean(seconds) / everything, 3),
    }
    settings = {"lineages": options.lineages, "days": options.days}
    report("refresh", figures, ["certforecast", "duckdb", "ibis-framework"], settings)


def _bring(history: History, fleet: Fleet, start: datetime | None, end: datetime, home: Path) -> None:
    """Import what became known from `start` up to `end`."""
    import pyarrow.parquet as pq

    folder = home / f"{end:%Y%m%d}"
    folder.mkdir()
    for name, rows in fleet.tables().items():
        if name in TABLES:
            known = rows["known_at"]
            wanted = pc.less_equal(known, end)
            if start is not None:
                wanted = pc.and_(wanted, pc.greater(known, start))
            pq.write_table(rows.filter(wanted), folder / f"{name}.parquet")
    history.ingest(TablesSource(folder))


def _frame(history: History, as_of: datetime, kept: Path | None) -> pd.DataFrame:
    return training_frame(history, landmarks(history, as_of, 14), as_of, cache=kept)


if __name__ == "__main__":
    main()
