"""A backtest as files, to be kept with its run: the tables and the plots."""

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from certforecast.errors import InputError
from certforecast.evaluation.result import BacktestResult

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["write_artifacts"]

#: The outcomes that call for action.
_SHOWN: Final = ("failed", "late")


def write_artifacts(result: BacktestResult, folder: Path, summary: "pd.DataFrame | None" = None) -> str:
    """Write the tables of a backtest, and its plots if matplotlib is there.

    For ``failed`` and for ``late``: ``summary_OUTCOME.csv`` and ``by_cutoff_OUTCOME.csv``, as
    :meth:`BacktestResult.summary` and :meth:`BacktestResult.by_cutoff` give them, and
    ``precision_recall_OUTCOME.png``, ``caught_OUTCOME.png``, and ``reliability_OUTCOME.png`` of the first
    model. ``backtest.json`` says what was scored, and holds the summaries, too.

    Parameters
    ----------
    result : BacktestResult
        Of any models.
    folder : Path
        Where to write; it exists.
    summary : DataFrame, optional
        That of ``failed``, if it is at hand.

    Returns
    -------
    str
        What became of the plots, for people: "drawn", or why they were not.
    """
    summaries = {}
    for outcome in _SHOWN:
        table = summary if summary is not None and outcome == "failed" else result.summary(outcome)
        table.to_csv(folder / f"summary_{outcome}.csv", index=False)
        result.by_cutoff(outcome).to_csv(folder / f"by_cutoff_{outcome}.csv", index=False)
        summaries[outcome] = json.loads(table.to_json(orient="records", double_precision=15))
    about = {"what": result.describe(), "k": result.k, "cutoffs": [str(cutoff) for cutoff in result.cutoffs]}
    (folder / "backtest.json").write_text(json.dumps({**about, "summary": summaries}, indent=2))
    if importlib.util.find_spec("matplotlib") is None:
        return "not drawn: matplotlib is missing (pip install 'certforecast[plots]')"
    missing = [outcome for outcome in _SHOWN if not _draw(result, outcome, folder)]
    return f"drawn, but for {', '.join(missing)}, which never came about" if missing else "drawn"


def _draw(result: BacktestResult, outcome: str, folder: Path) -> bool:
    """Draw the plots of one outcome; say whether there was anything to draw."""
    from matplotlib.figure import Figure

    from certforecast.evaluation.plots import CaughtDisplay, PrecisionRecallDisplay, ReliabilityDisplay

    # Without pyplot, which may ask for a screen and keeps figures.
    try:
        curves = PrecisionRecallDisplay.from_backtest(result, outcome)
    except InputError:
        return False
    lines: dict[str, PrecisionRecallDisplay | CaughtDisplay]
    lines = {"precision_recall": curves, "caught": CaughtDisplay.from_backtest(result, outcome)}
    for name, display in lines.items():
        figure = Figure(figsize=(8.6, 4.2), layout="constrained")
        display.plot(figure.subplots())
        figure.savefig(folder / f"{name}_{outcome}.png", dpi=120)
    figure = Figure(figsize=(7.6, 5.8), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    ReliabilityDisplay.from_backtest(result, outcome, result.models[:1]).plot(above, below)
    figure.savefig(folder / f"reliability_{outcome}.png", dpi=120)
    return True
