"""The command that scores the model and the rules on the past."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certforecast.cli.app import AsOf, Cutoffs, Json, app, moment, open_history, place_for, settings_of
from certforecast.cli.output import print_json, print_table, progress, say

if TYPE_CHECKING:
    from certforecast.evaluation import BacktestResult
    from certforecast.history import History
    from certforecast.settings import Settings


@app.command()
def backtest(
    context: typer.Context,
    as_of: AsOf = None,
    cutoffs: Cutoffs = None,
    outcome: Annotated[
        str, typer.Option(help="The outcome to score: failed, slipped, late (either), on_time or retired.")
    ] = "failed",
    k: Annotated[int, typer.Option(min=1, help="Capacity: renewals that can be looked into at a time.")] = 10,
    history: Annotated[
        Path | None,
        typer.Option(
            help="Score on this file or folder instead of the store: whatever 'ingest auto' recognises. "
            "Outcomes are then taken, without --as-of, as known when the last of it was."
        ),
    ] = None,
    times: Annotated[
        bool,
        typer.Option(
            "--times", help="Score when renewals come, too. Fitting takes two to three times as long."
        ),
    ] = False,
    page: Annotated[
        Path | None,
        typer.Option(
            help="Write a page that compares everything to this file (HTML). Implies --times; needs the "
            "extra 'plots'."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Score the model and the rules on the past.

    Trains on what was known at a moment, scores on what came after, and again at later moments.
    """
    from certforecast.errors import InputError
    from certforecast.evaluation import SCORED, backtest_history, backtest_report, write_page
    from certforecast.evaluation.page import require_plots

    if outcome not in SCORED:
        raise InputError(f"--outcome {outcome} is none of {', '.join(SCORED)}")
    if page is not None:
        require_plots()
        place_for(page, "--page")
    with _history(settings_of(context), history) as (store, settings):
        last = store.tables().last_known() if history is not None and as_of is None else None
        at = last or moment(as_of)
        with progress("Backtesting", 1.0) as advance:
            result = backtest_history(
                store, at, settings, cutoffs=cutoffs, k=k, times=times or page is not None, progress=advance
            )
    report: dict[str, Any] | None = None
    if as_json or page is not None:
        with progress("Scoring"):
            report = backtest_report(result, settings.costs, settings.effects)
    if as_json:
        print_json(report)
    else:
        _show(result, settings, outcome)
    if page is not None:
        title = f"Backtest of {history.name or history}" if history is not None else "Backtest"
        write_page(result, page, settings.costs, settings.effects, title=title, report=report)
        say(f"written: {page}")


@contextmanager
def _history(settings: "Settings", path: Path | None) -> "Iterator[tuple[History, Settings]]":
    """Open the store; or read a path into one that is gone afterwards, with all that is made of it."""
    from certforecast.history import History
    from certforecast.history.sources.auto import recognise
    from certforecast.history.sources.options import make_source

    if path is None:
        with open_history(settings) as store:
            yield store, settings
        return
    with TemporaryDirectory() as home, History(None) as store:
        for known in recognise(path):
            say(f"{known.path}: {known.what} ({known.kind.name})")
            with progress(f"Reading {known.path}") as advance:
                store.ingest(make_source(known.kind.name, str(known.path), {}), progress=advance)
        _tell_set_aside(store, path)
        yield store, settings.model_copy(update={"home": Path(home)})


def _tell_set_aside(store: "History", path: Path) -> None:
    """Say what of a history could not be read: nobody can look it up once the store is gone.

    Raises
    ------
    InputError
        If nothing could be read.
    """
    from certforecast.errors import InputError

    aside = store.quarantine()
    if aside.empty:
        return
    first = aside.iloc[0]
    told = (
        f"{len(aside):,} {'row was' if len(aside) == 1 else 'rows were'} set aside, such as "
        f"{first['position']}: {first['reason']}"
    )
    if not store.counts()["certificates"]:
        raise InputError(f"{path} holds no certificate that can be read: {told}")
    say(f"{told}; for all of them: certforecast ingest, then certforecast status --quarantine")


def _show(result: "BacktestResult", settings: "Settings", outcome: str) -> None:
    """Print how the models and rules compare for one outcome, best first, and what looking would be worth."""
    from certforecast.evaluation import at_capacity, money
    from certforecast.evaluation.result import came

    print_table(
        f"Backtest, outcome {outcome}",
        [
            ("model", lambda row: row["model"]),
            ("AUPRC", _figure("auprc")),
            ("90 % interval", _between("auprc")),
            *((name, _figure(name.lower().replace(" ", "_"))) for name in ("AUROC", "Brier", "log loss")),
            ("calibration error", _figure("calibration_error")),
            (f"ever in the top {result.k}", _figure("caught", ".0%")),
        ],
        result.summary(outcome).to_dict("records"),
        caption=result.describe(),
    )
    if not came(result.rows_of(result.models[0]), outcome).any():
        say(
            f"no renewal that was scored came out as {outcome}: there is nothing to rank by; try another "
            "--outcome"
        )

    def lead(row: dict[str, Any]) -> str:
        return f"{row['money_lead']:+,.0f} ({row['money_lead_low']:+,.0f} to {row['money_lead_high']:+,.0f})"

    worth = money(result, settings.costs, settings.effects).set_index("model").add_prefix("money_")
    found = at_capacity(result, outcome).set_index("model").join(worth).reset_index()
    print_table(
        f"Looking into {result.k} at each moment, each renewal once",
        [
            ("model", lambda row: row["model"]),
            ("found in time", lambda row: f"{row['found']:,} of {row['came']:,}"),
            ("other looks", lambda row: f"{row['false_alarms']:,}"),
            ("days of warning", _figure("warning_days", ".0f")),
            ("7 days or more", _figure("in_time", ".0%")),
            ("loss averted", lambda row: f"{row['money_averted']:,.0f}"),
            (f"lead of {result.models[0]}", lead),
        ],
        found.to_dict("records"),
        caption="days of warning: median over all that came about, 0 for those never looked into; "
        "loss: by the costs in the settings",
    )
    say("AUPRC: area under the precision-recall curve. Every measure, with intervals: --json, or --page FILE")


def _figure(name: str, form: str = ".3f"):  # type: ignore[no-untyped-def]
    return lambda row: "–" if row[name] != row[name] else f"{row[name]:{form}}"


def _between(name: str):  # type: ignore[no-untyped-def]
    low, high = _figure(f"{name}_low"), _figure(f"{name}_high")
    return lambda row: low(row) if row[f"{name}_low"] != row[f"{name}_low"] else f"{low(row)} to {high(row)}"
