"""Carries out a plan in processes that kill themselves, one after another, and in one that does not.

Called as ``python -m tests.system.kill_driver PLAN LAST SETTINGS STEP...``. For every step there is a process
that dies by SIGKILL when the step's body is about to begin, and the next when it has ended but is not yet
checkpointed. The last process is left alone, with the plan LAST, and prints what it got, as JSON.

The processes are forked after the imports, which take most of the time; each starts with nothing but those.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from certforecast.execution import Executor
from certforecast.execution.steps import Steps
from certforecast.history import History
from certforecast.planning.plan import Plan
from certforecast.settings import Settings


def deadly(step: str, moment: str) -> None:
    """Have this process die at a moment of a step."""
    body = getattr(Steps, step)

    def dying(*arguments: Any) -> Any:
        if moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = body(*arguments)
        if moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(Steps, step, dying)


def act(plan: Path, settings: Path) -> None:
    chosen = Settings(**json.loads(settings.read_text()))
    with History(chosen.store_path) as history:
        results = Executor(chosen, history).run(Plan.read(plan), execute=True)
    print(json.dumps([result.model_dump(mode="json") for result in results]), flush=True)


def main(plan: Path, last: Path, settings: Path, steps: list[str]) -> None:
    import dbos
    import duckdb

    assert dbos
    assert duckdb
    for step, moment in [(step, moment) for step in steps for moment in ("before", "after")]:
        child = os.fork()
        if child == 0:
            deadly(step, moment)
            act(plan, settings)
            os._exit(3)  # it should not have come to this
        _, status = os.waitpid(child, 0)
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            sys.exit(f"{moment} {step}: ended with status {status}, not killed")
    act(last, settings)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), steps=sys.argv[4:])
