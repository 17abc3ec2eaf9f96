"""The commands around the executor: look at it, stop it, let it go on, help it."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from certforecast.cli.app import Json, app, settings_of
from certforecast.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from certforecast.execution.status import ExecutorStatus
    from certforecast.settings import Settings


@app.command()
def stop(
    context: typer.Context,
    reason: Annotated[str, typer.Option(help="Why, for those who find everything standing still.")] = "",
    by: Annotated[str | None, typer.Option(help="Who. Default: your login.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Stop everything within a second, in all processes, until 'certforecast resume'.

    No step begins any more. What is in the middle of a change is still proven, or put back.
    """
    import getpass

    from certforecast.clock import system_clock
    from certforecast.execution.control import control

    with control(settings_of(context)) as notes:
        notes.stop(by or getpass.getuser(), system_clock(), reason)
        told = notes.stopped()
    if as_json:
        print_json(told)
    else:
        say(f"{told}; 'certforecast resume' lets it go on")


@app.command()
def resume(context: typer.Context, as_json: Json = False) -> None:
    """Let the executor go on after 'certforecast stop'."""
    from certforecast.execution.control import control

    with control(settings_of(context)) as notes:
        before = notes.stopped()
        notes.resume()
    if as_json:
        print_json({"resumed": before is not None, "was": before})
    elif before is None:
        say("nothing was stopped")
    else:
        say(
            f"{before}; it may go on now: run 'certforecast act --execute' again, workers go on by themselves"
        )


@app.command()
def worker(
    context: typer.Context,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell every step that begins.")] = False,
    as_json: Json = False,
) -> None:
    """Help to carry out what 'certforecast act' has begun, on the same PostgreSQL database.

    Runs until it gets SIGTERM or SIGINT; what is in the middle of a change then is still ended.
    """
    import signal
    import threading

    from certforecast.execution.worker import work

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    done = 0

    def on_step(name: str, step: str) -> None:
        nonlocal done
        done += step.startswith("clear")
        if verbose:
            say(f"{name}: {step}")

    work(settings_of(context), ended, on_ready=lambda: say("ready; SIGTERM ends it"), on_step=on_step)
    if as_json:
        print_json({"ended_actions": done})
    else:
        say(f"ended; {done} actions came to their end here")


def show_executor(settings: "Settings", *, watch: bool, as_json: bool) -> None:
    """Show what the executor is doing, what waits, and what ended in the last hour.

    Raises
    ------
    InputError
        If it is to be watched as JSON.
    """
    from certforecast.clock import system_clock
    from certforecast.errors import InputError
    from certforecast.execution.status import executor_status

    if as_json and watch:
        raise InputError("--watch shows a table, --json prints one document: give one of them")
    if as_json:
        print_json(executor_status(settings, system_clock()))
        return
    while True:
        seen = executor_status(settings, system_clock())
        if watch:
            print("\033[2J\033[H", end="", flush=True)
        _show(seen)
        if not watch:
            return
        time.sleep(1.0)


def _show(seen: "ExecutorStatus") -> None:
    if seen.stopped is not None:
        say(f"{seen.stopped}; 'certforecast resume' lets it go on")
    told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(seen.counts.items()))
    print_table(
        f"Executor at {seen.at:%Y-%m-%d %H:%M:%S} UTC",
        [
            ("#", lambda run: str(run.rank)),
            ("do", lambda run: run.kind),
            ("name", lambda run: run.name),
            ("status", lambda run: run.status.replace("_", " ")),
            ("since", lambda run: f"{run.since:%H:%M:%S}" if run.since else ""),
            ("detail", lambda run: run.detail),
        ],
        seen.runs,
        caption=told or "nothing is under way, and nothing ended lately",
    )
