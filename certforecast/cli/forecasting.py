"""Commands around the load ahead: load, what-if, drill."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certforecast.cli.app import (
    AsOf,
    Json,
    Model,
    app,
    model_of,
    moment,
    open_history,
    place_for,
    settings_of,
)
from certforecast.cli.output import print_json, print_table, progress, say

if TYPE_CHECKING:
    from certforecast.forecasting import Drill, LoadForecast, WhatIf

_By = Annotated[
    str | None, typer.Option(metavar="GROUP", help="issuer, owner, domain, environment or automation.")
]
_Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same figures.")]
_Plot = Annotated[
    Path | None, typer.Option(help="Draw it into this file: .png, .svg or .pdf. Needs the extra 'plots'.")
]

_WORDS = {
    "renewals": "renewals",
    "slipped": "slips",
    "failed": "outages",
    "outage_days": "days of outage",
    "hours": "people's hours",
    "waiting": "orders that wait for a rate limit",
}


@app.command()
def load(
    context: typer.Context,
    horizon: Annotated[str, typer.Option(help="How far: 26w, 180d, 2y.")] = "26w",
    by: _By = None,
    as_of: AsOf = None,
    level: Annotated[float, typer.Option(min=0.01, max=0.99, help="Of the intervals.")] = 0.9,
    model: Model = None,
    seed: _Seed = 0,
    plot: _Plot = None,
    as_json: Json = False,
) -> None:
    """Forecast renewals, slips and failures of each week ahead.

    Made bottom-up: what is open now as the model forecasts it, then the successors of its successors. Limits
    on validity come as published.
    """
    from certforecast.forecasting import forecast_load

    settings, at = settings_of(context), moment(as_of)
    _drawable(plot)
    with open_history(settings) as history, progress("Forecasting the load", 1.0) as advance:
        made = forecast_load(
            history,
            model_of(settings, model, at),
            at,
            horizon,
            by=by,
            policy=settings.policy,
            effort=settings.effort,
            seed=seed,
            progress=advance,
        )
    if plot is not None:
        from certforecast.forecasting.plots import draw_load

        _draw(draw_load(made, level), plot)
    if as_json:
        print_json(
            {
                "as_of": made.as_of,
                "by": by,
                "level": level,
                "dispersion": made.dispersion,
                "weeks": made.frame(level),
            }
        )
    else:
        _show_load(made, level)


def _show_load(made: "LoadForecast", level: float) -> None:
    frame = made.frame(level)
    grouped = made.by is not None
    if grouped:  # a row a group: nobody reads 26 weeks of each owner
        numbers = [name for name in frame if name not in ("group", "week")]
        rows = frame.groupby("group")[numbers].sum().sort_values("renewals", ascending=False)
        busiest = frame.loc[frame.groupby("group")["renewals"].idxmax()].set_index("group")
        rows = rows.assign(group=rows.index, peak=busiest["renewals"], peak_week=busiest["week"])
    else:
        rows = frame
    print_table(
        f"Load of the weeks from {made.as_of:%Y-%m-%d %H:%M} UTC",
        [
            ("group" if grouped else "week of", lambda row: row["group"] if grouped else _day(row["week"])),
            ("renewals", lambda row: f"{row['renewals']:.1f}"),
            *(
                [
                    ("most in a week", lambda row: f"{row['peak']:.1f}"),
                    ("week of", lambda row: _day(row["peak_week"])),
                ]
                if grouped
                else [(f"{level:.0%} of weeks", lambda row: _between(row, "renewals"))]
            ),
            ("slips", lambda row: f"{row['slipped']:.1f}"),
            ("outages", lambda row: f"{row['failed']:.1f}"),
            ("people's hours", lambda row: f"{row['hours']:.1f}"),
        ],
        rows.to_dict("records"),
        caption="expected numbers; --json has intervals of all of them, by week",
    )


@app.command(name="what-if")
def what_if(
    context: typer.Context,
    scenario: Annotated[
        str | None, typer.Argument(help="A shipped scenario, or a TOML file. Without it: lists them.")
    ] = None,
    horizon: Annotated[str, typer.Option(help="How far: 104w, 700d, 3y.")] = "104w",
    by: _By = None,
    as_of: AsOf = None,
    model: Model = None,
    seed: _Seed = 0,
    plot: _Plot = None,
    as_json: Json = False,
) -> None:
    """Say what a change would do: shorter validity, an authority that leaves, automation, a freeze.

    Plays the same fleet before and after. docs/load.md says how to write a scenario.
    """
    from certforecast.forecasting import read_scenario, shipped
    from certforecast.forecasting import what_if as compare

    if scenario is None:
        if as_json:
            print_json(shipped())
        else:
            print_table(
                "Scenarios",
                [("name", lambda pair: pair[0]), ("what", lambda pair: pair[1].title)],
                list(shipped().items()),
            )
        return
    chosen = read_scenario(scenario)
    settings, at = settings_of(context), moment(as_of)
    _drawable(plot)
    with open_history(settings) as history, progress("Playing before and after", 1.0) as advance:
        made = compare(
            history,
            model_of(settings, model, at),
            at,
            chosen,
            horizon,
            by=by,
            policy=settings.policy,
            effort=settings.effort,
            seed=seed,
            progress=advance,
        )
    if plot is not None:
        _draw(made.plot(), plot)
    if as_json:
        print_json(
            {
                "as_of": made.before.as_of,
                "scenario": chosen,
                "by": by,
                "summary": made.summary(),
                "weeks": made.frame(),
            }
        )
    else:
        _show_what_if(made)


def _show_what_if(made: "WhatIf") -> None:
    summary = made.summary()
    titles = dict.fromkeys(summary["weeks"])
    for weeks in titles:
        which = f"the last {weeks} of {made.weeks}" if weeks != made.weeks else f"all {weeks}"
        print_table(
            f"{made.scenario.title}: {which} weeks from {made.before.as_of:%Y-%m-%d} UTC",
            [
                ("what", lambda row: f"{_WORDS[row['measure']]} a {row['per']}"),
                ("before", lambda row: f"{row['before']:,.1f}"),
                ("after", lambda row: f"{row['after']:,.1f}"),
                ("times", lambda row: "-" if row["ratio"] != row["ratio"] else f"{row['ratio']:.2f}"),
            ],
            summary[summary["weeks"] == weeks].head(len(_WORDS)).to_dict("records"),
        )


@app.command()
def drill(
    context: typer.Context,
    issuer: Annotated[str, typer.Option(help="Who revokes, as it is called in certificates.")],
    within: Annotated[str, typer.Option(help="Until the deadline: 24h, 5d.")] = "24h",
    to: Annotated[str | None, typer.Option(help="Who issues instead. Default: the same issuer.")] = None,
    ari: Annotated[
        bool, typer.Option("--ari", help="Orders name what they replace (RFC 9773); some limits spare them.")
    ] = False,
    as_of: AsOf = None,
    model: Model = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show; --json gives all.")] = 20,
    as_json: Json = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if anything would come too late.")
    ] = False,
) -> None:
    """Rehearse a mass revocation: what is replaced in which order, how fast, and what comes too late.

    Nothing is ordered. Rate limits, the executor's pace and people's hours count, as the settings have them.
    """
    from certforecast.forecasting import revocation_drill

    settings, at, hours = settings_of(context), moment(as_of), _hours(within)
    path = model or (settings.champion_path if settings.champion_path.exists() else None)
    with open_history(settings) as history, progress("Rehearsing"):
        made = revocation_drill(
            history,
            at,
            issuer,
            hours,
            to=to,
            model=model_of(settings, path, at) if path is not None else None,
            ari=ari,
            policy=settings.policy,
            effort=settings.effort,
            costs=settings.costs,
        )
    if as_json:
        print_json({**made.summary(), "order": made.table})
    else:
        _show_drill(made, limit)
    if check and made.summary()["too_late"]:
        raise typer.Exit(1)


def _show_drill(made: "Drill", limit: int) -> None:
    told, shown = made.summary(), made.table.head(limit)
    print_table(
        f"{made.issuer} revokes everything at {made.as_of:%Y-%m-%d %H:%M} UTC; {made.to} issues instead",
        [
            ("#", lambda row: str(row["rank"])),
            ("name", lambda row: row["name"]),
            ("owner", lambda row: row["owner"]),
            ("loss", lambda row: f"{row['loss']:,.0f}"),
            ("by", lambda row: "a person" if row["person_hours"] else "the executor"),
            ("ordered after", lambda row: _after(row["order_h"])),
            ("done after", lambda row: _after(row["done_h"])),
            ("in time", lambda row: "yes" if row["in_time"] else "NO"),
            ("waits for", lambda row: row["waits_for"]),
        ],
        shown.to_dict("records"),
        caption=f"{len(shown)} of {told['certificates']:,} shown, in the order of replacement",
    )
    print(
        f"{told['in_time']:,} of {told['certificates']:,} in time; {told['too_late']:,} too late, with "
        f"{told['expected_loss_too_late']:,.0f} of the expected loss of {told['expected_loss']:,.0f}"
    )
    for why, count in told["too_late_because"].items():
        print(f"  {count:,} wait longest for {why}")
    if not made.limits_known:
        say(f"no rate limits of {made.to} are known: none were applied")


def _hours(text: str) -> float:
    """Read a span of hours or days."""
    import re

    from certforecast.errors import InputError

    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([hd]?)", text.strip())
    if not found or not 0 < float(found[1]) <= 10_000:
        raise InputError(f"--within {text!r} is no span such as 24h or 5d")
    return float(found[1]) * (24.0 if found[2] == "d" else 1.0)


def _drawable(path: Path | None) -> None:
    from certforecast.errors import InputError

    if path is None:
        return
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"--plot {path}: end the name with .png, .svg or .pdf")
    place_for(path, "--plot")
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise InputError("--plot needs matplotlib: pip install 'certforecast[plots]'")


def _draw(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=150)
    say(f"drawn into {path}")


def _day(value: Any) -> str:
    return f"{value:%Y-%m-%d}"


def _between(row: "dict[str, Any]", name: str) -> str:
    return f"{row[f'{name}_low']:.0f} to {row[f'{name}_high']:.0f}"


def _after(hours: float) -> str:
    return "never" if hours == float("inf") else f"{hours:.1f} h"
