"""Plots show the figures of the backtest."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from certforecast.errors import InputError
from certforecast.evaluation import (
    CaughtDisplay,
    PrecisionRecallDisplay,
    ReliabilityDisplay,
    backtest,
    default_cutoffs,
)
from tests.evaluation.conftest import Constant

mpl.use("Agg")


def axes():
    return Figure(layout="constrained").subplots()


def legend(display) -> list[str]:
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


@pytest.mark.parametrize("kind", [PrecisionRecallDisplay, ReliabilityDisplay, CaughtDisplay])
@pytest.mark.parametrize("outcome", ["failed", "on_time"])
def test_each_draws_on_the_axes_given(result, kind, outcome):
    ax = axes()
    display = kind.from_backtest(result, outcome)
    assert not hasattr(display, "ax_")
    assert display.plot(ax) is display
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert outcome.replace("_", "-").capitalize() in ax.get_title()
    display.figure_.canvas.draw()


def test_precision_recall_shows_areas_and_base_rate(result):
    display = PrecisionRecallDisplay.from_backtest(result).plot(axes())
    rows = result.rows_of("danger")
    assert display.base_rate == (rows["outcome"] == "failed").mean()
    assert legend(display) == [f"{model}  {result.auprc(model):.3f}" for model in ("danger", "constant")]
    precision, recall = display.curves["danger"]
    assert -np.diff(recall) @ precision[:-1] == pytest.approx(result.auprc("danger"))


def test_reliability_bins_hold_every_row(result):
    display = ReliabilityDisplay.from_backtest(result, bins=8).plot()
    assert list(display.bins) == ["danger"]  # the best
    table, rows = display.bins["danger"], result.rows_of("danger")
    assert table["rows"].sum() == len(rows)
    assert table["forecast"].is_monotonic_increasing
    assert (table["rows"] * table["observed"]).sum() == pytest.approx((rows["outcome"] == "failed").sum())
    assert (table["rows"] * table["forecast"]).sum() == pytest.approx(rows["p_failed"].sum())
    assert ((table["low"] <= table["observed"]) & (table["observed"] <= table["high"])).all()
    assert table[["low", "high"]].stack().between(-1e-9, 1 + 1e-9).all()
    assert display.figure_.axes == [display.ax_, display.histogram_ax_]
    pyplot.close(display.figure_)


def test_caught_agrees_with_the_summary_and_grows_with_capacity(result):
    display = CaughtDisplay.from_backtest(result, models=["danger"]).plot(axes())
    share = display.caught["danger"]
    assert share[0] == 0
    assert (np.diff(share) >= 0).all()
    expected = result.summary().set_index("model").loc["danger", "caught"]
    assert share[list(display.capacity).index(result.k)] == pytest.approx(expected)
    assert legend(display) == [f"danger  {expected:.0%}"]


def test_a_model_keeps_its_colour_from_plot_to_plot(result):
    colours = [
        {
            text.get_text().split("  ")[0]: line.get_color()
            for text, line in zip(box.get_texts(), box.get_lines(), strict=True)
        }
        for kind in (PrecisionRecallDisplay, CaughtDisplay)
        for box in [kind.from_backtest(result).plot(axes()).ax_.get_legend()]
    ]
    assert colours[0] == colours[1]
    assert len(set(colours[0].values())) == 2


def test_what_cannot_be_plotted_is_said(frame, result):
    with pytest.raises(InputError, match="'oracle' was not part"):
        CaughtDisplay.from_backtest(result, models=["oracle"])
    quiet = frame[frame["outcome"] != "retired"].reset_index(drop=True)
    without = backtest(quiet, {"constant": Constant}, default_cutoffs(quiet, 1))
    for kind in (PrecisionRecallDisplay, ReliabilityDisplay, CaughtDisplay):
        with pytest.raises(InputError, match="no renewal of the backtest came out as 'retired'"):
            kind.from_backtest(without, "retired")
