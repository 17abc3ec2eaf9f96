"""Carries out a plan in a process that dies right after one site's files were swapped, another not begun.

Called as ``python -m tests.system.half_way PLAN SETTINGS NAME STEP``: the process is killed when the body of
the step of the lineage NAME has ended and is not checkpointed. Orders of others wait for that.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from certforecast.execution import Executor
from certforecast.execution.steps import Steps
from certforecast.planning.plan import Plan
from certforecast.settings import Settings


def leave_half_way(plan: Plan, settings: Settings, folder: Path, name: str, step: str = "install") -> None:
    """Have a process of its own carry out a plan and die in the middle."""
    plan.write(folder / "half-way.json")
    (folder / "settings.json").write_text(settings.model_dump_json())
    command = [sys.executable, "-m", "tests.system.half_way"]
    command += [str(folder / "half-way.json"), str(folder / "settings.json"), name, step]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, timeout=100, check=False, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def main(plan: str, settings: str, name: str, step: str) -> None:
    body, order = getattr(Steps, step), Steps.order

    def dying(steps: Steps, action: Any, done: Any) -> Any:
        result = body(steps, action, done)
        if action.name == name:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    def waiting(steps: Steps, action: Any, done: Any) -> Any:
        if action.name != name:
            threading.Event().wait(90)
        return order(steps, action, done)

    setattr(Steps, "order", waiting)  # noqa: B010
    setattr(Steps, step, dying)
    chosen = Settings(**json.loads(Path(settings).read_text()))
    Executor(chosen).run(Plan.read(Path(plan)), execute=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
