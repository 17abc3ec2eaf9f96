"""How well the load ahead is foreseen: bottom-up, against the weekly counts as a time series.

    python benchmarks/load.py [--quick] [--fleets 5] [--statsforecast PYTHON]

Each simulated fleet has rates of its own. At each of a few moments the next weeks are forecast and held
against what came, all together and by issuer. Rivals see the counts of past weeks as they are known in the
end, which is more than we do: we see what was known then. ``mae`` is in renewals a week, ``wis`` the weighted
interval score [1]_ (the CRPS in the limit, up to its scale), ``coverage_90`` the share of weeks within
nine-in-ten intervals. ``mae_habits`` is ours without the model, ``change_*`` the same across days on which
limits on validity fall.

statsforecast 2.1 wants pandas before 3 and cannot be installed beside us. Without ``--statsforecast``, an
interpreter that has it, exponential smoothing and ARIMA are those of statsmodels (extra ``load``).

.. [1] J. Bracher et al. (2021), Evaluating epidemic forecasts in an interval format, PLOS Computational
   Biology 17(2).
"""

import argparse
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from report import report
from rivals.weekly import RIVALS, forecasts

from certforecast.forecasting import forecast_load, observed_load
from certforecast.forecasting.load import LoadForecast
from certforecast.history import History
from certforecast.history.sources.tables import TablesSource
from certforecast.models import train
from certforecast.settings import Settings
from certforecast.simulation import Fleet, Rates

SEEDS = (31, 32, 33, 34, 35)
LEVELS = [50, 80, 90]
END = datetime(2026, 10, 1, tzinfo=UTC)
#: Limits fall soon after: on 2027-02-10 for Let's Encrypt, on 2027-03-15 for all public certificates.
BEFORE_CHANGE = datetime(2027, 2, 1, tzinfo=UTC)
SETTLED = timedelta(weeks=10)
HISTORY_WEEKS = 100


class Scores:
    """Sums of errors by forecaster."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = defaultdict(list)

    def add(self, name: str, came: np.ndarray, mean: np.ndarray, bounds: dict[str, Any]) -> None:
        """Score weeks, each array of shape (n,)."""
        self.values[f"mae{name}"] += np.abs(came - mean).tolist()
        interval = 0.5 * np.abs(came - mean)
        for level, (low, high) in bounds.items():
            low, high = np.asarray(low), np.asarray(high)
            alpha = 1 - int(level) / 100
            outside = np.maximum(low - came, 0) + np.maximum(came - high, 0)
            interval = interval + alpha / 2 * (high - low + 2 / alpha * outside)
        self.values[f"wis{name}"] += (interval / (len(bounds) + 0.5)).tolist()
        low, high = (np.asarray(bound) for bound in bounds["90"])
        self.values[f"coverage_90{name}"] += ((came >= low) & (came <= high)).astype(float).tolist()

    def figures(self, prefix: str = "") -> dict[str, float]:
        """Give the means."""
        return {prefix + name: round(float(np.mean(found)), 3) for name, found in self.values.items()}


def main() -> None:
    """Measure, and print a JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one small fleet, once")
    parser.add_argument("--fleets", type=int, default=len(SEEDS))
    parser.add_argument("--statsforecast", type=Path, metavar="PYTHON", help="an interpreter that has it")
    given = parser.parse_args()
    weeks = 13 if given.quick else 26
    seeds = SEEDS[: 1 if given.quick else given.fleets]
    lineages, origins = (60, 1) if given.quick else (360, 2)
    plain, grouped, change = Scores(), Scores(), Scores()
    taken: list[float] = []
    for seed in seeds:
        after_change = BEFORE_CHANGE + timedelta(weeks=weeks) + SETTLED
        runs = ((END, origins, plain, grouped), (after_change, 1, change, None))
        for end, moments, scores, groups in runs:
            with tempfile.TemporaryDirectory() as folder:
                measure(Path(folder), seed, lineages, end, weeks, moments, given, scores, groups, taken)
    figures = {**plain.figures(), **grouped.figures("by_issuer_"), **change.figures("change_")}
    for name in RIVALS:
        figures[f"mae_{name}_ratio"] = round(figures["mae"] / figures[f"mae_{name}"], 3)
    figures["forecast_s"] = round(float(np.median(taken)), 2)
    report(
        "load",
        figures,
        ["certforecast", "numpy", "pandas", *([] if given.statsforecast else ["statsmodels"])],
        {
            "fleets": len(seeds),
            "lineages": lineages,
            "weeks": weeks,
            "origins": origins,
            "rivals": "statsforecast" if given.statsforecast else "statsmodels",
        },
    )


def measure(
    folder: Path,
    seed: int,
    lineages: int,
    end: datetime,
    weeks: int,
    origins: int,
    given: argparse.Namespace,
    scores: Scores,
    groups: Scores | None,
    taken: list[float],
) -> None:
    """Forecast one fleet at several moments."""
    years = 2.0 if given.quick else 3.3
    fleet = Fleet(seed, lineages, years=years, end=end, rates=Rates.varied(seed, 0.6))
    fleet.write(folder)
    settings, earlier = Settings(home=folder), 2 if given.quick else 6
    with History(settings.store_path) as history:
        history.ingest(TablesSource(folder))
        for number in range(origins):
            as_of = end - SETTLED - timedelta(weeks=weeks * (number + 1))
            model = train(history, as_of, settings).model
            start = time.perf_counter()
            told = forecast_load(history, model, as_of, weeks, origins=earlier)
            taken.append(time.perf_counter() - start)
            habits = forecast_load(history, None, as_of, weeks, origins=earlier)
            compare(history, end, {"": told, "_habits": habits}, weeks, given, scores)
            if groups is not None:
                told = forecast_load(history, model, as_of, weeks, by="issuer", origins=earlier)
                compare(history, end, {"": told}, weeks, given, groups)
            print(f"fleet {seed}, {as_of:%Y-%m-%d}: mae so far {scores.figures()}", flush=True)


def compare(
    history: History,
    end: datetime,
    ours: dict[str, LoadForecast],
    weeks: int,
    given: argparse.Namespace,
    scores: Scores,
) -> None:
    """Score our forecasts, by what their figures' names end with, and the rivals' on the same weeks."""
    told = ours[""]
    past = min(HISTORY_WEEKS, 78 if given.quick else HISTORY_WEEKS)
    after = round((end - told.as_of) / timedelta(weeks=1))
    counts = observed_load(history, end, after + past, by=told.by)
    known = {
        group: rows["renewals"].to_numpy() for group, rows in counts.groupby("group") if group in told.groups
    }
    for name, made in ours.items():
        for place, group in enumerate(made.groups):
            if group in known:
                draws = made.draws["renewals"][:, place]
                bounds = {
                    str(level): np.quantile(draws, [0.5 - level / 200, 0.5 + level / 200], axis=0)
                    for level in LEVELS
                }
                scores.add(name, known[group][past : past + weeks], draws.mean(axis=0), bounds)
    series = [values[:past].tolist() for values in known.values()]
    for name, answers in forecasts(series, weeks, LEVELS, given.statsforecast).items():
        for values, answer in zip(known.values(), answers, strict=True):
            scores.add(f"_{name}", values[past : past + weeks], np.array(answer["mean"]), answer["bounds"])


if __name__ == "__main__":
    main()
