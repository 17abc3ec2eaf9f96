"""Plots of a backtest, in the manner of scikit-learn's displays: data first, drawing on request."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from certforecast.displays import COLOURS, GREY, Display
from certforecast.errors import InputError
from certforecast.evaluation import metrics
from certforecast.evaluation.metrics import Floats
from certforecast.evaluation.result import BacktestResult, came, chance, weights_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CaughtDisplay", "PrecisionRecallDisplay", "ReliabilityDisplay"]

_Z_90 = 1.6448536269514722


class PrecisionRecallDisplay(Display):
    """Precision against recall, a line for each model, with the base rate.

    Parameters
    ----------
    curves : mapping of str to (precision, recall)
        Two arrays of equal length each, in the order of falling recall, as scikit-learn's
        ``precision_recall_curve`` gives them.
    areas : mapping of str to float
        AUPRC by model.
    base_rate : float
        Share of the rows with the outcome: the precision of no skill.
    outcome : str
        For the title.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Set by :meth:`plot`.
    """

    def __init__(
        self,
        curves: Mapping[str, tuple[Floats, Floats]],
        areas: Mapping[str, float],
        base_rate: float,
        outcome: str,
    ) -> None:
        self.curves, self.areas, self.base_rate, self.outcome = curves, areas, base_rate, outcome

    @classmethod
    def from_backtest(
        cls, result: BacktestResult, outcome: str = "failed", models: Sequence[str] | None = None
    ) -> Self:
        """Take the curves of some models (default all).

        Raises
        ------
        InputError
            If the outcome did not come about, or a model was not part of the backtest.
        """
        from sklearn.metrics import precision_recall_curve

        areas = {model: result.auprc(model, outcome) for model in models or result.models}
        curves = {}
        for model in areas:
            y, p = _pairs(result, model, outcome)
            weights = weights_of(result.rows_of(model))
            precision, recall, _ = precision_recall_curve(y, p, sample_weight=weights)
            curves[model] = precision, recall
        return cls(curves, areas, metrics.mean(y, weights), outcome)

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw, on new axes if none are given."""
        ax = self._begin(ax)
        ax.axhline(self.base_rate, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        ax.annotate(
            f"base rate {self.base_rate:.1%}",
            (1, self.base_rate),
            (0, -3),
            textcoords="offset points",
            ha="right",
            va="top",
            color=GREY,
            fontsize="small",
        )
        for number, (model, (precision, recall)) in enumerate(self.curves.items()):
            # The last point (precision 1, recall 0) is no forecast's.
            ax.step(
                recall[:-1],
                precision[:-1],
                where="post",
                color=COLOURS[number % len(COLOURS)],
                linewidth=1.6,
                label=f"{model}  {self.areas[model]:.3f}",
            )
        ax.set(
            xlim=(0, 1),
            ylim=(0, 1),
            xlabel="recall",
            ylabel="precision",
            title=_title(self.outcome, "precision and recall"),
        )
        _legend_outside(ax, "AUPRC")
        return self


class ReliabilityDisplay(Display):
    """Observed shares against forecasts, in bins of equal mass, over a histogram of the forecasts.

    Parameters
    ----------
    bins : mapping of str to DataFrame
        By model: ``forecast`` (mean), ``observed`` (share), ``low`` and ``high`` (90 % interval of the
        share), ``rows``; a row for each bin.
    forecasts : mapping of str to ndarray
        The forecasts themselves, for the histogram.
    outcome : str
        For the title.

    Attributes
    ----------
    ax_, histogram_ax_, figure_ : Axes, Axes, Figure
        Set by :meth:`plot`; `histogram_ax_` only if there is a histogram.
    """

    histogram_ax_: "Axes"

    def __init__(
        self, bins: Mapping[str, pd.DataFrame], forecasts: Mapping[str, Floats], outcome: str
    ) -> None:
        self.bins, self.forecasts, self.outcome = bins, forecasts, outcome

    @classmethod
    def from_backtest(
        cls,
        result: BacktestResult,
        outcome: str = "failed",
        models: Sequence[str] | None = None,
        bins: int = 10,
    ) -> Self:
        """Bin the forecasts of some models (default the one with the best AUPRC).

        The intervals are those of Wilson (1927) with the number of lineages in a bin for the number of
        trials, as the rows of one lineage go together; fewer where some rows stand for many (Kish 1965).

        Raises
        ------
        InputError
            If the outcome did not come about, or a model was not part of the backtest.
        """
        tables, forecasts = {}, {}
        for model in models or [str(result.summary(outcome)["model"].iloc[0])]:
            y, p = _pairs(result, model, outcome)
            scored = result.rows_of(model)
            w = weights_of(scored)
            rows = pd.DataFrame(
                {"y": w * y, "p": w * p, "w": w, "w2": w**2, "lineage": scored["lineage"].to_numpy()}
            ).groupby(metrics.calibration_bins(p, bins, w))
            sums, size = rows[["y", "p", "w", "w2"]].sum(), rows.size()
            table = pd.DataFrame(
                {"forecast": sums["p"] / sums["w"], "observed": sums["y"] / sums["w"], "rows": size}
            )
            trials = rows["lineage"].nunique() * sums["w"] ** 2 / (size * sums["w2"])
            low, high = _wilson(table["observed"].to_numpy(), trials.to_numpy(dtype=np.float64))
            tables[model] = table.assign(low=low, high=high).reset_index(drop=True)
            forecasts[model] = p
        return cls(tables, forecasts, outcome)

    def plot(self, ax: "Axes | None" = None, histogram_ax: "Axes | None" = None) -> Self:
        """Draw, on new axes if none are given; on given ones the histogram needs its own."""
        if ax is None:
            from matplotlib import pyplot

            figure = pyplot.figure(figsize=(6.4, 5.8), layout="constrained")
            ax, histogram_ax = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        ax = self._begin(ax)
        highest = max(float(table[["forecast", "high"]].max().max()) for table in self.bins.values())
        limit = min(1.0, 1.08 * highest)
        ax.plot([0, limit], [0, limit], color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        for number, (model, table) in enumerate(self.bins.items()):
            colour = COLOURS[number % len(COLOURS)]
            at = table["forecast"]
            ax.vlines(at, table["low"], table["high"], color=colour, linewidth=1.2, alpha=0.6)
            ax.plot(at, table["observed"], "o-", color=colour, linewidth=1.2, markersize=4.5, label=model)
        ax.set(
            xlim=(0, limit),
            ylim=(0, limit),
            ylabel="observed share, with 90 % interval",
            title=_title(self.outcome, "calibration"),
        )
        _legend_outside(ax, None)
        if histogram_ax is None:
            ax.set_xlabel("forecast probability")
        else:
            self._histogram(histogram_ax, limit)
        return self

    def _histogram(self, ax: "Axes", limit: float) -> None:
        self.histogram_ax_ = ax
        ax.spines[["top", "right"]].set_visible(False)
        edges = np.linspace(0, limit, 41)
        for number, p in enumerate(self.forecasts.values()):
            colour = COLOURS[number % len(COLOURS)]
            ax.stairs(np.histogram(p, edges)[0], edges, color=colour, linewidth=1.2)
        beyond = max(int(np.sum(p > limit)) for p in self.forecasts.values())
        if beyond:
            note = f"up to {beyond:,} rows lie further right"
            ax.set_title(note, loc="right", fontsize="x-small", color=GREY, pad=2)
        ax.set(xlim=(0, limit), yscale="log", xlabel="forecast probability", ylabel="rows")


class CaughtDisplay(Display):
    """Share of failures caught against capacity, a line for each model.

    Parameters
    ----------
    capacity : ndarray of int, shape (n,)
        Renewals that can be looked into at each moment.
    caught : mapping of str to ndarray, shape (n,)
        By model, ``caught`` as in :meth:`BacktestResult.summary`.
    k : int
        The capacity of the backtest, marked.
    outcome : str
        For the title.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Set by :meth:`plot`.
    """

    def __init__(self, capacity: metrics.Ints, caught: Mapping[str, Floats], k: int, outcome: str) -> None:
        self.capacity, self.caught, self.k, self.outcome = capacity, caught, k, outcome

    @classmethod
    def from_backtest(
        cls, result: BacktestResult, outcome: str = "failed", models: Sequence[str] | None = None
    ) -> Self:
        """Take the curves of some models (default all), up to three times the capacity of the backtest.

        Raises
        ------
        InputError
            If the outcome did not come about, or a model was not part of the backtest.
        """
        capacity = np.arange(3 * result.k + 1)
        caught = {}
        for model in models or result.models:
            y, _ = _pairs(result, model, outcome)
            failed = result.rows_of(model)[y]
            best = result.ranks_of(model, outcome)[y].groupby(failed["fingerprint"]).min()
            weights = pd.Series(weights_of(failed), failed["fingerprint"]).groupby(level=0).first()
            within = best.to_numpy() <= capacity[:, None]
            caught[model] = np.average(within, axis=1, weights=weights[best.index])
        return cls(capacity, caught, result.k, outcome)

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw, on new axes if none are given."""
        ax = self._begin(ax)
        ax.axvline(self.k, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        for number, (model, share) in enumerate(self.caught.items()):
            colour = COLOURS[number % len(COLOURS)]
            ax.plot(self.capacity, share, color=colour, linewidth=1.6, label=f"{model}  {share[self.k]:.0%}")
        ax.set(
            xlim=(0, self.capacity[-1]),
            ylim=(0, 1),
            xlabel="renewals looked into at each moment",
            ylabel="share caught at one moment at least",
            title=_title(self.outcome, "caught at a capacity"),
        )
        ax.yaxis.set_major_formatter("{x:.0%}")
        _legend_outside(ax, f"caught at {self.k}")
        return self


def _pairs(
    result: BacktestResult, model: str, outcome: str
) -> tuple["np.ndarray[tuple[int], np.dtype[np.bool_]]", Floats]:
    rows = result.rows_of(model)
    y = came(rows, outcome).to_numpy(dtype=bool)
    if not y.any():
        raise InputError(f"nothing to plot: no renewal of the backtest came out as {outcome!r}")
    return y, np.asarray(chance(rows, outcome), dtype=np.float64)


def _wilson(share: Floats, trials: Floats) -> tuple[Floats, Floats]:
    scale = 1 + _Z_90**2 / trials
    middle = (share + _Z_90**2 / (2 * trials)) / scale
    half = _Z_90 * np.sqrt(share * (1 - share) / trials + (_Z_90 / (2 * trials)) ** 2) / scale
    return middle - half, middle + half


def _title(outcome: str, what: str) -> str:
    return f"{outcome.replace('_', '-').capitalize()} renewals: {what}"


def _legend_outside(ax: "Axes", title: str | None) -> None:
    ax.legend(
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        frameon=False,
        alignment="left",
        fontsize="small",
    )
