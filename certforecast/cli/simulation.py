"""Commands that play: simulate and demo."""

from pathlib import Path
from typing import Annotated

import typer

from certforecast.cli.app import Json, app, moment, settings_of
from certforecast.cli.output import print_json, print_table, progress, say, words


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="Where to write the four tables as Parquet files.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 7,
    lineages: Annotated[int, typer.Option(min=10, help="How many services.")] = 360,
    years: Annotated[float, typer.Option(min=0.1, help="How long the fleet is played.")] = 3.0,
    end: Annotated[str, typer.Option(metavar="DATE", help="The last day, ISO 8601.")] = "2026-10-01",
    as_json: Json = False,
) -> None:
    """Write the history of a simulated fleet.

    Its true probabilities are known to the simulator, so that forecasts can be held against them.
    """
    from certforecast.simulation import Fleet

    with progress("Playing"):
        fleet = Fleet(seed=seed, lineages=lineages, years=years, end=moment(end, "--end"))
        written = fleet.write(folder)
        outcomes = fleet.outcomes()["outcome"].value_counts().to_dict()
        rows = {name: table.num_rows for name, table in fleet.tables().items()}
    if as_json:
        print_json({"files": written, "rows": rows, "outcomes": outcomes, "seed": seed})
    else:
        print_table(
            f"Written to {folder}",
            [("table", lambda row: row[0]), ("rows", lambda row: f"{row[1]:,}")],
            list(rows.items()),
            caption=words(outcomes),
        )
        say(f"read it with: certforecast ingest tables {folder}")


@app.command()
def demo(
    context: typer.Context,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sandbox.")] = 7,
    as_json: Json = False,
) -> None:
    """Run the whole road on a sample and a sandbox.

    The sample is three years of a simulated fleet; the sandbox is real TLS endpoints on this machine.
    """
    from certforecast.cli.demo import run

    summary = run(settings_of(context), seed, quiet=as_json)
    if as_json:
        print_json(summary)
