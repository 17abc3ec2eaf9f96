"""Commands that fill and read the store: ingest, scan, renewals, status."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certforecast.cli.app import AsOf, Json, app, moment, open_history, settings_of
from certforecast.cli.output import print_json, print_table, progress, say, words

if TYPE_CHECKING:
    from datetime import datetime

    from certforecast.history import History, Import
    from certforecast.history.sources import Source
    from certforecast.settings import Settings


@app.command()
def ingest(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="What PATH is: pem, crtsh, certbot, scan or tables.")],
    path: Annotated[Path, typer.Argument(help="The file or folder to read.")],
    as_json: Json = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if rows were set aside.")] = False,
) -> None:
    """Read certificate history into the store.

    Doing it again changes nothing. What cannot be read is set aside: see 'status --quarantine'.
    """
    from certforecast.history.sources import source as source_class

    settings = settings_of(context)
    _import(settings, source_class(source)(path), f"{path}", as_json, check)  # type: ignore[call-arg]


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


def _import(settings: "Settings", source: "Source", what: str, as_json: bool, check: bool) -> None:
    with open_history(settings, must_exist=False) as history, progress(f"Reading {what}") as advance:
        done = history.ingest(source, progress=advance)
    if as_json:
        print_json(done)
    else:
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
    _warn_of_quarantine(done)
    if check and done.quarantined:
        raise typer.Exit(1)


def _warn_of_quarantine(done: "Import") -> None:
    if done.quarantined:
        rows = "row was" if done.quarantined == 1 else "rows were"
        say(f"{done.quarantined} {rows} set aside: see 'certforecast status --quarantine'")


@app.command()
def renewals(
    context: typer.Context,
    as_of: AsOf = None,
    outcome: Annotated[
        str | None, typer.Option(help="Only these: on_time, slipped, failed, retired or open.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show; --json gives all.")] = 30,
    as_json: Json = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if any of those failed.")] = False,
) -> None:
    """List renewals: due, lag, margin and outcome."""
    from certforecast.errors import InputError
    from certforecast.renewals import OUTCOMES
    from certforecast.renewals import renewals as list_renewals

    if outcome is not None and outcome not in (*OUTCOMES, "open"):
        raise InputError(f"--outcome {outcome} is none of {', '.join(OUTCOMES)}, open")
    settings, at = settings_of(context), moment(as_of)
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
    as_json: Json = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Exit with 1 if rows were set aside or something expired is served."),
    ] = False,
) -> None:
    """Say what is stored, set aside, expired or near it."""
    from datetime import timedelta

    from certforecast.renewals import renewals as list_renewals

    settings, at = settings_of(context), moment(as_of)
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
