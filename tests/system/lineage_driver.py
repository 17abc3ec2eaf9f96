"""A worker with a home folder of its own, whose orders take a while, are noted in a file, and fail.

Called as ``python -m tests.system.lineage_driver SETTINGS LOG``; SIGTERM ends it.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from certforecast.errors import ExecutionError
from certforecast.execution.steps import Steps
from certforecast.execution.worker import work
from certforecast.settings import Settings


def slow_order(log: Path) -> Any:
    """Give a step that notes when it begins and ends, and fails."""

    def order(_: Steps, action: Any, done: Any) -> Any:
        del action, done
        with log.open("a") as notes:
            print("begin", os.getpid(), file=notes, flush=True)
            time.sleep(0.3)
            print("end", os.getpid(), file=notes, flush=True)
        raise ExecutionError("enough")

    return order


def main(settings: Path, log: Path) -> None:
    setattr(Steps, "order", slow_order(log))  # noqa: B010
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    chosen = Settings(**json.loads(settings.read_text()))
    work(chosen, ended, on_ready=lambda: print("ready", flush=True))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
