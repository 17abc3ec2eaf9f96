"""A server's own commands, and signals to its process."""

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from certforecast.errors import InstallationError

__all__ = ["run", "send_signal"]

#: Seconds a server's own command may take.
_PATIENCE_S: Final = 30.0

#: Lines of a command's output that an error quotes.
_LINES: Final = 5


def run(arguments: Sequence[str]) -> str:
    """Run a server's own command, without a shell, and give what it wrote.

    Raises
    ------
    InstallationError
        If it is missing, fails or hangs, with the last lines it wrote.
    """
    shown = shlex.join(arguments)
    try:
        done = subprocess.run(
            arguments,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_PATIENCE_S,
        )
    except subprocess.TimeoutExpired as error:
        raise InstallationError(f"{shown}: no end after {_PATIENCE_S:g} s") from error
    except subprocess.CalledProcessError as error:
        lines = error.stdout.decode(errors="replace").strip().splitlines()[-_LINES:]
        raise InstallationError(f"{shown} ended with {error.returncode}: {' | '.join(lines)}") from error
    except OSError as error:
        raise InstallationError(f"{shown} cannot be run: {error.strerror}") from error
    return done.stdout.decode(errors="replace")


def send_signal(path: Path, number: int) -> None:
    """Send a signal to the process in a pid file; 0 only asks whether one may.

    Raises
    ------
    InstallationError
        If there is no such file or process, or it is not ours to signal.
    """
    try:
        pid = int(path.read_text(encoding="ascii"))
        if pid <= 0:  # kill(2) would take it for a group of processes
            raise ValueError(pid)
        os.kill(pid, number)
    except ProcessLookupError as error:
        raise InstallationError(
            f"process {pid} of {path} is gone: start the server", code="reload"
        ) from error
    except PermissionError as error:
        raise InstallationError(
            f"{path}: not allowed to read it or to signal its process: run as its owner", code="reload"
        ) from error
    except OSError as error:
        raise InstallationError(
            f"{path} cannot be read: {error.strerror}: is the server up?", code="reload"
        ) from error
    except (ValueError, OverflowError) as error:
        raise InstallationError(
            f"{path} holds no process id: is it the right file?", code="reload"
        ) from error
