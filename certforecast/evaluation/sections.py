"""The sections of the comparison page: tables and words from the report of a backtest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Section", "Table", "in_short", "sections"]

Row = Mapping[str, Any]
Report = Mapping[str, Any]

_NONE: Final = "–"

_NAMES: Final = {"failed": "Failed", "late": "Late (slipped or failed)", "slipped": "Slipped"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table: what it says, its headings, and its cells as text; the first column names the row."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: a heading, how to read what follows, tables, and the names of its pictures."""

    title: str
    words: str
    tables: tuple[Table, ...] = ()
    pictures: tuple[str, ...] = ()


def in_short(report: Report) -> list[str]:
    """Say what a backtest came to, in sentences."""
    return [
        said
        for tell in (_ranking, _finding, _earning, _probabilities, _covering)
        if (said := tell(report)) is not None
    ]


def sections(report: Report) -> list[Section]:
    """Lay out the whole of a report."""
    parts = [
        Section(
            "Who ranks best",
            "AUPRC is the area under the precision-recall curve: how much of what is named as risky comes "
            "about, over all lengths of the list. Guessing reaches the share of rows with the outcome. "
            "Brier score and log loss judge the probabilities themselves; lower is better. In brackets "
            "stand 90 % intervals. The lead is that of {ours} over the row, on the same draws: beyond "
            "noise if its interval leaves out 0.",
            tuple(_skill(report, outcome) for outcome in report["differences"]),
            ("precision-recall",),
        ),
        Section(
            "What a person would have found",
            "At each moment somebody looks into the {k} likeliest renewals that were not looked into "
            "before. Found is what was looked into before it was too late: before the expiry, or before "
            "the slip point for late ones. Days of warning are the median over all that came about, 0 for "
            "those never looked into.",
            tuple(
                table
                for outcome in ("failed", "late")
                for table in (_capacity(report, outcome), _looks(report, outcome))
            ),
        ),
        Section(
            "What it is worth",
            "All rank by the loss they expect, by the costs in the settings. A look averts a set share of "
            "what the renewal came to cost; beside the sum stands its share of what looks at everything "
            "would avert. Net counts only looks that are worth their cost by the forecast itself, less "
            "what they cost.",
            (_money(report),),
        ),
        Section(
            "By horizon",
            "Of renewals whose certificate expires within so many days, or, for late ones, whose slip point "
            "comes within so many days and is not past: who knows which will come to it? "
            "The first line says how many there are, and the share of the rows with the outcome. Few "
            "renewals are still open on the last days, so figures for one day rest on little.",
            tuple(
                _horizons(report, outcome, measure, name)
                for outcome in ("failed", "late")
                for measure, name in (("auprc", "AUPRC"), ("log_loss", "log loss"))
            ),
        ),
        Section(
            "Are the probabilities right",
            "The calibration error is the mean distance of the observed share from the forecast, over 15 "
            "bins. It is above 0 for perfect forecasts, too: the floor is what they would show on the same "
            "rows, and 95 of 100 such forecasts stay below the second figure. Less bias is the error with "
            "that effect taken out by resampling lineages, with its interval.",
            tuple(_calibration(report, outcome) for outcome in report["differences"]),
            ("reliability", "groups"),
        ),
    ]
    if any(report["timing"].values()):
        parts.append(
            Section(
                "Do they know when",
                "The Brier score of whether the outcome has come about by a day, over the next 90 days and "
                "at some of them. Renewals still open count as censored, made up for by weights. An "
                "interval should hold nine of ten of the renewals that came before the expiry.",
                (
                    *(_timing(report, outcome) for outcome in report["timing"] if report["timing"][outcome]),
                    *((_coverage(report),) if report["coverage"] else ()),
                ),
            )
        )
    filled = {"ours": report["ours"], "k": report["k"]}
    return [Section(part.title, part.words.format(**filled), part.tables, part.pictures) for part in parts]


def _ranking(report: Report) -> str | None:
    scores = {row["model"]: row["auprc"] for row in report["summary"]["failed"]}
    ours = report["ours"]
    others = [row for row in report["differences"]["failed"] if row["auprc"] is not None]
    if not others:
        return None
    best = max(others, key=lambda row: scores[row["model"]])
    verdict = _verdict(best["auprc_low"], best["auprc_high"])
    return (
        f"Which renewals will fail: {ours} ranks {verdict} {best['model']}, the best of the others: AUPRC "
        f"{scores[ours]:.3f} and {scores[best['model']]:.3f}, a "
        f"difference of {_told(best, 'auprc', _signed)}."
    )


def _finding(report: Report) -> str | None:
    rows = {row["model"]: row for row in report["capacity"]["failed"]}
    ours = rows.pop(report["ours"])
    if not ours["came"]:
        return None
    said = (
        f"With {report['k']} looks at each moment, {report['ours']} finds {ours['found']} of {ours['came']} "
        f"failures in time, with {ours['false_alarms']:,} looks at renewals that did not fail; half of all "
        f"failures have {ours['warning_days']:.0f} days of warning or more"
    )
    if not rows:
        return f"{said}."
    best = max(rows.values(), key=lambda row: row["found"])
    return (
        f"{said}. {best['model'].capitalize()} finds {best['found']}, with {best['false_alarms']:,} other "
        f"looks and {best['warning_days']:.0f} days."
    )


def _earning(report: Report) -> str | None:
    rows = {row["model"]: row for row in report["money"]}
    ours = rows.pop(report["ours"])
    if not ours["loss"] or not rows:
        return None
    best = max(rows.values(), key=lambda row: row["averted"])
    verdict = _verdict(best["lead_low"], best["lead_high"])
    return (
        f"Of a loss of {ours['loss']:,.0f} those looks avert {ours['averted']:,.0f}, {verdict} "
        f"{best['model']} with {best['averted']:,.0f} (a difference of {_told(best, 'lead', _signed_money)})."
    )


def _probabilities(report: Report) -> str | None:
    row = next(row for row in report["calibration"]["failed"] if row["model"] == report["ours"])
    if not row["observed"]:
        return None
    noise = "more than noise" if row["beyond_noise"] else "which noise alone explains"
    return (
        f"Its probabilities of failure average {row['forecast']:.1%} where {row['observed']:.1%} came "
        f"about. The calibration error is {row['error']:.3f}, {noise}: forecasts that are right would show "
        f"{row['floor']:.3f} on these renewals, and up to {row['floor_high']:.3f} by chance."
    )


def _covering(report: Report) -> str | None:
    if not report["coverage"]:
        return None
    row = report["coverage"][0]
    return (
        f"Of {row['renewals']:,} renewals that came before the expiry, {_range(row, 'coverage', _percent)} "
        f"came within the interval forecast for nine of ten; half of the intervals are {row['width']:.0f} "
        "days wide or less."
    )


def _verdict(low: float | None, high: float | None) -> str:
    if low is None or high is None or low <= 0 <= high:
        return "about level, within noise, with"
    return "better than" if low > 0 else "worse than"


def _skill(report: Report, outcome: str) -> Table:
    leads = {row["model"]: row for row in report["differences"][outcome]}
    rows = [
        (
            row["model"],
            *(_range(row, name, _three) for name in ("auprc", "auroc", "brier", "log_loss")),
            _range(leads.get(row["model"], {}), "auprc", _signed),
            _range(leads.get(row["model"], {}), "log_loss", _signed),
        )
        for row in report["summary"][outcome]
    ]
    headings = ("", "AUPRC", "AUROC", "Brier", "log loss", "lead in AUPRC", "lead in log loss")
    return Table(_NAMES[outcome], headings, tuple(rows))


def _capacity(report: Report, outcome: str) -> Table:
    rows = [
        (
            row["model"],
            f"{row['found']:,} of {row['came']:,}",
            _range(row, "caught", _percent),
            _range(row, "false_alarms", _count),
            _range(row, "precision", _percent),
            _said(row["warning_days"], "{:.0f}"),
            _range(row, "in_time", _percent),
        )
        for row in report["capacity"][outcome]
    ]
    headings = (
        "",
        "found",
        "share found",
        "other looks",
        "hits per look",
        "days of warning",
        "found 7 days before",
    )
    return Table(_NAMES[outcome], headings, tuple(rows))


def _looks(report: Report, outcome: str) -> Table:
    cells: dict[str, dict[int, str]] = {}
    for row in report["found_by_looks"][outcome]:
        cells.setdefault(row["model"], {})[row["looks"]] = _said(row["caught"], "{:.0%}")
    looks = next(iter(cells.values()))
    headings = ("", *(f"{k} looks" if k > 1 else "1 look" for k in looks))
    rows = tuple((model, *found.values()) for model, found in cells.items())
    return Table(f"{_NAMES[outcome]}: share found in time, by looks at each moment", headings, rows)


def _money(report: Report) -> Table:
    rows = [
        (
            row["model"],
            f"{row['looks']:,}",
            _range(row, "averted", _count),
            _said(row["share"], "{:.0%}"),
            _NONE if row["model"] == report["ours"] else _range(row, "lead", _signed_money),
            f"{row['paying_looks']:,}",
            f"{row['net']:,.0f}",
        )
        for row in report["money"]
    ]
    headings = (
        "",
        "looks",
        "averted",
        "of what looks can",
        f"lead of {report['ours']}",
        "paying looks",
        "net of them",
    )
    loss = report["money"][0]["loss"]
    return Table(f"Of a loss of {loss:,.0f} in all, in the currency of the settings", headings, tuple(rows))


def _horizons(report: Report, outcome: str, measure: str, name: str) -> Table:
    cells: dict[str, dict[float, str]] = {}
    asked: dict[float, Row] = {}
    for row in report["horizons"][outcome]:
        asked[row["horizon"]] = row
        cells.setdefault(row["model"], {})[row["horizon"]] = _range(row, measure, _three)
    shares = (
        f"{row['renewals']:,} (of the rows {_said(row['base_rate'], '{:.0%}')})" for row in asked.values()
    )
    rows = [("renewals", *shares), *((model, *found.values()) for model, found in cells.items())]
    headings = ("", *(f"{horizon:g} days ahead" for horizon in asked))
    return Table(f"{_NAMES[outcome]}: {name}", headings, tuple(rows))


def _calibration(report: Report, outcome: str) -> Table:
    rows = [
        (
            row["model"],
            f"{row['forecast']:.1%}",
            f"{row['observed']:.1%}",
            f"{row['error']:.3f}",
            f"{row['floor']:.3f}, {row['floor_high']:.3f}",
            f"{row['debiased']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
            "yes" if row["beyond_noise"] else "no",
        )
        for row in report["calibration"][outcome]
    ]
    headings = ("", "mean forecast", "observed", "error", "floor", "less bias", "beyond noise")
    return Table(_NAMES[outcome], headings, tuple(rows))


def _timing(report: Report, outcome: str) -> Table:
    days = [name for name in report["timing"][outcome][0] if name.startswith("brier_")]
    rows = [
        (row["model"], _range(row, "ibs", _four), *(_said(row[name], "{:.4f}") for name in days))
        for row in report["timing"][outcome]
    ]
    headings = ("", "over 90 days", *(f"by day {name.removeprefix('brier_')}" for name in days))
    return Table(f"{_NAMES[outcome]}: Brier score", headings, tuple(rows))


def _coverage(report: Report) -> Table:
    rows = [
        (
            "all" if row["group"] == "all" else f"{row['group']}: {row['value']}",
            f"{row['renewals']:,}",
            _range(row, "coverage", _percent),
            f"{row['width']:.0f}",
        )
        for row in report["coverage"]
    ]
    headings = ("", "renewals", "within their interval", "median width, days")
    return Table(f"Intervals of {report['ours']} for nine of ten", headings, tuple(rows))


def _range(row: Row, name: str, form: Callable[[float], str]) -> str:
    """Say a figure with its interval."""
    if row.get(name) is None:
        return _NONE
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    said = form(row[name])
    return said if low is None or high is None else f"{said} ({form(low)} to {form(high)})"


def _told(row: Row, name: str, form: Callable[[float], str]) -> str:
    """Say a figure with its interval, within a sentence."""
    return f"{form(row[name])}, 90 % interval {form(row[f'{name}_low'])} to {form(row[f'{name}_high'])}"


def _said(value: float | None, form: str) -> str:
    return _NONE if value is None else form.format(value)


def _three(value: float) -> str:
    return f"{value:.3f}"


def _four(value: float) -> str:
    return f"{value:.4f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _signed_money(value: float) -> str:
    return f"{value:+,.0f}"


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _count(value: float) -> str:
    return f"{value:,.0f}"
