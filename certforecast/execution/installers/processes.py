"""A server's own commands, and signals to its process."""

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from certforecast.errors import InstallationError

__all__ = ["is_alive", "run", "send_signal"]

#: Lines of a command's output that an error quotes.
_LINES: Final = 5


def run(arguments: Sequence[str], *, timeout_s: float = 30.0, code: str | None = None) -> str:
    """Run a server's own command, without a shell, and give what it wrote.

    Parameters
    ----------
    timeout_s : float
        Seconds it may take; then it is killed, with all that it started.
    code : str, optional
        Of the error.

    Raises
    ------
    InstallationError
        If it is missing, fails or hangs, with the last lines it wrote.
    """
    shown = shlex.join(arguments)
    # Not a pipe: a server that the command starts may keep it open for ever.
    with tempfile.TemporaryFile() as told:
        try:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise InstallationError(f"{shown} cannot be run: {error.strerror}", code=code) from error
        try:
            ended = process.wait(timeout_s)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise InstallationError(f"{shown}: no end after {timeout_s:g} s", code=code) from error
        told.seek(0)
        text = told.read().decode(errors="replace")
    if ended:
        lines = " | ".join(text.strip().splitlines()[-_LINES:])
        raise InstallationError(f"{shown} ended with {ended}: {lines}", code=code)
    return text


def send_signal(path: Path, number: int) -> int:
    """Send a signal to the process in a pid file, in its first line, and give its id; 0 only asks if one may.

    Raises
    ------
    InstallationError
        If there is no such file or process, or it is not ours to signal.
    """
    try:
        pid = int(path.read_text(encoding="ascii").partition("\n")[0])
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
    return pid


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and is not yet waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return state.rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True
