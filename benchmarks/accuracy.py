"""How good the forecasts are, on simulated fleets of different character and on real history.

    python benchmarks/accuracy.py [--quick] [--history FOLDER ...] [--asymptote 50] [--cache FOLDER]

Each fleet has rates of its own, drawn anew, and none of them made the shipped model. Two ceilings stand
beside the models: the fleet's true probabilities, which nobody can know who has only the tables; and the
asymptote, the best of two models trained on many times the data of the same process: so many more fleets
of the same rates and size. Playing them takes an hour or more, a cache keeps them. Without the asymptote (0)
and the rivals of other libraries the script takes a quarter of an hour. A folder of real history is read as
``certforecast backtest --history`` reads it.

``--quick`` shows that it works: small fleets of which one half is asked and the other trains the asymptote,
one cutoff, no rivals but the rules and logistic regression, and real history only where it is named. Its
figures say little about the models.

``ibs`` is the integrated Brier score over 90 days of the probability that the outcome has come about;
``coverage_90`` the share of renewals within their 90 % interval; ``calibration_error_floor`` what forecasts
that are right would show on the same rows. Differences (``..._gain``) are to the best rival by that measure,
above 0 where ours is better, with their 90 % interval by resampling lineages, alike for both; the tables show
that interval beside every model.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed  # noqa: TID253 (a script of its own)
from report import report
from rich.console import Console
from rich.table import Table

from certforecast.errors import ModelError
from certforecast.evaluation import (
    BacktestResult,
    Difference,
    backtest,
    calibration,
    coverage_by_group,
    default_cutoffs,
    timing,
)
from certforecast.evaluation.report import differences
from certforecast.features import FEATURES, training_frame
from certforecast.history import History
from certforecast.history.sources.auto import recognise
from certforecast.history.sources.options import make_source
from certforecast.models import RULES, OutcomeClassifier, OutcomePool, landmarks
from certforecast.models.rivals import RIVALS
from certforecast.models.timing import RenewalTimes
from certforecast.models.training import trainable
from certforecast.models.weighing import landmark_weights
from certforecast.policy import RenewalPolicy
from certforecast.simulation import Fleet, Rates
from certforecast.simulation.frames import fleet_frame

SEEDS = (21, 22, 23, 24, 25)
SPREAD = 0.6
OURS, LOCAL, TRUTH = "certforecast", "without the prior", "truth"
#: Left out: SurvivalBoost takes as long as all others together. benchmarks/models.py has it.
RIVALS_HERE = {
    name: rival for name, rival in RIVALS.items() if rival.available and rival.package != "hazardous"
}
#: The landmarks of the asymptote's data lie so many days apart, thrice as far as those of the fleet itself:
#: it wants more renewals, not more looks at the same ones.
ASYMPTOTE_DAYS = 42.0
#: The asymptote is the better of these, trained on many times the data.
ASYMPTOTES: dict[str, dict[str, Any]] = {
    "asymptote": {"max_iter": 300, "max_leaf_nodes": 16},
    "asymptote, larger": {"max_iter": 400, "max_leaf_nodes": 31},
}
Models = dict[str, Callable[[], Any]]
MODELS: Models = {
    OURS: lambda: OutcomePool(times=RenewalTimes()),
    LOCAL: lambda: OutcomePool(prior=None),
    "blended": OutcomeClassifier,
    "boosted": lambda: OutcomeClassifier("boosted"),
    **{name: rival.new for name, rival in RIVALS_HERE.items()},
}
OUTCOMES = ["failed", "slipped", "late"]
NUMBERS = [feature.name for feature in FEATURES.values() if feature.kind != "category"]


@dataclass(frozen=True)
class Effort:
    """How much is played and asked."""

    lineages: int = 360
    every_days: float = 14.0
    draws: int = 200
    #: Of the default cutoffs, so many of the last; 0 for all.
    cutoffs: int = 0
    asymptote: int = 50
    #: To train the asymptote on half of the fleet instead: the features of another one take seconds.
    halved: bool = False
    #: Share of the rounds that the asymptote is boosted for.
    rounds: float = 1.0


QUICK = Effort(lineages=40, every_days=63.0, draws=10, cutoffs=1, asymptote=0, halved=True, rounds=0.1)
QUICK_RIVALS = (*RULES, "logistic")


def main() -> None:
    """Measure, print a table for each data set, and a JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--history", type=Path, nargs="*", help="folders of real history")
    parser.add_argument("--asymptote", type=int, help="times the data for the asymptote; 0: none")
    parser.add_argument("--cache", type=Path, help="folder to keep the rows of played fleets in")
    parser.add_argument("--fleets", type=int, default=len(SEEDS), help="how many of the fleets")
    parser.add_argument("--rules-only", action="store_true", help="leave out the rivals of other libraries")
    parser.add_argument("--quick", action="store_true", help="small, to see that it works")
    given = parser.parse_args()
    effort = QUICK if given.quick else Effort()
    if given.asymptote is not None:
        effort = replace(effort, asymptote=given.asymptote, halved=False)
    models = dict(MODELS)
    if given.quick:
        models = {name: MODELS[name] for name in (OURS, *QUICK_RIVALS)}
    elif given.rules_only:
        extra = {name for name, rival in RIVALS_HERE.items() if rival.extra}
        models = {name: new for name, new in MODELS.items() if name not in extra}
    folders = given.history
    if folders is None:
        folders = [] if given.quick else real_data()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        cache, seeds = given.cache or Path(folder), SEEDS[: given.fleets]
        jobs = [delayed(fleet_backtest)(seed, effort, cache, models) for seed in seeds]
        # Small ones leave a core idle; large ones take both, and memory for one.
        results = Parallel(n_jobs=-1 if given.quick else 1, return_as="generator")(jobs)
        for number, result in enumerate(results, start=1):
            figures |= told(measured(f"fleet{number}", result))
    real = []
    for folder in folders:
        real.append(folder.name.replace("-", ""))
        figures |= told(measured(real[-1], real_backtest(folder, effort, models)))
    for outcome in OUTCOMES:
        names = [f"{name}_{outcome}_real_skill" for name in real]
        if skills := [figures[name] for name in names if name in figures]:
            figures[f"{outcome}_real_skill"] = round(float(np.mean(skills)), 4)
    report(
        "accuracy",
        figures,
        ["certforecast", "scikit-learn", "numpy", "pandas"],
        {"seeds": SEEDS[: given.fleets], **asdict(effort)},
    )


def real_data() -> list[Path]:
    """Find folders of real history beside the checkout."""
    found = Path(__file__).resolve().parents[2] / "shared" / "data"
    return sorted(path for path in found.glob("*") if path.is_dir())


def fleet_backtest(seed: int, effort: Effort, cache: Path, models: Models) -> BacktestResult:
    """Backtest on one fleet, with its ceilings."""
    rates, policy = Rates.varied(seed, SPREAD), RenewalPolicy()
    fleet = Fleet(seed, effort.lineages, rates=rates)
    path = cache / f"fleet-{seed}-{effort.lineages}-{effort.every_days:g}.parquet"
    frame = rows_of(fleet, effort.every_days, path)
    much = played(seed, effort, rates, cache) if effort.asymptote else None
    if effort.halved:
        half = pd.factorize(frame["lineage"])[0] % 2 == 0
        frame, much = frame[half], learnable(frame[~half])
    cutoffs = default_cutoffs(frame)[-effort.cutoffs :]
    asked = frame[frame["as_of"] >= cutoffs[0]]
    truths = [
        fleet.truth(moment.to_pydatetime(), effort.draws, settled=True).assign(as_of=moment)
        for moment in sorted(asked["as_of"].unique())
    ]
    ceilings = {TRUTH: pd.concat(truths)}
    if much is not None:
        y = much["outcome"].to_numpy(dtype=object).astype(str)
        keys = asked[["as_of", "fingerprint"]]
        for name, size in ASYMPTOTES.items():
            size = size | {"max_iter": round(size["max_iter"] * effort.rounds)}
            best = OutcomeClassifier("boosted", **size).fit(much[NUMBERS], y, much["weight"])
            ceilings[name] = pd.concat([keys, best.proba_frame(asked[NUMBERS])], axis=1)
    return compared(frame, models, cutoffs, policy=policy, given=ceilings)


def played(seed: int, effort: Effort, rates: Rates, cache: Path) -> pd.DataFrame:
    """Give the rows of many fleets of the same rates and size, kept in the cache once played."""
    fleets = [Fleet(1000 * seed + number, effort.lineages, rates=rates) for number in range(effort.asymptote)]
    frames = Parallel(n_jobs=-1, return_as="generator")(
        delayed(rows_of)(fleet, ASYMPTOTE_DAYS, cache / f"asymptote-{fleet.seed}-{effort.lineages}.parquet")
        for fleet in fleets
    )
    return pd.concat([learnable(frame) for frame in frames], ignore_index=True)


def learnable(frame: pd.DataFrame) -> pd.DataFrame:
    """Give what the asymptote may learn from the rows of a fleet, with weights."""
    rows = frame[trainable(frame, frame["resolved_at"].max(), RenewalPolicy())]
    return rows[[*NUMBERS, "outcome"]].assign(weight=landmark_weights(rows))


def rows_of(fleet: Fleet, every_days: float, path: Path) -> pd.DataFrame:
    """Give the rows of a fleet, played unless they are kept."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fleet_frame(fleet, every_days).to_parquet(path)
    return pd.read_parquet(path)


def real_backtest(folder: Path, effort: Effort, models: Models) -> BacktestResult:
    """Backtest on a folder of history as it is."""
    with tempfile.TemporaryDirectory() as home, History(Path(home) / "history.duckdb") as store:
        for known in recognise(folder):
            store.ingest(make_source(known.kind.name, str(known.path), {}))
        last: datetime | None = store.tables().last_known()
        if last is None:
            raise SystemExit(f"{folder} holds no certificates")
        frame = training_frame(store, landmarks(store, last, effort.every_days), last)
    return compared(frame, models, default_cutoffs(frame)[-effort.cutoffs :])


def compared(frame: pd.DataFrame, models: Models, cutoffs: list[datetime], **options: Any) -> BacktestResult:
    """Backtest; a rival that gives what is no probability is named, and left out."""
    try:
        return backtest(frame, models, cutoffs, **options)
    except ModelError as error:
        failed = [name for name in RIVALS_HERE if name in models and str(error).startswith(repr(name))]
        if not failed:
            raise
        print(f"left out: {error}", file=sys.stderr, flush=True)
        rest = {name: new for name, new in models.items() if name not in failed}
        return compared(frame, rest, cutoffs, **options)


def measured(name: str, result: BacktestResult) -> dict[str, float]:
    """Print how the models compare on one data set, and give its figures."""
    covered = coverage_by_group(result, model=OURS)["coverage"].iloc[0]
    figures = {}
    for outcome in OUTCOMES:
        scores = result.summary(outcome).set_index("model")
        leads = differences(result, OURS, outcome).set_index("model")
        brier = timing(result, outcome).set_index("model")["ibs"]
        calibrated = calibration(result, outcome).set_index("model")
        headings = ("AUPRC", "log loss", "calibration error", "IBS", "lead in AUPRC", "lead in log loss")
        table = Table("model", *headings, title=f"{name}, {outcome}")
        for model, row in scores.iterrows():
            ibs = brier.get(model, np.nan)
            shown = [f"{row[key]:.4f}" for key in ("auprc", "log_loss", "calibration_error")]
            apart = ["", ""]
            if model != OURS:
                lead = leads.loc[model]
                apart = [
                    f"{lead[f'{key}_low']:+.3f} to {lead[f'{key}_high']:+.3f}"
                    for key in ("auprc", "log_loss")
                ]
            table.add_row(str(model), *shown, f"{ibs:.4f}", *apart)
        Console(width=max(Console().width, 120)).print(table)  # a row a line, also in a file
        compared = [name for name in MODELS if name in scores.index and name not in (OURS, LOCAL)]
        ours, best = scores.loc[OURS, "auprc"], scores.loc[list(RULES), "auprc"].max()
        rival_loss = scores.loc[compared, "log_loss"].idxmin()
        rival_area = scores.loc[compared, "auprc"].fillna(-1.0).idxmax()
        in_time = brier.drop([OURS, LOCAL, TRUTH, *ASYMPTOTES], errors="ignore")
        when = Difference(np.nan, np.nan, np.nan)
        if len(in_time):
            when = result.difference(OURS, str(in_time.idxmin()), outcome, "ibs")
        found = {
            "auprc": ours,
            "auprc_best_rule": best,
            "auprc_best_rival": scores.loc[rival_area, "auprc"],
            "auprc_gain": ours - scores.loc[rival_area, "auprc"],
            "auprc_gain_low": leads.loc[rival_area, "auprc_low"],
            "auprc_gain_high": leads.loc[rival_area, "auprc_high"],
            "log_loss": scores.loc[OURS, "log_loss"],
            "log_loss_best_rival": scores.loc[rival_loss, "log_loss"],
            "log_loss_gain": scores.loc[rival_loss, "log_loss"] - scores.loc[OURS, "log_loss"],
            "log_loss_gain_low": leads.loc[rival_loss, "log_loss_low"],
            "log_loss_gain_high": leads.loc[rival_loss, "log_loss_high"],
            "calibration_error": scores.loc[OURS, "calibration_error"],
            "calibration_error_floor": calibrated.loc[OURS, "floor"],
            "calibration_error_debiased": calibrated.loc[OURS, "debiased"],
            "ibs": brier[OURS],
            "ibs_best_rival": in_time.min(),
            "ibs_gain": in_time.min() - brier[OURS],
            "ibs_gain_low": when.low,
            "ibs_gain_high": when.high,
            "coverage_90": covered,
        }
        if TRUTH in scores.index:
            found["auprc_truth"] = scores.loc[TRUTH, "auprc"]
            found["calibration_error_truth"] = scores.loc[TRUTH, "calibration_error"]
        else:
            found["real_skill"] = (ours - best) / (1 - best)
            found["real_skill_worst_fold"] = worst_fold(result, outcome)
        if set(ASYMPTOTES) <= set(scores.index):
            found["auprc_asymptote"] = scores.loc[list(ASYMPTOTES), "auprc"].max()
            if found["auprc_asymptote"] > best:  # or nothing is to be gained over the rule
                found["achievable_share"] = (ours - best) / (found["auprc_asymptote"] - best)
        figures |= {
            f"{name}_{outcome}_{key}": round(float(value), 4)
            for key, value in found.items()
            if value == value  # what never came about has no figure
        }
    return figures


def told(figures: dict[str, float]) -> dict[str, float]:
    """Print the figures of one data set for people, so that a run that is stopped was not in vain."""
    print(json.dumps(figures), file=sys.stderr, flush=True)
    return figures


def worst_fold(result: BacktestResult, outcome: str) -> float:
    """Give the least skill against the best rule of a window with 20 such renewals or more."""
    folds = result.by_cutoff(outcome)
    skills = []
    for _, fold in folds[folds["renewals"] >= 20].groupby("cutoff"):
        area = fold.set_index("model")["auprc"]
        best = area[list(RULES)].max()
        skills.append((area[OURS] - best) / (1 - best))
    return min(skills, default=np.nan)


if __name__ == "__main__":
    main()
