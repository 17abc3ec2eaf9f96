"""How long models take to fit, to predict and to explain, and how much memory, beside rivals in one run.

    python benchmarks/models.py [--rows 1_000_000] [--predict 1_000_000] [--fleets 8] [--quick]

Landmark rows come from simulated fleets of different rates. There are fewer than asked for, so renewals are
drawn again under new names, their numbers moved by a thousandth of each column's spread: the time it takes
depends on how many rows there are, not on whether they are news. Each model is fitted in a process of its
own, for its peak memory, to renewals settled in the first 70 % of the time, and predicts rows of the rest.
Rivals that cannot bear as many rows get what they bear (figure ``..._rows``). The scores: AUPRC for failed
and late, and, of those that tell times, the integrated Brier score over 90 days (``ibs_...``). Figures
without a prefix are the default model's; ``with_times`` is what ``certforecast train`` makes.

``near_survival_rivals`` counts the survival rivals whose integrated Brier score is within 1 % of ours,
or better, for failed or for late; ``near_survival_rivals_slower`` those of them that predict incidences more
slowly than ours; ``speed_ratio_to_near_rivals`` is our speed over that of the fastest of them.
"""

import argparse
import importlib.util
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from report import report
from rich.console import Console
from rich.table import Table

from certforecast.evaluation import auprc, integrated_brier
from certforecast.features import FEATURES
from certforecast.models import OutcomeClassifier, OutcomePool
from certforecast.models.durations import durations
from certforecast.models.rivals import RIVALS
from certforecast.models.timing import RenewalTimes
from certforecast.models.training import fit_rows, settling, trainable
from certforecast.policy import RenewalPolicy
from certforecast.renewals import OUTCOMES
from certforecast.simulation import Fleet, Rates
from certforecast.simulation.frames import fleet_frame

SEEDS = range(41, 141)
OURS, TIMED = "certforecast", "with_times"
INPUTS = list(FEATURES)
NUMBERS = [name for name, feature in FEATURES.items() if feature.kind != "category"]
POLICY = RenewalPolicy()
DAYS = [1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 14.0, 21.0, 30.0, 45.0, 60.0, 75.0, 90.0]
LATE = ("slipped", "failed")
#: Loaded once, before the processes part, so that each does not load it anew.
LOADED = ["certforecast.models.pool", "certforecast.models.rivals.stacked", "sklearn.ensemble", "rich.table"]


class Bears(NamedTuple):
    """How many rows a model is given at most."""

    fit: int = sys.maxsize
    predict: int = sys.maxsize


OWN: dict[str, Callable[[], Any]] = {
    OURS: OutcomePool,
    TIMED: lambda: OutcomePool(times=RenewalTimes()),
    "blended": OutcomeClassifier,
    "boosted": lambda: OutcomeClassifier("boosted"),
}
#: Rules cost next to nothing; they are in benchmarks/accuracy.py.
BEARS: dict[str, Bears] = {
    OURS: Bears(),
    TIMED: Bears(),
    "blended": Bears(),
    "boosted": Bears(),
    "logistic": Bears(),
    "logistic, all features": Bears(),
    "LightGBM": Bears(),
    "LightGBM hazards": Bears(100_000, 20_000),
    "boosted hazards": Bears(100_000, 20_000),
    "Aalen-Johansen": Bears(100_000),
    "Cox (lifelines)": Bears(20_000, 100_000),
    "Coxnet (scikit-survival)": Bears(20_000, 100_000),
    "survival forest (scikit-survival)": Bears(4_000, 20_000),
    "boosted Cox (scikit-survival)": Bears(3_000, 20_000),
    "SurvivalBoost (hazardous)": Bears(2_000, 20_000),
}
#: With --quick, nobody gets more than this, and the slowest are smaller.
QUICK = Bears(600, 400)
SMALLER: dict[str, dict[str, Any]] = {
    "survival forest (scikit-survival)": {"n_estimators": 20},
    "boosted Cox (scikit-survival)": {"n_estimators": 20},
    "SurvivalBoost (hazardous)": {"n_iter": 4},
}
EXPLAINED, SCORED = 20_000, 20_000


def main() -> None:
    """Measure, print a table and the figures, and a JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="to fit to")
    parser.add_argument("--predict", type=int, default=1_000_000, help="to predict")
    parser.add_argument("--fleets", type=int, default=8, help="how many are played")
    parser.add_argument("--limit", type=float, default=1200.0, help="seconds that a model may take")
    parser.add_argument("--only", nargs="*", default=list(BEARS), help="the names of some models")
    parser.add_argument("--quick", action="store_true", help="few rows for all, within a minute")
    given = parser.parse_args()
    if given.quick:
        given.rows, given.predict, given.fleets = *QUICK, 1
    size = {"lineages": 60, "years": 2.0} if given.quick else {"lineages": 360}
    train, test = split(given.fleets, size)
    scored = test.sample(min(len(test), given.predict, SCORED), random_state=0)
    found: dict[str, dict[str, float]] = {}
    for name in given.only:
        bears, rival = BEARS[name], RIVALS.get(name)
        if rival is not None and not rival.available:
            print(f"{name} is left out: pip install 'certforecast[rivals]'", file=sys.stderr)
            continue
        asked = Bears(min(given.rows, bears.fit), min(given.predict, bears.predict))
        parameters = SMALLER.get(name, {}) if given.quick else {}
        measured = alone(name, parameters, train, test, scored, asked, limit=given.limit)
        if measured:
            found[name] = measured
            show(name, measured)
    figures: dict[str, float] = {"rows_played": len(train)}
    for name, values in found.items():
        prefix = "" if name == OURS else f"{slug(name)}_"
        figures |= {prefix + key: round(value, 4) for key, value in values.items()}
    figures |= near(found)
    table(found)
    settings = {"rows": given.rows, "predict": given.predict, "fleets": given.fleets}
    packages = ["certforecast", "scikit-learn", "numpy", "pandas"]
    packages += [
        name
        for name, module in {
            "lightgbm": "lightgbm",
            "lifelines": "lifelines",
            "scikit-survival": "sksurv",
            "hazardous": "hazardous",
        }.items()
        if importlib.util.find_spec(module)
    ]
    report("models", figures, packages, settings)


def slug(name: str) -> str:
    """Give a name for figures: letters and digits."""
    return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def near(found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Say which survival rivals come near our score, and how their speed compares with ours."""
    if TIMED not in found:
        return {}
    ours = found[TIMED]
    speeds = {
        name: values["incidence_per_s"]
        for name, values in found.items()
        if name in RIVALS
        and RIVALS[name].package  # of another library
        and any(
            values[key] <= 1.01 * ours[key]
            for key in ("ibs_failed", "ibs_late")
            if key in values.keys() & ours
        )
    }
    figures = {
        "near_survival_rivals": len(speeds),
        "near_survival_rivals_slower": sum(speed < ours["incidence_per_s"] for speed in speeds.values()),
    }
    if speeds:
        figures["speed_ratio_to_near_rivals"] = round(ours["incidence_per_s"] / max(speeds.values()), 3)
        print(f"survival rivals near our score: {', '.join(speeds)}", file=sys.stderr)
    return figures


def show(name: str, values: Mapping[str, float]) -> None:
    """Say how far the run is."""
    print(f"{name}: fit {values['fit_s']:.1f} s to {values['rows']:,} rows", file=sys.stderr)


def table(found: Mapping[str, Mapping[str, float]]) -> None:
    """Print the models beside each other."""
    columns = {
        "rows": ",.0f",
        "fit_s": ",.1f",
        "fit_cpu_s": ",.1f",
        "predict_per_s": ",.0f",
        "incidence_per_s": ",.0f",
        "explain_per_s": ",.0f",
        "peak_mb": ",.0f",
        "auprc_failed": ".3f",
        "auprc_late": ".3f",
        "ibs_failed": ".4f",
        "ibs_late": ".4f",
    }
    shown = Table("model", *columns)
    for name, values in found.items():
        shown.add_row(
            name, *(f"{values[key]:{how}}" if key in values else "" for key, how in columns.items())
        )
    Console(width=160).print(shown)


def split(fleets: int, size: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Play the fleets; give the rows to fit to, and those to predict."""
    early, late = [], []
    for seed in SEEDS[:fleets]:
        frame = fleet_frame(Fleet(seed, **size, rates=Rates.varied(seed, 0.6)))
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


def alone(name: str, *given: Any, limit: float) -> dict[str, float]:
    """Measure a model in a process of its own; nothing if it broke or took too long.

    What is given is what `measure` takes.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    ours, theirs = context.Pipe()
    process = context.Process(target=measure, args=(theirs, name, *given))
    process.start()
    theirs.close()
    try:
        if ours.poll(limit):
            found: dict[str, float] = ours.recv()
            return found
        print(f"{name} took over {limit:g} s and is left out", file=sys.stderr)
        process.kill()
    except EOFError:
        print(f"{name} broke and is left out", file=sys.stderr)
    finally:
        process.join()
    return {}


def measure(
    pipe: Any,
    name: str,
    parameters: Mapping[str, Any],
    train: pd.DataFrame,
    test: pd.DataFrame,
    scored: pd.DataFrame,
    asked: Bears,
) -> None:
    """Fit, predict, score; send the figures."""
    model = OWN[name]() if name in OWN else RIVALS[name].new().set_params(**parameters)
    known, inputs = enlarged(train, asked.fit, seed=0), enlarged(test, asked.predict, seed=1)[INPUTS]
    before = peak_mb()
    start, cpu = time.perf_counter(), time.process_time()
    fitted = fit_rows(model, known, POLICY)
    found: dict[str, float] = {"rows": len(known), "fit_s": time.perf_counter() - start}
    found["fit_cpu_s"] = time.process_time() - cpu  # says more where others work on the machine, too
    found["predict_per_s"] = per_s(fitted.proba_frame, inputs)
    given = fitted.proba_frame(scored[INPUTS])
    late = scored["outcome"].isin(LATE)
    found["auprc_failed"] = auprc(scored["outcome"] == "failed", given["p_failed"])
    found["auprc_late"] = auprc(late, given["p_slipped"] + given["p_failed"])
    if name == TIMED or (name in RIVALS and RIVALS[name].tells_times):
        found["incidence_per_s"] = per_s(lambda X: fitted.predict_incidence(X, DAYS), inputs)
        found |= brier(scored, fitted.predict_incidence(scored[INPUTS], DAYS))
    if name == OURS and importlib.util.find_spec("certforecast.models.contributions"):
        explain = importlib.import_module("certforecast.models.contributions").explain
        found["explain_per_s"] = per_s(lambda X: explain(fitted, X), inputs.head(EXPLAINED))
    found |= {"peak_mb": peak_mb(), "peak_mb_before_fit": before}
    pipe.send({key: float(value) for key, value in found.items() if value == value})


def per_s(what: Callable[[pd.DataFrame], Any], X: pd.DataFrame) -> float:
    """Give how many rows a second are dealt with."""
    start = time.perf_counter()
    what(X)
    return len(X) / (time.perf_counter() - start)


def brier(rows: pd.DataFrame, incidence: np.ndarray[Any, Any]) -> dict[str, float]:
    """Give the integrated Brier scores of incidences of shape (n_rows, 4, n_days)."""
    ended = durations(rows, rows["not_after"].max())["duration"]
    parts = {"failed": ["failed"], "late": list(LATE)}
    return {
        f"ibs_{name}": integrated_brier(
            rows["outcome"].isin(outcomes),
            ended,
            np.zeros(len(rows), dtype=bool),
            incidence[:, [OUTCOMES.index(outcome) for outcome in outcomes]].sum(axis=1),
            DAYS,
        )
        for name, outcomes in parts.items()
    }


def peak_mb() -> float:
    """Give the most memory this process ever took."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
