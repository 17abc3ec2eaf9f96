"""Commands that read the store: renewals, status."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certforecast.cli.app import AsOf, Json, app, moment, open_history, settings_of
from certforecast.cli.executor import show_executor
from certforecast.cli.output import print_json, print_table, say, words

if TYPE_CHECKING:
    from certforecast.renewals.story import Story
    from certforecast.settings import Settings


@app.command()
def renewals(
    context: typer.Context,
    as_of: AsOf = None,
    outcome: Annotated[
        str | None, typer.Option(help="Only these: on_time, slipped, failed, retired or open.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show; --json gives all.")] = 30,
    lineage: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Tell the story of one: a name, or the start of a fingerprint."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="With --lineage: draw it into this file (.png, .svg or .pdf).")
    ] = None,
    as_json: Json = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if any of those failed.")] = False,
) -> None:
    """List renewals: due, lag, margin and outcome; or tell the story of one lineage."""
    from certforecast.errors import InputError
    from certforecast.renewals import OUTCOMES
    from certforecast.renewals import renewals as list_renewals

    if outcome is not None and outcome not in (*OUTCOMES, "open"):
        raise InputError(f"--outcome {outcome} is none of {', '.join(OUTCOMES)}, open")
    if plot is not None and lineage is None:
        raise InputError("--plot draws one lineage: name it with --lineage")
    settings, at = settings_of(context), moment(as_of)
    if lineage is not None:
        story = _story(settings, lineage, at)
        if plot is not None:
            _draw(story, plot)
        _tell(story, as_json)
        if check and (story.renewals["outcome"] == "failed").any():
            raise typer.Exit(1)
        return
    with open_history(settings) as history:
        frame = list_renewals(history, at, settings.policy)
    if outcome:
        frame = frame[frame["outcome"] == outcome]
    if as_json:
        print_json(frame)
    else:
        shown = frame.sort_values("not_after", ascending=False).head(limit)
        print_table(
            f"Renewals as of {at:%Y-%m-%d %H:%M} UTC",
            [
                ("name", lambda row: row.name_),
                ("valid from", lambda row: f"{row.not_before:%Y-%m-%d}"),
                ("to", lambda row: f"{row.not_after:%Y-%m-%d}"),
                ("due", lambda row: f"{row.due:%Y-%m-%d}"),
                ("lag", lambda row: _number(row.renewal_lag_days)),
                ("margin", lambda row: _number(row.margin_days)),
                ("outcome", lambda row: row.outcome.replace("_", " ")),
                ("by", lambda row: row.evidence),
                ("linked by", lambda row: row.why.replace("+", ", ") if isinstance(row.why, str) else ""),
            ],
            list(shown.rename(columns={"name": "name_"}).itertuples()),
            caption=f"{len(shown)} of {len(frame):,} shown, latest expiry first; lag (from due to in service)"
            " and margin (from in service to expiry) in days",
        )
    if check and (frame["outcome"] == "failed").any():
        raise typer.Exit(1)


@app.command()
def status(
    context: typer.Context,
    as_of: AsOf = None,
    quarantine: Annotated[
        bool, typer.Option("--quarantine", help="List what was set aside, with the reasons.")
    ] = False,
    executor: Annotated[
        bool, typer.Option("--executor", help="Show what the executor is doing, and nothing else.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="The same, looked up again every second, until interrupted.")
    ] = False,
    as_json: Json = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Exit with 1 if rows were set aside or something expired is served."),
    ] = False,
) -> None:
    """Say what is stored, set aside, expired or near it; or what the executor is doing."""
    from datetime import timedelta

    from certforecast.renewals import renewals as list_renewals

    settings, at = settings_of(context), moment(as_of)
    if executor or watch:
        show_executor(settings, watch=watch, as_json=as_json)
        return
    with open_history(settings) as history:
        if quarantine:
            _list_quarantine(history.quarantine(), as_json)
            return
        counts = history.counts()
        frame = list_renewals(history, at, settings.policy)
        imports = history.imports()
    still = frame["endpoints_still"] > 0
    open_ = frame[frame["outcome"] == "open"]
    week = open_["not_after"].between(at, at + timedelta(days=7))
    found: dict[str, Any] = {
        "store": settings.store_path,
        "as_of": at,
        "rows": {name: counts[name] for name in ("certificates", "observations", "events", "hosts")},
        "quarantined": counts["quarantine"],
        "imports": counts["imports"],
        "last_import_at": imports["at"].max() if len(imports) else None,
        "lineages": frame["lineage"].nunique(),
        "outcomes": frame["outcome"].value_counts().to_dict(),
        "expired_and_served": int(((frame["not_after"] <= at) & still).sum()),
        "expiring_in_7_days": int(week.sum()),
        "issued_not_served": int((open_["successor"].notna() & (open_["not_after"] > at)).sum()),
        "models": sorted(path.name for path in settings.models_path.glob("*.skops")),
        "plan": settings.plan_path if settings.plan_path.exists() else None,
    }
    if as_json:
        print_json(found)
    else:
        rows = [(key.replace("_", " "), words(value)) for key, value in found.items()]
        print_table("Status", [("what", lambda row: row[0]), ("value", lambda row: row[1])], rows)
        if found["quarantined"]:
            say("what was set aside, and why: 'certforecast status --quarantine'")
    if check and (found["quarantined"] or found["expired_and_served"]):
        raise typer.Exit(1)


def _story(settings: "Settings", name: str, at: datetime) -> "Story":
    from certforecast.renewals.story import life_story

    with open_history(settings) as history:
        return life_story(history, name, at, settings.policy)


def _draw(story: "Story", path: Path) -> None:
    import matplotlib

    from certforecast.errors import InputError
    from certforecast.renewals.plots import LineageDisplay

    matplotlib.use("agg")
    figure = LineageDisplay(story).plot().figure_
    known = sorted(figure.canvas.get_supported_filetypes())
    if path.suffix.removeprefix(".") not in known:
        raise InputError(f"--plot {path}: the name must end with one of .{', .'.join(known)}")
    try:
        figure.savefig(path, dpi=144)
    except OSError as error:
        raise InputError(f"--plot {path} cannot be written: {error.strerror or error}") from error
    say(f"drawn: {path}")


def _tell(story: "Story", as_json: bool) -> None:
    if as_json:
        entries = story.entries
        found = {name: getattr(story, name) for name in ("lineage", "name", "as_of", "renewals", "spells")}
        print_json({**found, "events": story.events, "entries": entries})
        return
    print_table(
        f"{story.name} as of {story.as_of:%Y-%m-%d %H:%M} UTC",
        [
            ("when", lambda row: f"{row.at:%Y-%m-%d}"),
            ("certificate", lambda row: row.fingerprint[:8] if isinstance(row.fingerprint, str) else ""),
            ("what happened", lambda row: row.text),
        ],
        list(story.entries.itertuples()),
        caption=story.summary(),
    )


def _list_quarantine(frame: Any, as_json: bool) -> None:
    if as_json:
        print_json(frame)
        return
    print_table(
        "Set aside",
        [
            ("source", lambda row: row.source),
            ("position", lambda row: row.position),
            ("reason", lambda row: row.reason),
        ],
        list(frame.itertuples()),
        caption=f"{len(frame):,} rows; --json gives their contents",
    )


def _number(value: float) -> str:
    return "" if value != value else f"{value:.1f}"
