"""How long models take to fit and to predict, and how much memory, beside each other in one run.

    python benchmarks/models.py [--rows 1_000_000] [--predict 1_000_000] [--fleets 8]

Landmark rows come from simulated fleets of different rates. There are fewer than asked for, so renewals are
drawn again under new names, their numbers moved by a thousandth of each column's spread: the time it takes
depends on how many rows there are, not on whether they are news. Each model is fitted in a process of its
own, for its peak memory, to renewals settled in the first 70 % of the time; it predicts rows of the rest,
and is scored on them once each.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from report import report

from certforecast.evaluation import auprc
from certforecast.features import FEATURES
from certforecast.models import OutcomeClassifier, OutcomePool, RenewalHazard
from certforecast.models.durations import durations
from certforecast.models.timing import RenewalTimes
from certforecast.models.training import fit_rows, landmark_weights, settling, trainable
from certforecast.policy import RenewalPolicy
from certforecast.simulation import Fleet, Rates
from certforecast.simulation.frames import fleet_frame

SEEDS = range(41, 141)
OURS = "certforecast"
#: The survival model stacks every row by its periods; so many rows are what it is given at most.
HAZARD_ROWS = 100_000
INPUTS = list(FEATURES)
NUMBERS = [name for name, feature in FEATURES.items() if feature.kind != "category"]
POLICY = RenewalPolicy()


class Hazards:
    """The survival model, with the outcomes it comes to."""

    def fit_rows(self, rows: pd.DataFrame) -> "Hazards":
        """Fit to rows that are settled."""
        ended, weights = durations(rows, rows["not_after"].max()), landmark_weights(rows)
        self.model = RenewalHazard().fit(rows[INPUTS], ended, weights.to_numpy())
        return self

    def proba_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        """Give the probabilities of the outcomes."""
        return self.model.proba_frame(X)


MODELS: dict[str, Callable[[], Any]] = {
    OURS: OutcomePool,
    "blended": OutcomeClassifier,
    "boosted": lambda: OutcomeClassifier("boosted"),
    "hazards": Hazards,
    "with_times": lambda: OutcomePool(times=RenewalTimes()),
}


def main() -> None:
    """Measure, print the figures, and a JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="to fit to")
    parser.add_argument("--predict", type=int, default=1_000_000, help="to predict")
    parser.add_argument("--fleets", type=int, default=8, help="how many are played")
    given = parser.parse_args()
    train, test = split(given.fleets)
    figures: dict[str, float] = {"rows_played": len(train)}
    for name in MODELS:
        rows = min(given.rows, HAZARD_ROWS) if name == "hazards" else given.rows
        asked = min(given.predict, HAZARD_ROWS) if name in ("hazards", "with_times") else given.predict
        prefix = "" if name == OURS else f"{name}_"
        for key, value in alone(name, train, test, rows, asked).items():
            figures[prefix + key] = round(value, 4)
    settings = {"rows": given.rows, "predict": given.predict, "hazard_rows": HAZARD_ROWS}
    report("models", figures, ["certforecast", "scikit-learn", "numpy", "pandas"], settings)


def split(fleets: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Play the fleets; give the rows to fit to, and those to predict."""
    early, late = [], []
    for seed in SEEDS[:fleets]:
        frame = fleet_frame(Fleet(seed, 360, rates=Rates.varied(seed, 0.6)))
        rows = frame[trainable(frame, frame["resolved_at"].max(), POLICY)]
        rows = rows.assign(fingerprint=rows["fingerprint"] + f"-{seed}")
        cutoff = rows["as_of"].quantile(0.7, interpolation="nearest")
        early.append(rows[settling(rows, POLICY)["settled"] <= cutoff])
        late.append(rows[rows["as_of"] > cutoff])
    return pd.concat(early, ignore_index=True), pd.concat(late, ignore_index=True)


def enlarged(rows: pd.DataFrame, wanted: int, seed: int) -> pd.DataFrame:
    """Draw renewals again until there are as many rows as wanted, or leave some out."""
    if wanted <= len(rows):
        return rows.sample(wanted, random_state=seed)
    rng, parts = np.random.default_rng(seed), []
    spread = rows[NUMBERS].std().to_numpy() / 1_000
    for number in range(-(-wanted // len(rows))):
        moved = rows[NUMBERS] + rng.normal(size=(len(rows), len(NUMBERS))) * spread * (number > 0)
        parts.append(rows.assign(**moved, fingerprint=rows["fingerprint"] + f".{number}"))
    return pd.concat(parts, ignore_index=True).head(wanted)


def alone(name: str, train: pd.DataFrame, test: pd.DataFrame, rows: int, asked: int) -> dict[str, float]:
    """Measure a model in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=measure, args=(theirs, name, train, test, rows, asked))
    process.start()
    theirs.close()
    try:
        found: dict[str, float] = ours.recv()
    finally:
        process.join()
    return found


def measure(pipe: Any, name: str, train: pd.DataFrame, test: pd.DataFrame, rows: int, asked: int) -> None:
    """Fit, predict, score; send the figures."""
    model, known = MODELS[name](), enlarged(train, rows, seed=0)
    before = peak_mb()
    start = time.perf_counter()
    fitted = model.fit_rows(known) if isinstance(model, Hazards) else fit_rows(model, known, POLICY)
    fit_s = time.perf_counter() - start
    inputs = enlarged(test, asked, seed=1)[INPUTS]
    start = time.perf_counter()
    if name == "with_times":
        fitted.predict_interval(inputs)
    else:
        fitted.proba_frame(inputs)
    predict_s = time.perf_counter() - start
    given = fitted.proba_frame(test[INPUTS])
    late = test["outcome"].isin(["slipped", "failed"])
    pipe.send(
        {
            "rows": len(known),
            "fit_s": fit_s,
            "predict_per_s": len(inputs) / predict_s,
            "peak_mb": peak_mb(),
            "peak_mb_before_fit": before,
            "auprc_failed": auprc(test["outcome"] == "failed", given["p_failed"]),
            "auprc_late": auprc(late, given["p_slipped"] + given["p_failed"]),
        }
    )


def peak_mb() -> float:
    """Give the most memory this process ever took."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
