"""Makes the pictures of README, docs/models.md, docs/evaluation.md and docs/explanations.md, from the sample.

python docs/images/make.py
"""

import tempfile
import warnings
from datetime import timedelta
from pathlib import Path

import matplotlib.pyplot as plt  # noqa: TID253 (a script of its own)
import pandas as pd

from certforecast import History, OutcomePool, Settings, backtest, forecast, train, training_frame
from certforecast.evaluation import (
    ContributionsDisplay,
    GroupCalibrationDisplay,
    ImportanceDisplay,
    PartialDependenceDisplay,
    PrecisionRecallDisplay,
    ReliabilityDisplay,
    default_cutoffs,
)
from certforecast.history.sources.tables import TablesSource
from certforecast.models import RULES, explain, landmarks
from certforecast.simulation.sample import SAMPLE_END, sample_folder

HERE = Path(__file__).parent
SHOWN = 10
BEFORE, SOON = timedelta(days=110), timedelta(days=50)
#: Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = {"on_time": "#0072B2", "slipped": "#E69F00", "failed": "#D55E00", "retired": "#999999"}
VALID, LATE, DARK = "#CFD8DC", "#F5C6A5", "#37474F"


def main() -> None:
    """Read the sample once, and make every picture."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home))
        with History(settings.store_path) as history:
            history.ingest(TablesSource(sample_folder()))
            moments = landmarks(history, SAMPLE_END, settings.model.landmark_every_days)
            rows = training_frame(history, moments, SAMPLE_END, settings.policy)
            model = train(history, SAMPLE_END, settings, frame=rows).model
            forecasts = forecast(history, model, SAMPLE_END)
    soon = forecasts[forecasts["not_after"] < SAMPLE_END + SOON]
    draw_forecast(soon.nlargest(SHOWN, "p_failed")[::-1].reset_index(drop=True))
    draw_backtest(rows)
    draw_explanations(model, forecasts)


def draw_forecast(frame: pd.DataFrame) -> None:
    """Draw lifetimes on the left, probabilities on the right."""
    figure, (times, shares) = plt.subplots(
        1, 2, figsize=(10.4, 4.3), sharey=True, gridspec_kw={"width_ratios": [2.1, 1], "wspace": 0.04}
    )
    start = SAMPLE_END - BEFORE
    for place, row in frame.iterrows():
        begin = max(row["not_before"], start)
        slip = SAMPLE_END + timedelta(days=row["days_to_slip"])
        times.barh(place, row["not_after"] - begin, left=begin, height=0.5, color=VALID)
        times.barh(place, row["not_after"] - slip, left=slip, height=0.5, color=LATE)
        # What was due before the picture begins points out of it.
        inside = row["due"] > start
        due = row["due"] if inside else start + timedelta(days=2)
        times.plot(due, place, marker="D" if inside else "<", color=DARK, markersize=5, linestyle="none")
        left = 0.0
        for name, colour in COLOURS.items():
            shares.barh(place, row[f"p_{name}"], left=left, height=0.5, color=colour)
            left += row[f"p_{name}"]
        shares.text(
            1.02, place, f"{row['p_failed']:.0%}", va="center", color=COLOURS["failed"], weight="bold"
        )
    times.axvline(SAMPLE_END, color="black", linewidth=1.2)
    times.text(SAMPLE_END, len(frame) - 0.25, "today", va="bottom", ha="center")
    times.set(xlim=(start, SAMPLE_END + SOON), ylim=(-0.6, len(frame) - 0.3), yticks=range(len(frame)))
    times.set_yticklabels(frame["name"])
    times.xaxis.set_major_locator(plt.matplotlib.dates.MonthLocator())
    times.xaxis.set_major_formatter(plt.matplotlib.dates.DateFormatter("%b %Y"))
    shares.set(xlim=(0, 1), xticks=[])
    for axes in (times, shares):
        axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
        axes.tick_params(left=False, bottom=False)
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=VALID, label="valid"),
        plt.Rectangle((0, 0), 1, 1, color=LATE, label="valid, but past the slip point"),
        plt.Line2D([], [], marker="D", color=DARK, linestyle="none", label="renewal due"),
        plt.Line2D([], [], marker="<", color=DARK, linestyle="none", label="due earlier"),
    ]
    below = {"loc": "upper center", "frameon": False, "fontsize": 9, "handlelength": 1}
    times.legend(handles=handles, ncols=4, bbox_to_anchor=(0.42, -0.09), columnspacing=1.2, **below)
    shown = [plt.Rectangle((0, 0), 1, 1, color=c, label=n.replace("_", " ")) for n, c in COLOURS.items()]
    shares.legend(handles=shown, ncols=4, bbox_to_anchor=(0.5, -0.09), columnspacing=0.9, **below)
    what = f"Expiring within {SOON.days} days: the {len(frame)} likeliest to fail"
    times.set_title(what, loc="left", pad=18, weight="bold")
    shares.set_title("forecast, and P(failed)", loc="left", pad=18, fontsize=10)
    save(figure, "forecast")


def draw_backtest(rows: pd.DataFrame) -> None:
    """Draw how the backtest of docs/models.md came out."""
    result = backtest(rows, {"certforecast": OutcomePool, **RULES}, default_cutoffs(rows))
    for outcome in ("failed", "late"):
        print(outcome, result.summary(outcome).to_string(), sep="\n")  # the tables of docs/models.md
    # More lines could not be told apart.
    shown = ["certforecast", "fewest days left", "owner's rate", "past due"]
    curves = PrecisionRecallDisplay.from_backtest(result, models=shown)
    save(curves.plot().figure_, "precision-recall")
    compared = ["certforecast", "fewest days left"]
    save(ReliabilityDisplay.from_backtest(result, models=compared).plot().figure_, "reliability")
    save(GroupCalibrationDisplay.from_backtest(result).plot().figure_, "calibration-by-group")


def draw_explanations(model: OutcomePool, forecasts: pd.DataFrame) -> None:
    """Draw what the model goes by, and why one forecast of it is as it is."""
    told = explain(model, forecasts)
    save(ImportanceDisplay.from_contributions(told).plot().figure_, "importance")
    likely = told.probability[forecasts["days_to_slip"] > 0].idxmax()
    row = forecasts.index.get_loc(likely)
    title = f"{forecasts['name'][likely]}, expires {forecasts['not_after'][likely]:%Y-%m-%d}"
    save(ContributionsDisplay.from_contributions(told, row, title=title).plot().figure_, "contributions")
    save(PartialDependenceDisplay.from_model(model, forecasts, "days_left").plot().figure_, "days-left")


def save(figure: plt.Figure, name: str) -> None:
    """Write a picture next to this script."""
    figure.savefig(HERE / f"{name}.png", dpi=130, bbox_inches="tight", facecolor="white")
    plt.close(figure)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
