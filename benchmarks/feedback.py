"""What a model learns from a fleet that acts on its forecasts: the feedback loop, played quarter by quarter.

    python benchmarks/feedback.py [--quick] [--cache FOLDER] [--picture FILE]

For a year nobody acts. Then every renewal whose forecast probability of failure reaches a threshold at a
landmark is acted upon, and nine of ten such actions mend it; the model is trained anew each quarter on all
that was recorded. Three ways to learn from that record:

- naive: what was mended counts as on time;
- dropped: what was acted upon is left out, and nothing is done about those that remain;
- ours: one in ten of those to be acted upon is held out by lot, and stands for the others by its weight.

A fourth model, "nothing hidden", is told what would have become of every renewal without us: nobody has that.
All are judged on renewals of other fleets, whose natural outcomes are known because nobody acted on them.

The renewals are those of simulated fleets with their features and natural outcomes, drawn anew for every
quarter. What an action does to later features (a better record of the lineage) is not played. The method is
the logistic one, which is cheap to train a thousand times.
"""

import argparse
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fleets import fleet_rows, settled_rows
from report import report
from sklearn.metrics import average_precision_score  # noqa: TID253 (a script of its own)

from certforecast.features import FEATURES
from certforecast.models import OutcomeClassifier
from certforecast.models.classifier import LEAN
from certforecast.models.interventions import estimated_weights
from certforecast.models.training import fit_rows
from certforecast.models.weighing import landmark_weights
from certforecast.planning.holdout import drawn
from certforecast.policy import RenewalPolicy

SEED = 21
NAIVE, DROPPED, OURS, HIDDEN = "naive", "dropped", "ours", "nothing hidden"
UNWEIGHTED, ESTIMATED = "hold-out, no weights", "no hold-out, estimated weights"
WAYS = (NAIVE, DROPPED, OURS, UNWEIGHTED, ESTIMATED, HIDDEN)
NATURAL_QUARTERS = 4
THRESHOLD = 0.1
MENDED = 0.9
INPUTS = [name for name in FEATURES if name in LEAN or name == "days_to_slip"]
POLICY = RenewalPolicy()
METRICS = ["auprc", "log_loss", "calibration_error", "risk_ratio", "failures"]


@dataclass
class Record:
    """What a policy has recorded so far, quarter by quarter."""

    rows: list[pd.DataFrame] = field(default_factory=list)
    model: Any = None


def main() -> None:
    """Play, print the figures, and draw them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small fleets, few seeds and quarters")
    parser.add_argument("--cache", type=Path, help="folder to keep the fleets in")
    parser.add_argument("--fleets", type=int, default=16, help="fleets to draw from; a quarter of them judge")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--quarters", type=int, default=24)
    parser.add_argument("--renewals", type=int, default=800, help="that come up in a quarter")
    parser.add_argument("--share", type=float, default=0.1, help="that is held out")
    parser.add_argument("--method", default="logistic", choices=["logistic", "boosted"])
    parser.add_argument("--picture", type=Path, help="file to draw the curves to")
    given = parser.parse_args()
    if given.quick:
        given.fleets, given.seeds, given.quarters, given.renewals = 3, 2, 8, 400
    with tempfile.TemporaryDirectory() as folder:
        size = 60 if given.quick and not given.cache else 360
        frames = fleet_rows(SEED, given.fleets, size, given.cache or Path(folder))
    parts = [settled_rows(frame).assign(fleet=number) for number, frame in enumerate(frames)]
    judges = max(1, given.fleets // 4)
    rows = pd.concat(parts, ignore_index=True)
    judged = rows["fleet"] < judges
    drawn_from, asked = rows[~judged].reset_index(drop=True), rows[judged].reset_index(drop=True)
    results = pd.concat(play(seed, drawn_from, asked, given) for seed in range(given.seeds))
    figures = figures_of(results, given.quarters)
    if given.picture:
        draw(results, given.picture)
    report(
        "feedback",
        figures,
        ["certforecast", "scikit-learn", "numpy", "pandas"],
        {name: value for name, value in vars(given).items() if name not in ("cache", "picture")},
    )


def play(seed: int, rows: pd.DataFrame, asked: pd.DataFrame, given: argparse.Namespace) -> pd.DataFrame:
    """Play one fleet under each way to learn; give the scores after each quarter."""
    rng = np.random.default_rng(seed)
    by_renewal = list(rows.groupby("fingerprint").indices.values())
    records = {name: Record() for name in WAYS}
    scores = []
    for quarter in range(given.quarters):
        # All meet the same renewals, so that only what they learned tells them apart.
        chosen = rng.choice(len(by_renewal), given.renewals)
        batch = rows.iloc[np.concatenate([by_renewal[one] for one in chosen])].copy()
        lengths = [len(by_renewal[one]) for one in chosen]
        names = [f"{seed}-{quarter}-{number}" for number in range(given.renewals)]
        batch["fingerprint"] = np.repeat(names, lengths)
        luck = np.repeat(rng.random(given.renewals), lengths)
        for name, record in records.items():
            share = given.share if name in (OURS, UNWEIGHTED) else 0.0
            acting = quarter >= NATURAL_QUARTERS and name != HIDDEN
            seen, failures = lived(batch, luck, record.model if acting else None, share, seed)
            if name == NAIVE:
                seen = seen.assign(intervention=False)
            elif name == UNWEIGHTED:
                seen = seen.assign(holdout_share=np.nan)
            record.rows.append(seen)
            record.model = learned(name, pd.concat(record.rows, ignore_index=True), given.method)
            found = judged_on(record.model, asked)
            scores.append({"seed": seed, "quarter": quarter, "model": name, "failures": failures, **found})
    return pd.DataFrame(scores)


def lived(
    batch: pd.DataFrame, luck: np.ndarray[Any, Any], model: Any, share: float, seed: int
) -> tuple[pd.DataFrame, float]:
    """Let a quarter's renewals live under a policy; give what is recorded, and the share that failed."""
    flagged = pd.Series(False, index=batch.index)
    if model is not None:
        flagged = model.proba_frame(batch[INPUTS])["p_failed"] >= THRESHOLD
    batch = batch.reset_index(drop=True)
    moment = batch["as_of"].where(flagged.to_numpy()).groupby(batch["fingerprint"]).transform("min")
    lots = batch["fingerprint"].map({one: drawn(one, seed) for one in batch["fingerprint"].unique()})
    spared = moment.notna() & (lots < share)
    acted = moment.notna() & ~spared
    mended = acted & (luck < MENDED)
    batch["outcome"] = batch["outcome"].mask(mended, "on_time")
    batch["intervention"] = acted
    batch["intervened_at"] = moment.where(acted)
    batch["held_out_at"] = moment.where(spared)
    batch["holdout_share"] = np.where(spared, share, np.nan)
    once = ~batch["fingerprint"].duplicated()
    failures = float((batch.loc[once, "outcome"] == "failed").mean())
    # What was mended is renewed: there are no later rows of it.
    return batch[~(mended & (batch["as_of"] > moment))], failures


def learned(name: str, rows: pd.DataFrame, method: Any) -> Any:
    """Train as each way to learn does; what was acted upon is left out unless it is passed off as natural."""
    model, kept = OutcomeClassifier(method), rows[~rows["intervention"]]
    if name != ESTIMATED:
        return fit_rows(model, kept[[*INPUTS, *_BESIDES]], POLICY)
    weights = landmark_weights(kept) * estimated_weights(rows, INPUTS)[kept.index]
    return model.fit(kept[INPUTS], kept["outcome"].to_numpy(dtype=object).astype(str), weights.to_numpy())


_BESIDES = [
    *("as_of", "fingerprint", "not_after", "resolved_at", "outcome", "intervention"),
    *("held_out_at", "holdout_share"),
]


def judged_on(model: Any, asked: pd.DataFrame) -> dict[str, float]:
    """Score forecasts of failure against what comes without us."""
    p = model.proba_frame(asked[INPUTS])["p_failed"].to_numpy()
    failed = (asked["outcome"] == "failed").to_numpy()
    clipped = np.clip(p, 1e-6, 1 - 1e-6)
    tenths = np.array_split(np.argsort(p), 10)
    worst = tenths[-1]
    off = sum(len(part) * abs(p[part].mean() - failed[part].mean()) for part in tenths) / len(p)
    return {
        "auprc": average_precision_score(failed, p),
        "log_loss": float(-np.log(np.where(failed, clipped, 1 - clipped)).mean()),
        "calibration_error": float(off),
        "risk_ratio": float(p[worst].mean() / failed[worst].mean()),
    }


def figures_of(results: pd.DataFrame, quarters: int) -> dict[str, float]:
    """Give the figures of the year before anybody acted and of the last one, with intervals over seeds.

    Those of one way less another's (``ours_less_dropped_...``) are paired by seed. The judges are the same
    for all seeds, so none of these intervals says how much other fleets would differ.
    """
    figures = {}
    before = results[results["quarter"] == NATURAL_QUARTERS - 1]
    after = results[results["quarter"] >= max(quarters - 4, NATURAL_QUARTERS)]
    for name in results["model"].unique():
        key = name.replace(" ", "_").replace(",", "").replace("-", "_")
        by_seed = after[after["model"] == name].groupby("seed")[METRICS].mean()
        start = before[before["model"] == name][METRICS].mean()
        for metric in METRICS:
            low, high = by_seed[metric].quantile([0.05, 0.95])
            figures[f"{key}_{metric}_before"] = round(float(start[metric]), 4)
            figures[f"{key}_{metric}"] = round(float(by_seed[metric].mean()), 4)
            figures[f"{key}_{metric}_low"] = round(float(low), 4)
            figures[f"{key}_{metric}_high"] = round(float(high), 4)
    years = after.groupby(["model", "seed"])[METRICS].mean()
    for other in (DROPPED, NAIVE):
        paired = years.loc[OURS] - years.loc[other]
        for metric in METRICS:
            low, high = paired[metric].quantile([0.05, 0.95])
            key = f"{OURS}_less_{other}_{metric}"
            figures[key] = round(float(paired[metric].mean()), 4)
            figures[f"{key}_low"], figures[f"{key}_high"] = round(float(low), 4), round(float(high), 4)
    return figures


def draw(results: pd.DataFrame, path: Path) -> None:
    """Draw the curves, with the range of nine in ten seeds."""
    import matplotlib.pyplot as plt

    colours = {NAIVE: "#D55E00", DROPPED: "#E69F00", OURS: "#0072B2", HIDDEN: "#999999"}
    shown = {
        "auprc": "how well failures are ranked\n(AUPRC, higher is better)",
        "log_loss": "how far forecasts of failure are off\n(log loss, lower is better)",
        "failures": "renewals that fail all the same\n(mean of a year)",
    }
    figure, axes = plt.subplots(1, 3, figsize=(12.4, 3.9))
    years = results.assign(year=(results["quarter"] + 1) / 4)
    for metric, place in zip(shown, axes, strict=True):
        for name, colour in colours.items():
            curve = years[years["model"] == name].groupby("year")[metric]
            if metric == "failures":  # of few renewals a quarter: a year's mean is steadier
                table = years[years["model"] == name].pivot(index="year", columns="seed", values=metric)
                table = table.rolling(4, min_periods=1).mean()
                middle, low, high = (
                    table.mean(axis=1),
                    table.quantile(0.05, axis=1),
                    table.quantile(0.95, axis=1),
                )
            else:
                middle, low, high = curve.mean(), curve.quantile(0.05), curve.quantile(0.95)
            place.plot(middle.index, middle, color=colour, label=name, linewidth=2)
            place.fill_between(middle.index, low, high, color=colour, alpha=0.15, linewidth=0)
        place.axvline(NATURAL_QUARTERS / 4, color="black", linewidth=0.8, linestyle=":")
        place.set_title(shown[metric], fontsize=10, loc="left")
        place.set_xlabel("years")
        place.spines[["top", "right"]].set_visible(False)
    axes[2].yaxis.set_major_formatter(plt.matplotlib.ticker.PercentFormatter(1.0, decimals=0))
    axes[0].annotate(
        "the first actions",
        (NATURAL_QUARTERS / 4, 0.02),
        xycoords=("data", "axes fraction"),
        xytext=(4, 0),
        textcoords="offset points",
        fontsize=9,
    )
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=4, loc="lower center", frameon=False, bbox_to_anchor=(0.5, -0.06))
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, bbox_inches="tight", facecolor="white")
    plt.close(figure)


if __name__ == "__main__":
    main()
