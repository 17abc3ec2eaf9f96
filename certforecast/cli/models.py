"""Commands around models: train, promote, predict."""

from datetime import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from certforecast.cli.app import AsOf, Cutoffs, Json, Model, app, model_of, moment, open_history, settings_of
from certforecast.cli.output import print_json, print_table, progress, say, words

if TYPE_CHECKING:
    from datetime import datetime


@app.command()
def train(
    context: typer.Context,
    as_of: AsOf = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Where to write the model. Default: champion.skops in the home folder, or challenger.skops "
            "while there is a champion."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a model on the history and save it.

    The run is logged to MLflow, in a SQLite file in the home folder unless `tracking_uri` is set.
    """
    from certforecast.models import train as train_model

    settings, at = settings_of(context), moment(as_of)
    with open_history(settings) as history, progress("Training"):
        trained = train_model(history, at, settings, path=output)
    if as_json:
        print_json(trained.summary())
    else:
        rows = [(key.replace("_", " "), words(value)) for key, value in trained.summary().items()]
        print_table("Trained", [("what", lambda row: row[0]), ("value", lambda row: row[1])], rows)
    if trained.path == settings.challenger_path:
        say("the champion stays in use: 'certforecast promote' replaces it by this one if that is better")


@app.command()
def promote(
    context: typer.Context,
    as_of: AsOf = None,
    outcome: Annotated[
        str | None,
        typer.Option(
            help="The outcome that counts: failed (the default), slipped, late (either), on_time or retired.",
            show_default=False,
        ),
    ] = None,
    cutoffs: Cutoffs = None,
    force: Annotated[bool, typer.Option("--force", help="Promote it without a comparison.")] = False,
    as_json: Json = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if it was not promoted.")] = False,
) -> None:
    """Put the model trained last in use if it is better than the one in use.

    Made as the one in use is, from newer data of the same history, it goes in use at once. From older data,
    fewer renewals or another history it is refused. Otherwise both are backtested, and it has to win beyond
    noise.
    """
    from certforecast.errors import InputError
    from certforecast.evaluation import SCORED, Challenge, challenge
    from certforecast.models import promote as promote_model

    if outcome is not None and outcome not in SCORED:
        raise InputError(f"--outcome {outcome} is none of {', '.join(SCORED)}")
    asked = {"--as-of": as_of, "--outcome": outcome, "--cutoffs": cutoffs}
    if force and (idle := [option for option, value in asked.items() if value is not None]):
        raise InputError(
            f"--force compares nothing, so {', '.join(idle)} would do nothing: leave them out, or --force"
        )
    settings, at = settings_of(context), moment(as_of)
    if force:
        promote_model(settings)
        done = Challenge(True, "as demanded, without a comparison", None)
    else:
        with open_history(settings) as history, progress("Comparing", 1.0) as advance:
            done = challenge(
                history, at, settings, outcome=outcome or "failed", cutoffs=cutoffs, progress=advance
            )
    if as_json:
        print_json(done.summary())
    else:
        print(f"the challenger is {'the champion now' if done.promoted else 'not promoted'}: {done.reason}")
    if check and not done.promoted:
        raise typer.Exit(1)


@app.command()
def predict(
    context: typer.Context,
    as_of: AsOf = None,
    model: Model = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show; --json gives all.")] = 20,
    threshold: Annotated[
        float,
        typer.Option(min=0, max=1, help="For --check: from which P(failed) on."),
    ] = 0.2,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Say how likely each renewal is to be renewed by then, too: ISO 8601, UTC; a date is its "
            "beginning. --json also says how likely it is to have failed or been retired.",
            show_default=False,
        ),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Explain one forecast, feature by feature: a name, or 8 or more digits of a fingerprint.",
        ),
    ] = None,
    reasons: Annotated[
        bool, typer.Option("--reasons", help="Say what moved each forecast shown; with --json, of all.")
    ] = False,
    outcome: Annotated[
        str | None,
        typer.Option(
            help="What --explain and --reasons explain: failed (the default), slipped, late (either), "
            "on_time or retired.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if any P(failed) is so high.")] = False,
) -> None:
    """Forecast how each open renewal will end, and when.

    Each gets its probabilities of being on time, slipped, failed and retired. Nine of ten renewals that come
    before the expiry come between the two days shown.
    """
    import pandas as pd

    from certforecast.cli.explanation import because, find_row, show_explanation
    from certforecast.errors import InputError
    from certforecast.features import IDENTIFIERS
    from certforecast.models import forecast
    from certforecast.models.contributions import EXPLAINED
    from certforecast.models.forecasting import chances_by
    from certforecast.models.narration import explain_forecasts

    if outcome is not None and outcome not in EXPLAINED:
        raise InputError(f"--outcome {outcome} is none of {', '.join(EXPLAINED)}")
    if outcome is not None and explain is None and not reasons:
        raise InputError("--outcome says what is explained: give --explain NAME or --reasons with it")
    outcome = outcome or "failed"
    settings, at = settings_of(context), moment(as_of)
    until = None if by is None else moment(by, "--by")
    if until is not None and explain is not None:
        raise InputError("--by says when, --explain says why: give one of them at a time")
    if until is not None and until <= at:
        raise InputError(f"--by {by} does not come after {at:%Y-%m-%d %H:%M} UTC: give a later time")
    with open_history(settings) as history, progress("Forecasting"):
        chosen = model_of(settings, model, at)
        frame = forecast(history, chosen, at, settings.policy).sort_values("p_failed", ascending=False)
        wanted = frame if as_json else frame.head(limit)
        if until is not None:
            wanted = pd.concat([wanted, chances_by(chosen, wanted, until)], axis=1)
        if explain is not None:
            wanted = find_row(frame, explain, f"as of {at:%Y-%m-%d %H:%M} UTC")
        if explain is not None or reasons:
            told, found = explain_forecasts(
                history, chosen, wanted, outcome, among=frame, policy=settings.policy
            )
            wanted = wanted.assign(reasons=pd.Series(found, wanted.index, dtype=object))
    if explain is not None:
        show_explanation(wanted, told, found[0], as_json=as_json)
    else:
        probabilities = ["p_on_time", "p_slipped", "p_failed", "p_retired"]
        moments = [str(name) for name in frame if str(name).startswith("renewal_")]
        if as_json:
            chances = [name for name in wanted if str(name) in ("renewed_by", "failed_by", "retired_by")]
            more = [*moments, *chances, *(["reasons"] if reasons else [])]
            print_json(wanted[[*IDENTIFIERS, *probabilities, *more]])
        else:
            print_table(
                f"Open renewals as of {at:%Y-%m-%d %H:%M} UTC, likeliest failures first",
                [
                    ("name", lambda row: row["name"]),
                    ("expires", lambda row: f"{row['not_after']:%Y-%m-%d}"),
                    *((name[2:].replace("_", " "), _share(name)) for name in probabilities),
                    *([("to be renewed", _span)] if moments else []),
                    *([(f"renewed by {_short(until)}", _share("renewed_by"))] if until else []),
                    *([(f"{outcome} because", lambda row: because(row["reasons"]))] if reasons else []),
                ],
                wanted.to_dict("records"),
                caption=f"{len(wanted)} of {len(frame):,} shown; --explain NAME says why of one",
            )
    if check and (frame["p_failed"] >= threshold).any():
        raise typer.Exit(1)


def _short(at: "datetime") -> str:
    """Write a moment without its hour where that is the beginning of the day."""
    return f"{at:%Y-%m-%d}" if at.time() == time() else f"{at:%Y-%m-%d %H:%M}"


def _span(row: "dict[str, datetime]") -> str:
    return f"{row['renewal_low']:%Y-%m-%d} to {row['renewal_high']:%Y-%m-%d}"


def _share(name: str):  # type: ignore[no-untyped-def]
    return lambda row: f"{row[name]:.1%}"
