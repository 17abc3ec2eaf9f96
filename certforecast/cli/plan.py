"""The commands that turn forecasts into ranked, scheduled actions, and compare plans."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from certforecast.cli.app import AsOf, Json, Model, app, model_of, moment, open_history, settings_of
from certforecast.cli.output import print_json, print_table, progress, say

if TYPE_CHECKING:
    from certforecast.planning import Plan


plans = typer.Typer(invoke_without_command=True)
app.add_typer(plans, name="plan")


@plans.callback()
def plan(
    context: typer.Context,
    as_of: AsOf = None,
    output: Annotated[
        Path | None, typer.Option(help="Plan file. Default: plan.json in the home folder.")
    ] = None,
    model: Model = None,
    limit: Annotated[int, typer.Option(min=1, help="Actions to show; the file and --json hold all.")] = 20,
    as_json: Json = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if there is anything to do.")] = False,
) -> None:
    """Rank what to do by the loss it averts, and schedule it within the limits.

    Writes the plan that 'certforecast act' takes. 'certforecast plan diff A B' compares two.
    """
    if context.invoked_subcommand is not None:
        return
    from certforecast.models import forecast
    from certforecast.planning import make_plan

    settings, at = settings_of(context), moment(as_of)
    path = model or settings.champion_path
    with open_history(settings) as history, progress("Forecasting"):
        chosen = model_of(settings, path, at)
        forecasts = forecast(history, chosen, at, settings.policy)
        made = make_plan(history, forecasts, at, settings, model=path.name, explainer=chosen)
    made = made.signed(settings.home)
    target = output or settings.plan_path
    made.write(target)
    if as_json:
        print_json(made)
    else:
        show_plan(made, limit)
        say(f"plan written to {target}; valid until {made.expires_at:%Y-%m-%d %H:%M} UTC")
    if check and made.actions:
        raise typer.Exit(1)


@plans.command()
def diff(
    before: Annotated[Path, typer.Argument(help="The earlier plan.")],
    after: Annotated[Path, typer.Argument(help="The later plan.")],
    as_json: Json = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if they differ.")] = False,
) -> None:
    """Say what changed from one plan to the next, and why."""
    from certforecast.planning import Plan, compare

    changes = compare(Plan.read(before), Plan.read(after))
    if as_json:
        print_json(changes)
    elif changes:
        print_table(
            f"From {before.name} to {after.name}",
            [
                ("", lambda change: change.what),
                ("name", lambda change: change.name),
                ("why", lambda change: "\n".join(change.why)),
            ],
            changes,
        )
    else:
        say("both plans say the same")
    if check and changes:
        raise typer.Exit(1)


@plans.command()
def approve(
    context: typer.Context,
    plan: Annotated[
        Path | None, typer.Argument(help="Plan file. Default: plan.json in the home folder.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Your name among approvals.approvers. Default: your login.", show_default=False),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            help="Folder with your own signing.key; made on first use. Default: ~/.certforecast",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Approve a plan with your own key, where the settings want people to.

    The approval is kept beside the plan file. Whoever carries the plan out needs your signing.pub, named
    under approvals.approvers in the settings.
    """
    import getpass

    from certforecast.clock import system_clock
    from certforecast.planning import Plan, write_approval
    from certforecast.planning import approve as approved
    from certforecast.signing import verifying_key

    settings = settings_of(context)
    path = plan or settings.plan_path
    chosen = Plan.read(path)
    chosen.check_signed(verifying_key(settings.home))
    chosen.check_fresh(system_clock())
    made = approved(chosen, by or getpass.getuser(), key or Path.home() / ".certforecast", system_clock())
    where = write_approval(path, made)
    if as_json:
        print_json({"plan": chosen.id, "by": made.by, "at": made.at, "approvals": where})
    else:
        say(f"plan {chosen.id} approved by {made.by} in {where}")


def show_plan(made: "Plan", limit: int) -> None:
    """Print the actions of a plan, most worthwhile first, then what waits."""
    now = [action for action in made.actions if action.kind != "wait"]
    waiting = [action for action in made.actions if action.kind == "wait"]
    print_table(
        f"Plan as of {made.as_of:%Y-%m-%d %H:%M} UTC",
        [
            ("#", lambda action: str(action.rank)),
            ("do", lambda action: action.kind),
            ("start", lambda action: f"{action.start:%m-%d %H:%M}" if action.start else ""),
            ("expires", lambda action: f"{action.not_after:%Y-%m-%d}"),
            ("P(failed)", lambda action: f"{action.probabilities.failed:.0%}"),
            ("averts", lambda action: f"{action.expected_loss_averted:,.0f}"),
            ("costs", lambda action: f"{action.cost:,.0f}"),
            ("name, and because", lambda action: f"{action.name}\n{'; '.join(action.reasons[:2])}"),
        ],
        now[:limit],
        caption=f"{len(now[:limit])} of {len(now)} actions shown",
    )
    if waiting:
        print_table(
            "Nothing to do yet",
            [
                ("then", lambda action: action.then),
                ("from", lambda action: f"{action.start:%m-%d %H:%M}" if action.start else "no room"),
                ("expires", lambda action: f"{action.not_after:%Y-%m-%d}"),
                ("P(failed)", lambda action: f"{action.probabilities.failed:.0%}"),
                ("averts", lambda action: f"{action.expected_loss_averted:,.0f}"),
                (
                    "name",
                    lambda action: action.name if action.start else f"{action.name}\n{action.reasons[-1]}",
                ),
            ],
            waiting[:limit],
            caption=f"{len(waiting[:limit])} of {len(waiting)} shown",
        )
    if (timetable := made.timetable) is not None:
        say(
            f"scheduled until {timetable.horizon_ends:%Y-%m-%d}: averts {timetable.value:,.0f} more than it "
            f"costs; no schedule within the limits can beat {timetable.bound:,.0f} (gap {timetable.gap:.1%})"
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
