"""A server's own commands, and signals to its process."""

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from certforecast.errors import InstallationError

__all__ = ["Process", "is_alive", "run", "running", "send_signal"]

#: Lines of a command's output that an error quotes.
_LINES: Final = 5


def run(
    arguments: Sequence[str],
    *,
    timeout_s: float = 30.0,
    code: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a server's own command, without a shell, and give what it wrote.

    Parameters
    ----------
    timeout_s : float
        Seconds it may take; then it is killed, with all that it started.
    code : str, optional
        Of the error.
    environment : mapping, optional
        Default: ours.

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
                env=environment,
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


@dataclass(frozen=True, slots=True)
class Process:
    """A server's main process: its arguments and the user it runs as."""

    pid: int
    arguments: tuple[str, ...]
    user: int

    def option(self, *names: str) -> str | None:
        """Give what follows an option, as its next argument or in the same one; None if it is not given."""
        for place, argument in enumerate(self.arguments):
            for name in names:
                if argument == name and place + 1 < len(self.arguments):
                    return self.arguments[place + 1]
                joined = f"{name}=" if name.startswith("--") else name
                if argument.startswith(joined) and argument != name:
                    return argument.removeprefix(joined)
        return None


def running(*names: str, of_any: bool = False) -> list[Process]:
    """List the processes of a program that no process of the same program started; Linux only.

    Parameters
    ----------
    names : str
        What the program's file may be called.
    of_any : bool
        Also those of other users. Without it only root's and our own count: what others wrote into a
        configuration must not be run by us.
    """
    found: dict[int, tuple[Process, int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
            text = (folder / "cmdline").read_text(errors="replace")
            user = (folder / "stat").stat().st_uid
        except (OSError, IndexError, ValueError):  # it has ended
            continue
        # nginx writes its own title, with blanks: "nginx: master process /usr/sbin/nginx -c FILE".
        arguments = text.rstrip("\0").split("\0")
        if len(arguments) == 1:
            arguments = arguments[0].partition(" process ")[2].split() or arguments
        if Path(arguments[0]).name in names and (of_any or user in (0, os.geteuid())):
            found[int(folder.name)] = Process(int(folder.name), tuple(arguments), user), parent
    return [process for _, (process, parent) in sorted(found.items()) if parent not in found]
