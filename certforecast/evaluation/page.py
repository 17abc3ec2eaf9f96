"""The comparison page: everything a backtest found, in one file that a browser opens."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from certforecast.atomic import write_file
from certforecast.errors import InputError
from certforecast.evaluation.report import backtest_report
from certforecast.evaluation.result import BacktestResult
from certforecast.evaluation.sections import in_short, sections
from certforecast.settings import CostSettings, EffectSettings
from certforecast.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["require_plots", "write_page"]

#: Lines of other models in a plot.
_DRAWN: Final = 5

_TEMPLATE: Final = Path(__file__).with_name("page.html")


class Picture(NamedTuple):
    """A picture as a data URI, and what it shows, for those who cannot see it."""

    source: str
    shows: str


def write_page(
    result: BacktestResult,
    path: Path | str,
    costs: CostSettings | None = None,
    effects: EffectSettings | None = None,
    *,
    ours: str | None = None,
    title: str = "Backtest",
    report: dict[str, Any] | None = None,
) -> None:
    """Write a page that compares the models of a backtest: one HTML file that needs nothing else.

    Parameters
    ----------
    result : BacktestResult
    path : path
        Where to. What is there is replaced.
    costs, effects, ours
        As for :func:`backtest_report`.
    title : str
        Of the page.
    report : dict, optional
        What :func:`backtest_report` gives, if it is at hand; else it is computed.

    Raises
    ------
    InputError
        If the packages of the extra ``plots`` are not installed.
    """
    require_plots()
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    costs, effects = costs or CostSettings(), effects or EffectSettings()
    report = backtest_report(result, costs, effects, ours=ours) if report is None else report
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = result.predictions["as_of"]
    told = {
        "title": title,
        "report": report,
        "short": in_short(report),
        "sections": sections(report),
        "pictures": dict(_pictures(result, report["ours"])),
        "costs": costs,
        "effects": effects,
        "first": f"{rows.min():%Y-%m-%d}",
        "last": f"{rows.max():%Y-%m-%d}",
        "version": __version__,
    }
    write_file(Path(path), environment.get_template(_TEMPLATE.name).render(told).encode())


def require_plots() -> None:
    """Raise `InputError` unless a page can be made: it is better to hear it before the models are fitted."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(
            f"a page needs {error.name}, which is not installed: pip install 'certforecast[plots]'"
        ) from error


def _pictures(result: BacktestResult, ours: str) -> Iterator[tuple[str, Picture]]:
    from matplotlib.figure import Figure

    from certforecast.evaluation.groups import GroupCalibrationDisplay
    from certforecast.evaluation.plots import PrecisionRecallDisplay, ReliabilityDisplay

    if not (result.rows_of(ours)["outcome"] == "failed").any():
        return  # nothing of this can be drawn
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    PrecisionRecallDisplay.from_backtest(result, models=_best(result, ours)).plot(figure.subplots())
    yield (
        "precision-recall",
        _picture(figure, "Precision against recall for failed renewals, by model"),
    )
    figure = Figure(figsize=(6.4, 5.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    ReliabilityDisplay.from_backtest(result, models=[ours]).plot(upper, lower)
    yield "reliability", _picture(figure, f"Observed shares of failures against the forecasts of {ours}")
    groups = GroupCalibrationDisplay.from_backtest(result, model=ours)
    figure = Figure(figsize=groups.size, layout="constrained")
    groups.plot(figure.subplots())
    yield (
        "groups",
        _picture(figure, f"Observed less forecast failures of {ours} by issuer, owner and lifetime"),
    )


def _best(result: BacktestResult, ours: str) -> list[str]:
    """Give our model and the best of the others: more lines than that cannot be told apart."""
    others = [model for model in result.summary("failed")["model"] if model != ours]
    return [ours, *others[:_DRAWN]]


def _picture(figure: "Figure", shows: str) -> Picture:
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=130, bbox_inches="tight", facecolor="white")
    return Picture("data:image/png;base64," + base64.b64encode(held.getvalue()).decode("ascii"), shows)
