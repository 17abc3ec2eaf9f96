"""Commands that fill the store: sources, ingest, scan."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certforecast.cli.app import Json, app, open_history, settings_of
from certforecast.cli.output import print_json, print_table, progress, say

if TYPE_CHECKING:
    from datetime import datetime

    from certforecast.history import History, Import
    from certforecast.history.sources import Source
    from certforecast.settings import Settings


@app.command()
def sources(as_json: Json = False) -> None:
    """List the places that history can be read from, and whether they are ready."""
    from certforecast.history.sources import installed_sources
    from certforecast.history.sources.options import option_names

    installed, broken = installed_sources()
    listed = [
        {
            "name": kind.name,
            "reads": (kind.__doc__ or "").strip().partition("\n")[0].replace("``", "").rstrip("."),
            "state": "missing" if kind.missing() else "ready",
            "install": f"pip install 'certforecast[{kind.extra}]'" if kind.missing() else None,
            "options": option_names(kind),
        }
        for kind in installed
    ]
    for name, reason in broken.items():
        listed.append({"name": name, "reads": reason, "state": "broken", "install": None, "options": []})
    if as_json:
        print_json(listed)
        return
    print_table(
        "Sources",
        [
            ("name", lambda row: row["name"]),
            ("reads", lambda row: row["reads"]),
            ("state", lambda row: row["install"] or row["state"]),
        ],
        listed,
        caption="certforecast ingest NAME PLACE; ingest auto PATH finds out itself",
    )


@app.command()
def ingest(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(
            help="A source ('certforecast sources' lists them), auto, or a name from the settings."
        ),
    ] = None,
    place: Annotated[str | None, typer.Argument(help="The file, folder or address to read.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="NAME=VALUE", help="An option of the source; repeatable."),
    ] = None,
    ask_password: Annotated[
        bool, typer.Option("--ask-password", help="Ask for the password of keystores.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Read also what has not changed since.")] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show how the source reads the place; store nothing.")
    ] = False,
    as_json: Json = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if rows were set aside.")] = False,
) -> None:
    """Read certificate history into the store.

    Without arguments, all sources of the settings are read ([sources.NAME] kind, place, options). Doing it
    again costs little and changes nothing; an import that was stopped goes on. What cannot be read is set
    aside: see 'status --quarantine'.
    """
    from dataclasses import asdict

    from certforecast.errors import InputError
    from certforecast.history import Import

    settings = settings_of(context)
    options = _options(option or [])
    if ask_password:
        options["password"] = typer.prompt("Password", hide_input=True, err=True)
    made = _sources(settings, source, place, options)
    if preview:
        for one, _ in made:
            show = getattr(one, "preview", None)
            if show is None:
                raise InputError(f"source {one.name!r} has no preview; it needs no mapping")
            typer.echo(show())
        return
    done, failed = list[tuple[str, Import]](), dict[str, str]()
    with open_history(settings, must_exist=False) as history:
        for one, what in made:
            try:
                with progress(f"Reading {what}") as advance:
                    done.append((what, history.ingest(one, progress=advance, again=again)))
            except InputError as error:
                if len(made) == 1:
                    raise
                failed[what] = str(error)  # one place that is out of reach must not keep the others out
    if as_json and len(made) == 1 and source != "auto":
        print_json(done[0][1])
    elif as_json:
        results = [{"place": what, **asdict(result)} for what, result in done]
        print_json(results + [{"place": what, "error": reason} for what, reason in failed.items()])
    else:
        for what, result in done:
            _print_import(what, result)
    for reason in failed.values():
        say(f"certforecast: {reason}")
    if failed:
        raise typer.Exit(3)
    if check and any(result.quarantined for _, result in done):
        raise typer.Exit(1)


def _options(written: list[str]) -> dict[str, Any]:
    from certforecast.errors import InputError

    options = {}
    for text in written:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"--option {text!r} is not of the form NAME=VALUE")
        name = name.strip().replace("-", "_")
        if name in ("password", "token"):
            # Arguments stand in the list of processes, for everybody to read.
            raise InputError(f"--option {name} would show a secret; use {name}_file=FILE or the environment")
        options[name] = value
    return options


def _sources(
    settings: "Settings", name: str | None, place: str | None, options: dict[str, Any]
) -> list[tuple["Source", str]]:
    """Make the sources that were asked for, each with what to call it."""
    from certforecast.errors import InputError
    from certforecast.history.sources.auto import recognise
    from certforecast.history.sources.options import make_source

    if name == "auto":
        if place is None:
            raise InputError("nothing to look at: certforecast ingest auto PATH")
        found = recognise(Path(place))
        for known in found:
            say(f"{known.path}: {known.what} ({known.kind.name})")
        return [(make_source(one.kind.name, str(one.path), options), str(one.path)) for one in found]
    if name is not None and place is not None:
        return [(make_source(name, place, options), place)]
    wanted = list(settings.sources) if name is None else [name]
    if not wanted:
        raise InputError(
            "nothing to read: certforecast ingest SOURCE PLACE, or put [sources.NAME] into the settings"
        )
    made = []
    for configured in wanted:
        if (chosen := settings.sources.get(configured)) is None:
            raise InputError(
                f"source {configured!r} needs a place: certforecast ingest {configured} PLACE;"
                f" in the settings are: {', '.join(settings.sources) or 'none'}"
            )
        made.append(
            (make_source(chosen.kind, chosen.place, {**(chosen.model_extra or {}), **options}), configured)
        )
    return made


def _print_import(what: str, done: "Import") -> None:
    print_table(
        f"Read {what}",
        [
            ("table", lambda row: row[0]),
            ("new", lambda row: f"{row[1].new:,}"),
            ("updated", lambda row: f"{row[1].updated:,}"),
            ("unchanged", lambda row: f"{row[1].unchanged:,}"),
        ],
        list(done.tables.items()),
    )
    if done.skipped:
        say(
            f"{done.skipped:,} places have not changed since the last import; --again reads them all the same"
        )
    _warn_of_quarantine(done)


@app.command()
def scan(
    context: typer.Context,
    endpoints: Annotated[list[str] | None, typer.Argument(help="HOST[:PORT] to look at.")] = None,
    file: Annotated[Path | None, typer.Option(help="A file with one endpoint a line.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Handshakes at a time.")] = 64,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for each endpoint.")] = 5.0,
    ca_file: Annotated[Path | None, typer.Option(help="Trust roots beside the system's.")] = None,
    as_json: Json = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 unless every endpoint serves a valid certificate.")
    ] = False,
) -> None:
    """Look at live TLS endpoints and record what each serves."""
    from certforecast.clock import system_clock
    from certforecast.errors import InputError
    from certforecast.history.sources.scan import ScanSource

    if not endpoints and file is None:
        raise InputError("nothing to scan: name endpoints (certforecast scan example.com:443) or a --file")
    if endpoints and file is not None:
        raise InputError("name endpoints or a --file, not both")
    settings, started = settings_of(context), system_clock()
    with open_history(settings, must_exist=False) as history, progress("Scanning") as advance:
        place = file if file is not None else endpoints or []
        done = history.ingest(
            ScanSource(place, concurrency=concurrency, timeout_s=timeout, ca_file=ca_file, progress=advance)
        )
        looks = _looks_since(history, started)
    if as_json:
        print_json({"import": done, "endpoints": looks})
    else:
        print_table(
            "Served now",
            [
                ("endpoint", lambda row: f"{row['host']}:{row['port']}"),
                ("name", lambda row: row["server_name"]),
                ("status", lambda row: row["chain_status"] or row["error"]),
                (
                    "expires",
                    lambda row: "" if row["not_after"] is None else f"{row['not_after']:%Y-%m-%d %H:%M}",
                ),
                ("issuer", lambda row: row["issuer_cn"] or ""),
                ("fingerprint", lambda row: (row["fingerprint"] or "")[:12]),
            ],
            looks,
        )
    _warn_of_quarantine(done)
    if check and (done.quarantined or any(row["chain_status"] != "valid" for row in looks)):
        raise typer.Exit(1)


def _looks_since(history: "History", started: "datetime") -> list[dict[str, Any]]:
    """List what a scan that began at `started` saw, by endpoint."""
    import ibis

    tables = history.tables()
    leaves = tables.certificates.select("fingerprint", "not_after", "issuer_cn")
    looks = tables.observations.filter(
        tables.observations.source == "scan",
        tables.observations.observed_at >= ibis.literal(started, type="timestamp('UTC', 6)"),
    )
    rows = looks.left_join(leaves, "fingerprint").order_by(["host", "port", "server_name", "observed_at"])
    frame = rows.drop("fingerprint_right").to_pandas().astype(object)
    found: list[dict[str, Any]] = frame.where(frame.notna(), None).to_dict("records")
    return found


def _warn_of_quarantine(done: "Import") -> None:
    if done.quarantined:
        rows = "row was" if done.quarantined == 1 else "rows were"
        say(f"{done.quarantined:,} {rows} set aside: see 'certforecast status --quarantine'")
