"""Plots of the load ahead, and of before and after."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from certforecast.displays import COLOURS, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from certforecast.forecasting.load import LoadForecast
    from certforecast.forecasting.whatif import WhatIf

__all__ = ["draw_load", "draw_what_if"]

_BLUE, _RED, _GREEN = COLOURS[:3]
#: Weeks over which a line is the mean: single weeks jump, and nobody plans by them a year ahead.
_SMOOTHED_WEEKS: Final = 13

_PANELS: Final = (
    ("renewals", "Renewals a week", _BLUE, 1.0),
    ("hours", "People's hours a week", _GREEN, 1.0),
    ("failed", "Outages a year", _RED, 52.1775),
)


def draw_what_if(made: "WhatIf", *, marks: "dict[datetime, str] | None" = None) -> "Figure":
    """Draw renewals, people's hours and outages, before and after.

    Parameters
    ----------
    made : WhatIf
    marks : dict of datetime to str, optional
        Days to mark, and what to write there.

    Returns
    -------
    Figure
        Three panels: grey is before; the band holds nine of ten futures of 13-week means.
    """
    from matplotlib import pyplot

    from certforecast.forecasting.whatif import week_starts

    figure, axes = pyplot.subplots(1, 3, figsize=(12.4, 4.0), layout="constrained")
    weeks = week_starts(made.before)
    for ax, (measure, heading, colour, scale) in zip(axes, _PANELS, strict=True):
        old = _smooth(made.before.draws[measure].sum(axis=1)) * scale
        new = _smooth(made.after.draws[measure].sum(axis=1)) * scale
        low, high = np.quantile(new, [0.05, 0.95], axis=0)
        ax.fill_between(weeks, low, high, color=colour, alpha=0.2, linewidth=0)
        ax.plot(weeks, old.mean(axis=0), color=GREY, linestyle="--", linewidth=1.6)
        ax.plot(weeks, new.mean(axis=0), color=colour, linewidth=2.2)
        _begin(ax, heading, max(float(high.max()), float(old.mean(axis=0).max())))
        _ends(ax, weeks[-1], float(old.mean(axis=0)[-1]), float(new.mean(axis=0)[-1]), colour)
        for day, text in (marks or {}).items():
            if weeks[0] < day < weeks[-1]:
                ax.axvline(day, color="black", linewidth=0.7, linestyle=":")
                ax.text(day, ax.get_ylim()[1], f" {text}", va="top", ha="left", fontsize=8.5)
    figure.suptitle(made.scenario.title, fontsize=12.5, x=0.01, ha="left", fontweight="bold")
    return figure


def draw_load(made: "LoadForecast", level: float = 0.9) -> "Figure":
    """Draw the renewals of each week with their prediction interval, and expected slips and failures."""
    from matplotlib import pyplot

    figure, (top, below) = pyplot.subplots(
        2, 1, figsize=(8.4, 5.0), sharex=True, layout="constrained", gridspec_kw={"height_ratios": [2, 1]}
    )
    frame = made.frame(level)
    sums = frame.groupby("week")[["renewals", "slipped", "failed"]].sum()
    whole = made.draws["renewals"].sum(axis=1)
    low, high = np.quantile(whole, [(1 - level) / 2, (1 + level) / 2], axis=0)
    top.bar(sums.index, sums["renewals"], width=5.6, align="edge", color=_BLUE, alpha=0.75)
    middles = [day + (sums.index[1] - day) / 2 if len(sums) > 1 else day for day in sums.index[:1]]
    offset = middles[0] - sums.index[0]
    top.vlines(sums.index + offset, low, high, color="black", linewidth=1.1)
    below.bar(sums.index, sums["slipped"], width=5.6, align="edge", color=COLOURS[5], label="slips")
    below.bar(
        *(sums.index, sums["failed"]),
        width=5.6,
        align="edge",
        color=_RED,
        bottom=sums["slipped"],
        label="failures",
    )
    _begin(top, f"Renewals a week, with {level:.0%} intervals", float(high.max()))
    _begin(below, "Expected slips and failures a week", float((sums["slipped"] + sums["failed"]).max()))
    below.legend(frameon=False, ncols=2, loc="upper right", fontsize=9)
    return figure


def _smooth(draws: Any) -> Any:
    """Take means over the weeks before and after; draws of shape (n, n_weeks)."""
    width = min(_SMOOTHED_WEEKS, draws.shape[1])
    sums = np.cumsum(np.pad(draws, ((0, 0), (1, 0))), axis=1)
    at = np.arange(draws.shape[1])
    begin = np.maximum(at - width // 2, 0)
    end = np.minimum(at + width - width // 2, draws.shape[1])
    return (sums[:, end] - sums[:, begin]) / (end - begin)


def _begin(ax: "Axes", heading: str, top: float) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    ax.set_title(heading, loc="left", fontsize=11)
    ax.set_ylim(0, 1.15 * max(top, 1e-9))
    ax.spines[["top", "right"]].set_visible(False)
    locator = AutoDateLocator(maxticks=7)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _ends(ax: "Axes", at: datetime, old: float, new: float, colour: str) -> None:
    """Write at the right end what before and after have come to."""
    span = ax.get_ylim()[1]
    apart = abs(new - old) > 0.08 * span
    ratio = f"  ({new / old:.1f}x)" if old > 0 else ""
    ax.annotate(
        f"{new:,.0f}{ratio}",
        *((at, new), (0, 5)),
        textcoords="offset points",
        ha="right",
        color=colour,
        fontweight="bold",
        fontsize=11,
    )
    if apart:
        ax.annotate(
            *(f"{old:,.0f} as today", (at, old), (0, -13)),
            textcoords="offset points",
            ha="right",
            color=GREY,
            fontsize=9.5,
        )
