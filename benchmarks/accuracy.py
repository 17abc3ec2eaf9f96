"""How good the forecasts are, on simulated fleets of different character and on real history.

    python benchmarks/accuracy.py [--history FOLDER ...] [--asymptote 50] [--fleets 5]

Each fleet has rates of its own, drawn anew, and none of them made the shipped model. Two ceilings stand
beside the models: the fleet's true probabilities, which nobody can know who has only the tables; and the
asymptote, a model trained on many times the data of the same process: another fleet with the same rates
and so many times the lineages. Without it (0) the script takes a quarter of an hour. A folder of real
history is read as ``certforecast backtest --history`` reads it.
"""

import argparse
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from report import report
from rich.console import Console
from rich.table import Table

from certforecast.evaluation import BacktestResult, auprc, backtest, calibration_error, default_cutoffs
from certforecast.features import FEATURES, training_frame
from certforecast.history import History
from certforecast.history.sources.auto import recognise
from certforecast.history.sources.options import make_source
from certforecast.models import RULES, OutcomeClassifier, OutcomePool, PriorRate, landmarks
from certforecast.models.training import landmark_weights, trainable
from certforecast.policy import RenewalPolicy
from certforecast.simulation import Fleet, Rates
from certforecast.simulation.frames import fleet_frame

SEEDS = (21, 22, 23, 24, 25)
SPREAD = 0.6
LINEAGES = 360
DRAWS = 200
OURS, LOCAL, TRUTH, ASYMPTOTE = "certforecast", "without the prior", "truth", "asymptote"
MODELS: dict[str, Callable[[], Any]] = {
    OURS: OutcomePool,
    LOCAL: lambda: OutcomePool(prior=None),
    "blended": OutcomeClassifier,
    "boosted": lambda: OutcomeClassifier("boosted"),
    "logistic, all features": lambda: OutcomeClassifier("logistic", lean=False, C=0.002),
    **RULES,
    "overall rates": PriorRate,
}
OUTCOMES = {"failed": ["failed"], "slipped": ["slipped"], "late": ["slipped", "failed"]}
NUMBERS = [feature.name for feature in FEATURES.values() if feature.kind != "category"]


def main() -> None:
    """Measure, print a table for each data set, and a JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--history", type=Path, nargs="*", default=[], help="folders of real history")
    parser.add_argument("--asymptote", type=int, default=50, help="times the data for the asymptote; 0: none")
    parser.add_argument("--fleets", type=int, default=len(SEEDS), help="how many of the fleets")
    given = parser.parse_args()
    figures: dict[str, float] = {}
    for number, seed in enumerate(SEEDS[: given.fleets], start=1):
        figures |= measured(f"fleet{number}", fleet_backtest(seed, given.asymptote))
    real = {}
    for folder in given.history:
        name = folder.name.replace("-", "")
        real[name] = measured(name, real_backtest(folder))
        figures |= real[name]
    for outcome in OUTCOMES:
        skills = [found[f"{name}_{outcome}_real_skill"] for name, found in real.items()]
        if skills:
            figures[f"{outcome}_real_skill"] = round(float(np.nanmean(skills)), 4)
    report(
        "accuracy",
        figures,
        ["certforecast", "scikit-learn", "numpy", "pandas"],
        {"seeds": SEEDS[: given.fleets], "asymptote": given.asymptote, "lineages": LINEAGES},
    )


def fleet_backtest(seed: int, times: int) -> BacktestResult:
    """Backtest on one fleet, with its ceilings."""
    rates, policy = Rates.varied(seed, SPREAD), RenewalPolicy()
    fleet = Fleet(seed, LINEAGES, rates=rates)
    frame = fleet_frame(fleet)
    cutoffs = default_cutoffs(frame)
    asked = frame[frame["as_of"] >= cutoffs[0]]
    truths = [
        fleet.truth(moment.to_pydatetime(), DRAWS, settled=True).assign(as_of=moment)
        for moment in sorted(asked["as_of"].unique())
    ]
    ceilings = {TRUTH: pd.concat(truths)}
    if times:
        much = fleet_frame(Fleet(seed + 1_000, LINEAGES * times, rates=rates))
        rows = much[trainable(much, much["resolved_at"].max(), policy)]
        best = OutcomeClassifier("boosted", max_iter=300, max_leaf_nodes=16)
        best.fit(rows[NUMBERS], rows["outcome"].to_numpy(dtype=object).astype(str), landmark_weights(rows))
        keys = asked[["as_of", "fingerprint"]]
        ceilings[ASYMPTOTE] = pd.concat([keys, best.proba_frame(asked[NUMBERS])], axis=1)
    return backtest(frame, MODELS, cutoffs, policy=policy, given=ceilings)


def real_backtest(folder: Path) -> BacktestResult:
    """Backtest on a folder of history as it is."""
    with tempfile.TemporaryDirectory() as home, History(Path(home) / "history.duckdb") as store:
        for known in recognise(folder):
            store.ingest(make_source(known.kind.name, str(known.path), {}))
        last: datetime | None = store.tables().last_known()
        if last is None:
            raise SystemExit(f"{folder} holds no certificates")
        frame = training_frame(store, landmarks(store, last, 14.0), last)
    return backtest(frame, MODELS, default_cutoffs(frame))


def measured(name: str, result: BacktestResult) -> dict[str, float]:
    """Print how the models compare on one data set, and give its figures."""
    figures = {}
    for outcome, parts in OUTCOMES.items():
        scores = {model: scored(result.rows_of(model), parts) for model in result.models}
        table = Table("model", "AUPRC", "log loss", "calibration error", title=f"{name}, {outcome}")
        for model, row in sorted(scores.items(), key=lambda item: -np.nan_to_num(item[1][0])):
            table.add_row(model, *(f"{value:.4f}" for value in row))
        Console().print(table)
        ours, best = scores[OURS][0], max(scores[rule][0] for rule in RULES)
        figures[f"{name}_{outcome}_auprc"] = ours
        figures[f"{name}_{outcome}_auprc_best_rule"] = best
        figures[f"{name}_{outcome}_log_loss"] = scores[OURS][1]
        figures[f"{name}_{outcome}_log_loss_best_rule"] = min(
            scores[rule][1] for rule in [*RULES, "overall rates"]
        )
        figures[f"{name}_{outcome}_calibration_error"] = scores[OURS][2]
        if ASYMPTOTE in scores:
            figures[f"{name}_{outcome}_achievable_share"] = (ours - best) / (scores[ASYMPTOTE][0] - best)
        if TRUTH in scores:
            figures[f"{name}_{outcome}_auprc_truth"] = scores[TRUTH][0]
        else:
            figures[f"{name}_{outcome}_real_skill"] = (ours - best) / (1 - best)
    return {key: round(float(value), 4) for key, value in figures.items()}


def scored(rows: pd.DataFrame, outcomes: list[str]) -> tuple[float, float, float]:
    """Give AUPRC, log loss and calibration error of one model for an outcome, or for either of several."""
    came = rows["outcome"].isin(outcomes).to_numpy()
    p = np.clip(rows[[f"p_{name}" for name in outcomes]].sum(axis=1).to_numpy(), 1e-6, 1 - 1e-6)
    loss = -np.mean(np.log(np.where(came, p, 1 - p)))
    return auprc(came, p), float(loss), calibration_error(came, p)


if __name__ == "__main__":
    main()
