"""From the store to the feature matrix: ours beside pandas and polars, or on Spark beside DuckDB.

    python benchmarks/features.py [--quick] [--certificates N] [--engine duckdb|spark]

Every measurement has a process to itself, so that its peak of memory is its own. Ours starts from the store's
tables, the rivals (benchmarks/rivals) from the same tables, loaded as frames before the clock starts; all end
with the features of every open renewal in a frame. That the results are equal is checked first, on a smaller
store. The rivals run on a million certificates at most, for want of memory. Their time at N is extrapolated
linearly; the figures named `small` are without extrapolation.
"""

import argparse
import importlib
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from report import report

if TYPE_CHECKING:
    import pandas as pd

    from certforecast.history import History

CORES = 2
MEMORY = "5500MB"
RIVALS = ("pandas", "polars")
TOLERANCE = 1e-9


def main() -> None:
    """Measure, print a table, and a JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="500,000; rivals 50,000, Spark 10,000")
    parser.add_argument("--certificates", type=int, help="how many; default 10,000,000, on Spark 1,000,000")
    parser.add_argument("--engine", choices=("duckdb", "spark"), default="duckdb")
    arguments = parser.parse_args()
    os.environ["POLARS_MAX_THREADS"] = str(CORES)
    run = on_duckdb if arguments.engine == "duckdb" else on_spark
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), arguments.certificates, arguments.quick)


def on_duckdb(folder: Path, asked: int | None, quick: bool) -> None:
    """Measure ours and the rivals, in turns where both run at the same size."""
    largest = asked or (500_000 if quick else 10_000_000)
    small = largest // 10 if quick else min(largest, 1_000_000)
    checked, turns = (10_000, 1) if quick else (50_000, 2)
    stores = {size: folder / f"{size}.duckdb" for size in {largest, small, checked}}
    counts = {size: apart(make, path, size) for size, path in stores.items()}
    compared = apart(compare, stores[checked])

    took: dict[str, list[float]] = {name: [] for name in ("ours", *RIVALS)}
    peaks: dict[str, float] = {}
    cores: dict[str, float] = {}
    for _ in range(turns):
        for name, seconds in took.items():
            spent, peak, cpu = apart(measure, name, stores[small])
            seconds.append(spent)
            peaks[name] = max(peak, peaks.get(name, 0.0))
            cores[name] = min(cpu, cores.get(name, cpu))
    ours, *rivals = (min(seconds) for seconds in took.values())
    spent, peak, cpu = ours, peaks["ours"], cores["ours"]
    if largest != small:
        spent, peak, cpu = apart(measure, "ours", stores[largest])
    scale = counts[largest] / counts[small]
    figures = {
        "certificates": counts[largest],
        "seconds": round(spent, 2),
        "cpu_s": round(cpu, 2),
        "rows_per_s": round(counts[largest] / spent),
        "peak_mb": round(peak),
        "rival_certificates": counts[small],
        "ours_small_s": round(ours, 2),
        "ours_small_cpu_s": round(cores["ours"], 2),
        "ours_small_peak_mb": round(peaks["ours"]),
        "growth_1m_to_10m": round(spent / ours, 2),
        "rows_compared": compared,
    }
    for name, seconds in zip(RIVALS, rivals, strict=True):
        figures[f"{name}_ratio"] = round(seconds * scale / spent, 2)
        figures[f"{name}_small_ratio"] = round(seconds / ours, 2)
        figures[f"{name}_small_s"] = round(seconds, 2)
        figures[f"{name}_small_cpu_s"] = round(cores[name], 2)
        figures[f"{name}_small_peak_mb"] = round(peaks[name])
    settings = {
        "quick": quick,
        "turns": turns,
        "duckdb": f"threads={CORES}, memory_limit={MEMORY}, no insertion order, temp_directory set",
        "growth_1m_to_10m": f"seconds at {counts[largest]:,} over seconds at {counts[small]:,}",
        "ratios": f"rivals measured at {counts[small]:,}, extrapolated linearly to {counts[largest]:,}"
        if scale > 1.0
        else "all measured at the same size",
        "small_ratios": f"both measured at {counts[small]:,}, in turns",
        "equal": f"row by row on {counts[checked]:,} certificates, to {TOLERANCE}",
    }
    packages = ("certforecast", "duckdb", "ibis-framework", "pandas", "polars", "pyarrow")
    report("features", figures, packages, settings)


def on_spark(folder: Path, asked: int | None, quick: bool) -> None:
    """Measure and compare the same expression on Spark, from Parquet."""
    from features_on_spark import compute

    size = asked or (10_000 if quick else 1_000_000)
    store = folder / "store.duckdb"
    count = apart(make, store, size)
    apart(export, store, folder / "parquet")
    seconds, _, _ = apart(measure, "ours", store, folder / "duckdb.pickle")
    spark = apart(compute, folder / "parquet", folder, folder / "spark.pickle")
    rows, largest = apart(difference_of, folder / "duckdb.pickle", folder / "spark.pickle")
    figures = {
        "certificates": count,
        "seconds": round(spark["seconds"], 2),
        "duckdb_seconds": round(seconds, 2),
        "rows_compared": rows,
        "largest_difference": largest,
        "collects": spark["collects"],
        "counts": spark["counts"],
        "queries": spark["queries"],
    }
    settings = {"quick": quick, "engine": "spark", "master": f"local[{CORES}]", **spark["settings"]}
    report("features", figures, ("certforecast", "duckdb", "ibis-framework", "pyspark"), settings)


def apart(task: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function in a new process, which ends with it."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(task, *arguments).result()


def make(store: Path, certificates: int) -> int:
    """Make a store; give the number of certificates in it."""
    from histories import make_store

    with make_store(store, certificates) as history:
        return history.counts()["certificates"]


def export(store: Path, folder: Path) -> None:
    """Write a store as Parquet."""
    from certforecast.history import History

    with History(store) as history:
        history.export(folder)


def measure(name: str, store: Path, result: Path | None = None) -> tuple[float, float, float]:
    """Compute the features one way; give seconds, the peak of memory in MB, and seconds of all cores.

    The frame is stored if a `result` is named.
    """
    from histories import AS_OF

    from certforecast.history import History

    with History(store) as history:
        if name == "ours":
            compute = partial(ours, history)
        else:
            features = importlib.import_module(f"rivals.features_{name}").features
            compute = partial(features, load(history, name), AS_OF)
        before = time.process_time()
        started = time.perf_counter()
        frame = compute()
        took = time.perf_counter() - started
    if result:
        frame.to_pickle(result)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return took, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime - before


def ours(history: "History") -> "pd.DataFrame":
    """Compute the features on the store's own engine."""
    from histories import AS_OF

    from certforecast.features import feature_table
    from certforecast.policy import RenewalPolicy
    from certforecast.renewals.known import Known

    history._connection.execute(
        f"SET threads = {CORES}; SET memory_limit = '{MEMORY}'; SET preserve_insertion_order = false;"
        f" SET temp_directory = '{history.path}.spilled'"
    )
    frame: pd.DataFrame = feature_table(Known(history.tables(), [AS_OF], RenewalPolicy())).to_pandas()
    return frame


def load(history: "History", name: str) -> dict[str, Any]:
    """Load the four tables as frames of a rival."""
    from certforecast.history.schema import TABLES

    if name == "pandas":
        return {
            table: history._connection.sql(f"FROM {table}").to_arrow_table().to_pandas() for table in TABLES
        }
    return {table: history._connection.sql(f"FROM {table}").pl() for table in TABLES}


def compare(store: Path) -> int:
    """Compute the features every way, and fail unless all are equal; give the number of rows."""
    from histories import AS_OF

    from certforecast.history import History

    with History(store) as history:
        expected = ours(history)
        for name in RIVALS:
            features = importlib.import_module(f"rivals.features_{name}").features
            found = features(load(history, name), AS_OF)
            difference(expected, found if name == "pandas" else found.to_pandas(), name)
    return len(expected)


def difference_of(expected: Path, found: Path) -> tuple[int, float]:
    """Compare two stored frames; give the number of rows and the largest difference."""
    import pandas as pd

    frames = pd.read_pickle(expected), pd.read_pickle(found)
    return len(frames[0]), difference(*frames, "Spark")


def difference(expected: "pd.DataFrame", found: "pd.DataFrame", name: str) -> float:
    """Compare row by row: numbers to 1e-9, relative above 1; texts, times and what is null exactly."""
    import numpy as np

    if set(expected) != set(found) or len(expected) != len(found):
        raise SystemExit(f"{name} gave {found.shape} rows and columns, not {expected.shape}")
    expected, found = (
        frame[list(expected)].sort_values("fingerprint", ignore_index=True) for frame in (expected, found)
    )
    worst = 0.0
    for column in expected:
        a, b = expected[column], found[column]
        wrong = a.isna() != b.isna()
        if a.dtype.kind == "f":
            scale = np.maximum(1.0, np.maximum(a.abs(), b.abs()))
            apart_by = ((a - b).abs() / scale).fillna(0.0)
            worst = max(worst, float(apart_by.max()))
            wrong |= apart_by > TOLERANCE
        else:
            wrong |= a.notna() & (a.astype(object) != b.astype(object))
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            raise SystemExit(
                f"{column} of {name} differs in {wrong.sum()} rows: {b[row]!r} in place of {a[row]!r}"
                f" for {expected['fingerprint'][row]}"
            )
    return worst


if __name__ == "__main__":
    main()
