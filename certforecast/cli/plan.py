"""The command that turns forecasts into ranked actions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from certforecast.cli.app import AsOf, Json, app, moment, open_history, settings_of
from certforecast.cli.output import print_json, print_table, progress, say

if TYPE_CHECKING:
    from certforecast.planning import Plan


@app.command()
def plan(
    context: typer.Context,
    as_of: AsOf = None,
    output: Annotated[
        Path | None, typer.Option(help="Plan file. Default: plan.json in the home folder.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Saved model. Default: the one trained last.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Actions to show; the file and --json hold all.")] = 20,
    as_json: Json = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if there is anything to do.")] = False,
) -> None:
    """Rank what to do by the loss it averts.

    Writes the plan that 'certforecast act' takes.
    """
    from certforecast.models import forecast, load_model
    from certforecast.planning import make_plan

    settings, at = settings_of(context), moment(as_of)
    path = model or settings.champion_path
    with open_history(settings) as history, progress("Forecasting"):
        chosen = load_model(path, key=settings.home)
        forecasts = forecast(history, chosen, at, settings.policy)
        made = make_plan(history, forecasts, at, settings, model=path.name, explainer=chosen)
    target = output or settings.plan_path
    made.write(target)
    if as_json:
        print_json(made)
    else:
        show_plan(made, limit)
        say(f"plan written to {target}; valid until {made.expires_at:%Y-%m-%d %H:%M} UTC")
    if check and made.actions:
        raise typer.Exit(1)


def show_plan(made: "Plan", limit: int) -> None:
    """Print the actions of a plan, most worthwhile first."""
    shown = made.actions[:limit]
    print_table(
        f"Plan as of {made.as_of:%Y-%m-%d %H:%M} UTC",
        [
            ("#", lambda action: str(action.rank)),
            ("do", lambda action: action.kind),
            ("expires", lambda action: f"{action.not_after:%Y-%m-%d}"),
            ("P(failed)", lambda action: f"{action.probabilities.failed:.0%}"),
            ("averts", lambda action: f"{action.expected_loss_averted:,.0f}"),
            ("costs", lambda action: f"{action.cost:,.0f}"),
            ("name, and because", lambda action: f"{action.name}\n{'; '.join(action.reasons[:2])}"),
        ],
        shown,
        caption=f"{len(shown)} of {len(made.actions)} actions shown",
    )
    if made.held_out:
        print_table(
            "Left alone on purpose, to learn from",
            [
                ("would", lambda left: left.kind),
                ("expires", lambda left: f"{left.not_after:%Y-%m-%d}"),
                ("P(failed)", lambda left: f"{left.probabilities.failed:.0%}"),
                ("may cost", lambda left: f"{left.expected_loss_averted:,.0f}"),
                ("name, and why", lambda left: f"{left.name}\n{left.why}"),
            ],
            made.held_out[:limit],
            caption=f"{len(made.held_out[:limit])} of {len(made.held_out)} held out",
        )
