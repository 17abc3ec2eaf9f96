"""The typer application and the options every command shares."""

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from certforecast.cli.output import say

if TYPE_CHECKING:
    from certforecast.history import History
    from certforecast.models import OutcomeClassifier, OutcomePool
    from certforecast.settings import Settings

__all__ = [
    "AsOf",
    "Cutoffs",
    "Json",
    "Model",
    "app",
    "model_of",
    "moment",
    "open_history",
    "place_for",
    "settings_of",
]

app = typer.Typer(
    help="Forecasts which certificate renewals will slip or fail, ranks what to do, renews, and proves it.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Cutoffs = Annotated[
    int | None,
    typer.Option(
        "--cutoffs",
        min=1,
        help="How many times to train and look ahead. Default: 5, or on a long history once in half a year.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="TIME",
        help="ISO 8601, UTC; nothing known later is used. Default: now.",
        show_default=False,
    ),
]
Model = Annotated[
    Path | None,
    typer.Option(help="Saved model. Default: the champion, models/champion.skops in the home folder."),
]


def _version(wanted: bool) -> None:
    if wanted:
        from certforecast.version import __version__

        typer.echo(f"certforecast {__version__}")
        raise typer.Exit


@app.callback()
def shared(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="Settings file. Default: certforecast.toml, if there is one.")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="Where the store, models and plans live. Default: .certforecast")
    ] = None,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Read the settings that all commands share."""
    context.obj = (config, home)


def settings_of(context: typer.Context) -> "Settings":
    """Give the settings, from the file, the environment and ``--home``."""
    from certforecast.settings import load_settings

    config, home = context.obj
    return load_settings(config, **({"home": home} if home else {}))


def open_history(settings: "Settings", *, must_exist: bool = True) -> "History":
    """Open the store.

    Raises
    ------
    StoreError
        If there is none yet and `must_exist`.
    """
    from certforecast.errors import StoreError
    from certforecast.history import History

    if must_exist and not settings.store_path.exists():
        raise StoreError(
            f"there is no store at {settings.store_path} yet: fill one with "
            "'certforecast ingest SOURCE PATH', or name its folder with --home"
        )
    return cast("History", History.open(settings.store_path))  # a lake says itself what it cannot do


def model_of(settings: "Settings", path: Path | None, at: datetime) -> "OutcomePool | OutcomeClassifier":
    """Load a model, the champion without a path, and say so if it has learned from what came after `at`.

    Raises
    ------
    ModelError
        If there is none, or it cannot be trusted.
    """
    from certforecast.clock import parse_moment
    from certforecast.models import load_model
    from certforecast.models.saved import model_metadata

    source = path or settings.champion_path
    chosen = load_model(source, key=settings.home)
    trained = model_metadata(source, key=settings.home).get("as_of")
    if trained and parse_moment(trained) > at:
        say(
            f"hindsight: {source.name} was trained as of {parse_moment(trained):%Y-%m-%d %H:%M} UTC, and has "
            f"learned what became of renewals after {at:%Y-%m-%d %H:%M}; 'certforecast backtest' looks back "
            "without it"
        )
    return chosen


def place_for(path: Path, option: str) -> None:
    """Check, before long work, that a file can be written.

    Raises
    ------
    InputError
        If its folder is missing or not to be written to, or it is a folder itself.
    """
    from certforecast.errors import InputError

    if path.is_dir():
        raise InputError(f"{option} {path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: there is no folder {path.parent}; create it, or name another")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{option} {path}: you may not write to {path.parent}; name another folder")


def moment(text: str | None, option: str = "--as-of") -> datetime:
    """Read a time given on the command line; without it, the present.

    Raises
    ------
    InputError
        If `text` is not ISO 8601, or lies where no certificate can.
    """
    from certforecast.clock import parse_moment, system_clock
    from certforecast.errors import InputError

    if text is None:
        return system_clock()
    try:
        given = parse_moment(text)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{option} {text!r} is not an ISO 8601 time such as 2026-10-01 or 2026-10-01T06:00Z"
        ) from error
    if not 1970 <= given.year < 2200:
        raise InputError(f"{option} {text!r} lies outside the years 1970 to 2199; check the year")
    return given
