"""How good forecasts are from the first day on: skill against the number of own renewals known.

    python benchmarks/first_day.py [--quick] [--cache FOLDER] [--picture FILE]

A simulated fleet is watched from its first day. Whenever so many of its renewals are settled, each model is
trained on them and forecasts what is open in the following 18 weeks:

- shipped prior: the model that comes with certforecast, as it is;
- certforecast: the default pool, which begins with that and learns from the fleet;
- without the prior: the pool of what the fleet itself teaches;
- the rules, of which the best on average is shown.

None of the fleets made the shipped model, but all come from the same simulator. The skill in log loss is
beside the share that came about, known in hindsight: the best constant forecast there can be. Fleets of 30
services are looked at in their first six weeks, with nothing known.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fleets import fleet_rows, fleet_start, settled_rows
from report import report
from sklearn.metrics import average_precision_score  # noqa: TID253 (a script of its own)

from certforecast.features import FEATURES
from certforecast.models import RULES, OutcomePool
from certforecast.models.prior import shipped_prior
from certforecast.models.training import fit_rows, settling, trainable
from certforecast.policy import RenewalPolicy

PRIOR, OURS, LOCAL, RULE = "shipped prior", "certforecast", "without the prior", "best rule"
SEEDS = (21, 22, 23, 24, 25)
COUNTS = (0, 10, 30, 100, 300, 1000, 2000)
WINDOW = pd.Timedelta(days=126)
FIRST = pd.Timedelta(days=42)
OUTCOMES = {"failed": ["failed"], "late": ["slipped", "failed"]}
POLICY = RenewalPolicy()
INPUTS = list(FEATURES)


def main() -> None:
    """Measure, print the figures, and draw them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few, small fleets")
    parser.add_argument("--cache", type=Path, help="folder to keep the fleets in")
    parser.add_argument("--fleets", type=int, default=2, help="of each of the five characters")
    parser.add_argument("--small-fleets", type=int, default=4, help="of 30 services, of each character")
    parser.add_argument("--picture", type=Path, help="file to draw the curves to")
    given = parser.parse_args()
    seeds, size, counts = SEEDS, 360, COUNTS
    if given.quick:
        seeds, size, counts, given.fleets, given.small_fleets = (21,), 60, (0, 30, 100), 1, 1
    with tempfile.TemporaryDirectory() as folder:
        cache = given.cache or Path(folder)
        frames = [
            frame for seed in seeds for frame in fleet_rows(seed, given.fleets, size, cache / str(size))
        ]
        small = [frame for seed in seeds for frame in fleet_rows(seed, given.small_fleets, 30, cache / "30")]
    scores = pd.DataFrame(
        score for number, frame in enumerate(frames) for score in curve(number, frame, counts)
    )
    figures = figures_of(scores) | first_weeks(small)
    if given.picture:
        draw(scores, given.picture)
    report(
        "first_day",
        figures,
        ["certforecast", "scikit-learn", "numpy", "pandas"],
        {"seeds": seeds, "fleets": given.fleets, "small_fleets": given.small_fleets, "lineages": size},
    )


def curve(number: int, frame: pd.DataFrame, counts: tuple[int, ...] = COUNTS) -> Iterator[dict[str, Any]]:
    """Score every model on one fleet, at each number of own renewals known."""
    end = frame["resolved_at"].max()
    can_score = trainable(frame, end, POLICY)
    settled = settling(frame, POLICY)[can_score].drop_duplicates("fingerprint")["settled"].sort_values()
    for count in counts:
        if count > len(settled):
            return
        cutoff = max(fleet_start(), settled.iloc[count - 1]) if count else fleet_start()
        asked = frame[can_score & (frame["as_of"] >= cutoff) & (frame["as_of"] < cutoff + WINDOW)]
        if cutoff + WINDOW > end or asked.empty:
            return
        # Logs told of a few renewals before the fleet was watched; the first day is taken to know of none.
        known = frame[trainable(frame, cutoff, POLICY)] if count else frame[:0]
        for name, table in forecasts(known, asked[INPUTS]).items():
            for outcome, parts in OUTCOMES.items():
                came = asked["outcome"].isin(parts).to_numpy()
                if 0 < came.sum() < len(came):
                    p = table[[f"p_{part}" for part in parts]].sum(axis=1).to_numpy()
                    about = {"fleet": number, "count": count, "model": name, "outcome": outcome}
                    yield about | scored(came, p)


def forecasts(known: pd.DataFrame, X: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Give each model's probabilities; those that cannot be trained on so little are left out."""
    prior = shipped_prior()
    found = {
        PRIOR: prior.proba_frame(X[list(prior.feature_names_in_)]),
        OURS: fit_rows(OutcomePool(), known, POLICY).proba_frame(X),
    }
    if known["outcome"].nunique() > 1:
        found[LOCAL] = fit_rows(OutcomePool(prior=None), known, POLICY).proba_frame(X)
        found |= {name: fit_rows(rule(), known, POLICY).proba_frame(X) for name, rule in RULES.items()}
    else:
        for name in ("fewest days left", "past due"):  # they rank without having learned anything
            rank = RULES[name]().risk(X)
            found[name] = pd.DataFrame({"p_failed": rank, "p_slipped": 0.0}, index=X.index)
    return found


def scored(came: np.ndarray[Any, Any], p: np.ndarray[Any, Any]) -> dict[str, float]:
    """Give AUPRC and the skill in log loss; what is no probability has no log loss."""
    scores = {"auprc": float(average_precision_score(came, p)), "skill": np.nan}
    if p.min() >= 0 and p.max() <= 1:
        clipped, share = np.clip(p, 1e-6, 1 - 1e-6), came.mean()
        loss = -np.log(np.where(came, clipped, 1 - clipped)).mean()
        best = -(share * np.log(share) + (1 - share) * np.log(1 - share))
        scores["skill"] = float(1.0 - loss / best)
    return scores


def first_weeks(frames: list[pd.DataFrame]) -> dict[str, float]:
    """Look at the first forecasts of small fleets of which nothing is known."""
    model = fit_rows(OutcomePool(), frames[0][:0], POLICY)
    parts = []
    for number, frame in enumerate(frames):
        rows, start = settled_rows(frame), fleet_start()
        rows = rows[(rows["as_of"] >= start) & (rows["as_of"] < start + FIRST)]
        table = model.proba_frame(rows[INPUTS]).assign(outcome=rows["outcome"], fleet=number)
        parts.append(table.assign(late=table["p_slipped"] + table["p_failed"]))
    table = pd.concat(parts, ignore_index=True)
    figures: dict[str, float] = {"thirty_services_rows": len(table)}
    for outcome, names in OUTCOMES.items():
        came, p = table["outcome"].isin(names), table["late" if outcome == "late" else "p_failed"]
        found = scored(came.to_numpy(), p.to_numpy())
        by_fleet = pd.DataFrame({"fleet": table["fleet"], "came": came, "p": p}).groupby("fleet").mean()
        figures |= {
            f"thirty_services_{outcome}_came": round(float(came.mean()), 4),
            f"thirty_services_{outcome}_forecast": round(float(p.mean()), 4),
            f"thirty_services_{outcome}_forecast_least": round(float(p.min()), 4),
            f"thirty_services_{outcome}_forecast_most": round(float(p.max()), 4),
            f"thirty_services_{outcome}_fleets_off": round(
                float((by_fleet.p - by_fleet.came).abs().mean()), 4
            ),
            f"thirty_services_{outcome}_auprc": round(found["auprc"], 4),
            f"thirty_services_{outcome}_skill": round(found["skill"], 4),
        }
    return figures


def banded(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Give means over fleets with 90 % bootstrap intervals, by outcome, model and count; the best rule."""
    rows = []
    rng = np.random.default_rng(0)
    for (outcome, model, count), part in scores.groupby(["outcome", "model", "count"]):
        values = part[metric].dropna().to_numpy()
        if len(values):
            means = rng.choice(values, (1000, len(values))).mean(axis=1)
            low, high = np.quantile(means, [0.05, 0.95])
            rows.append((outcome, model, count, values.mean(), low, high))
    table = pd.DataFrame(rows, columns=["outcome", "model", "count", "mean", "low", "high"])
    rules = table[table["model"].isin(RULES)]
    best = rules.loc[rules.groupby(["outcome", "count"])["mean"].idxmax()].assign(model=RULE)
    return pd.concat([table[~table["model"].isin(RULES)], best], ignore_index=True)


def figures_of(scores: pd.DataFrame) -> dict[str, float]:
    """Give every point of the curves."""
    figures = {}
    for metric in ("auprc", "skill"):
        for row in banded(scores, metric).itertuples():
            key = f"{row.outcome}_{metric}_{row.model.replace(' ', '_')}_{row.count}"
            figures[key] = round(float(row.mean), 4)
            figures[f"{key}_low"], figures[f"{key}_high"] = (
                round(float(row.low), 4),
                round(float(row.high), 4),
            )
    return figures


def draw(scores: pd.DataFrame, path: Path) -> None:
    """Draw the curves, with 90 % intervals over fleets."""
    import matplotlib.pyplot as plt

    colours = {OURS: "#0072B2", PRIOR: "#56B4E9", LOCAL: "#E69F00", RULE: "#999999"}
    places = {
        ("auprc", "failed"): "failed: AUPRC",
        ("auprc", "late"): "late: AUPRC",
        ("skill", "failed"): "failed: skill in log loss",
        ("skill", "late"): "late: skill in log loss",
    }
    counts = sorted(scores["count"].unique())
    figure, axes = plt.subplots(1, 4, figsize=(14.5, 3.9))
    for (metric, outcome), place in zip(places, axes, strict=True):
        table = banded(scores[scores["outcome"] == outcome], metric)
        for name, colour in colours.items():
            line = table[table["model"] == name].sort_values("count")
            at = [counts.index(count) for count in line["count"]]
            place.plot(at, line["mean"], color=colour, label=name, linewidth=2, marker="o", markersize=4)
            place.fill_between(at, line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
        place.set_xticks(range(len(counts)), [f"{count:,}" for count in counts], fontsize=8)
        place.set_title(places[metric, outcome], loc="left", fontsize=10)
        place.set_xlabel("own renewals known")
        place.spines[["top", "right"]].set_visible(False)
        if metric == "skill":
            place.axhline(0.0, color="black", linewidth=0.8)
            place.set_ylim(bottom=max(-0.4, place.get_ylim()[0]))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=4, loc="lower center", frameon=False, bbox_to_anchor=(0.5, -0.07))
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, bbox_inches="tight", facecolor="white")
    plt.close(figure)


if __name__ == "__main__":
    main()
