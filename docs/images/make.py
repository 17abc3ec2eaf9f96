"""Makes the picture on README's first screen, from the embedded sample.

python docs/images/make.py
"""

import tempfile
import warnings
from datetime import timedelta
from pathlib import Path

import matplotlib.pyplot as plt  # noqa: TID253 (a script of its own)
import pandas as pd

from certforecast import History, Settings, forecast, train
from certforecast.history.sources.tables import TablesSource
from certforecast.simulation.sample import SAMPLE_END, sample_folder

SHOWN = 10
BEFORE, AFTER = timedelta(days=110), timedelta(days=50)
#: Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = {"on_time": "#0072B2", "slipped": "#E69F00", "failed": "#D55E00", "retired": "#999999"}


def forecasts() -> pd.DataFrame:
    """Train on the sample and forecast its open renewals, likeliest failures last."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home))
        with History(settings.store_path) as history:
            history.ingest(TablesSource(sample_folder()))
            model = train(history, SAMPLE_END, settings).model
            frame = forecast(history, model, SAMPLE_END)
    soon = frame[frame["not_after"] < SAMPLE_END + AFTER]
    return soon.sort_values("p_failed").tail(SHOWN).reset_index(drop=True)


def draw(frame: pd.DataFrame) -> None:
    """Draw lifetimes on the left, probabilities on the right."""
    figure, (times, shares) = plt.subplots(
        1, 2, figsize=(10.4, 4.3), sharey=True, gridspec_kw={"width_ratios": [2.1, 1], "wspace": 0.04}
    )
    start = SAMPLE_END - BEFORE
    for place, row in frame.iterrows():
        begin = max(row["not_before"], start)
        slip = SAMPLE_END + timedelta(days=row["days_to_slip"])
        times.barh(place, row["not_after"] - begin, left=begin, height=0.5, color="#CFD8DC")
        times.barh(place, row["not_after"] - slip, left=slip, height=0.5, color="#F5C6A5")
        if row["due"] > start:
            times.plot(row["due"], place, marker="D", color="#37474F", markersize=5, linestyle="none")
        left = 0.0
        for name, colour in COLOURS.items():
            shares.barh(place, row[f"p_{name}"], left=left, height=0.5, color=colour)
            left += row[f"p_{name}"]
        shares.text(
            1.02, place, f"{row['p_failed']:.0%}", va="center", color=COLOURS["failed"], weight="bold"
        )
    times.axvline(SAMPLE_END, color="black", linewidth=1.2)
    times.text(SAMPLE_END, SHOWN - 0.25, " today", va="bottom", ha="center")
    times.set(xlim=(start, SAMPLE_END + AFTER), ylim=(-0.6, SHOWN - 0.3), yticks=range(len(frame)))
    times.set_yticklabels(frame["name"])
    times.xaxis.set_major_locator(plt.matplotlib.dates.MonthLocator())
    times.xaxis.set_major_formatter(plt.matplotlib.dates.DateFormatter("%b %Y"))
    shares.set(xlim=(0, 1), xticks=[])
    for axes in (times, shares):
        axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
        axes.tick_params(left=False, bottom=False)
    handles = [
        plt.Rectangle((0, 0), 1, 1, color="#CFD8DC", label="valid"),
        plt.Rectangle((0, 0), 1, 1, color="#F5C6A5", label="past the slip point"),
        plt.Line2D([], [], marker="D", color="#37474F", linestyle="none", label="renewal due"),
    ]
    below = {"loc": "upper center", "frameon": False, "fontsize": 9}
    times.legend(handles=handles, ncols=3, bbox_to_anchor=(0.5, -0.09), **below)
    shown = [plt.Rectangle((0, 0), 1, 1, color=c, label=n.replace("_", " ")) for n, c in COLOURS.items()]
    shares.legend(
        handles=shown, ncols=4, bbox_to_anchor=(0.5, -0.09), columnspacing=0.9, handlelength=1, **below
    )
    times.set_title("What is due, and what will become of it", loc="left", pad=18, weight="bold")
    shares.set_title("forecast, and P(failed)", loc="left", pad=18, fontsize=10)
    figure.savefig(Path(__file__).with_name("forecast.png"), dpi=130, bbox_inches="tight", facecolor="white")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    draw(forecasts())
