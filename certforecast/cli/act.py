"""The command that carries a plan out."""

from pathlib import Path
from typing import Annotated

import typer

from certforecast.cli.app import Json, app, open_history, settings_of
from certforecast.cli.output import print_json, print_table, progress, say


@app.command()
def act(
    context: typer.Context,
    plan: Annotated[
        Path | None, typer.Argument(help="Plan file. Default: plan.json in the home folder.")
    ] = None,
    execute: Annotated[
        bool, typer.Option("--execute", help="Carry it out. Without this nothing is changed.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell every step that begins.")] = False,
    as_json: Json = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Exit with 1 if an action failed, was rolled back, skipped or stopped."),
    ] = False,
) -> None:
    """Carry out a plan and prove it on the wire.

    Renews or installs, and rolls back what cannot be proven. Dry unless --execute is given. Killed or
    stopped, the same command goes on where it was.
    """
    from certforecast.execution import Executor
    from certforecast.planning import Plan, read_approvals

    settings = settings_of(context)
    path = plan or settings.plan_path
    chosen, approvals = Plan.read(path), read_approvals(path)
    ended = 0
    with open_history(settings) as history, progress("Acting", len(chosen.actions)) as advance:

        def on_end(_: object) -> None:
            nonlocal ended
            ended += 1
            advance(ended)

        results = Executor(settings, history=history).run(
            chosen,
            execute=execute,
            approvals=approvals,
            on_step=(lambda name, step: say(f"{name}: {step}")) if verbose else None,
            on_end=on_end,
        )
    if as_json:
        print_json(results)
    else:
        print_table(
            "Carried out" if execute else "Would be done (--execute carries it out)",
            [
                ("do", lambda result: result.kind),
                ("name", lambda result: result.name),
                ("status", lambda result: result.status.replace("_", " ")),
                ("detail", lambda result: result.detail),
            ],
            results,
        )
    if check and any(result.status in ("failed", "rolled_back", "skipped", "stopped") for result in results):
        raise typer.Exit(1)
