"""Plain files, and a reload by command or signal: most servers are served by this."""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from certforecast.errors import InstallationError
from certforecast.execution.installers.versions import Versions
from certforecast.settings import FilesInstallerSettings

__all__ = ["FilesInstaller", "run"]

#: Seconds a server's own command may take.
_PATIENCE_S: Final = 30.0

#: Lines of a command's output that an error quotes.
_LINES: Final = 5


def run(arguments: Sequence[str]) -> None:
    """Run a server's own command, without a shell.

    Raises
    ------
    InstallationError
        If it is missing, fails or hangs, with the last lines it wrote.
    """
    shown = shlex.join(arguments)
    try:
        subprocess.run(
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


class FilesInstaller:
    """A server that reads two files, or one, when it is told to.

    Parameters
    ----------
    settings : FilesInstallerSettings
        Its texts without fields to fill in.
    name : str
        The lineage's name.
    """

    def __init__(self, settings: FilesInstallerSettings, *, name: str) -> None:
        self.settings = settings
        self.versions = Versions(Path(settings.certificate), Path(settings.key), name)

    def current(self) -> str | None:
        """Give the fingerprint of the leaf in the certificate file; None if there is none."""
        return self.versions.current()

    def precheck(self) -> None:
        """Refuse files that cannot be switched, and a reload that cannot work.

        Raises
        ------
        InstallationError
            If so.
        """
        self.versions.check()
        command = self.settings.reload
        if command and shutil.which(command[0]) is None:
            raise InstallationError(f"the reload command {command[0]} is not there or not executable")
        if self.settings.pid_file is not None:
            self._signal(0)
        self._number()

    def swap(self, chain_pem: bytes, key_pem: bytes) -> None:
        """Put a new certificate and its key in place, both at one moment; keep what was there."""
        self.versions.install(chain_pem, key_pem)

    def test(self) -> None:
        """Do nothing: plain files have no test of their own."""

    def reload(self) -> None:
        """Run the reload command and send the signal, whichever is set.

        Raises
        ------
        InstallationError
            If the command fails, or the process is not there.
        """
        if self.settings.reload:
            run(self.settings.reload)
        if self.settings.pid_file is not None:
            self._signal(self._number())

    def restore(self, fingerprint: str) -> None:
        """Switch back to a version that was in place before."""
        self.versions.restore(fingerprint)

    def describe(self) -> list[str]:
        """Say which files would be switched and which commands run."""
        lines = [f"switch {path}" for path in dict.fromkeys([self.settings.certificate, self.settings.key])]
        if self.settings.reload:
            lines.append(f"run {shlex.join(self.settings.reload)}")
        if self.settings.pid_file is not None:
            lines.append(f"send {self.settings.signal} to the process in {self.settings.pid_file}")
        return lines

    def _number(self) -> int:
        name = self.settings.signal.upper().removeprefix("SIG")
        try:
            return signal.Signals[f"SIG{name}"]
        except KeyError as error:
            raise InstallationError(f"there is no signal {self.settings.signal!r}: HUP is usual") from error

    def _signal(self, number: int) -> None:
        path = Path(self.settings.pid_file or "")
        try:
            pid = int(path.read_text(encoding="ascii"))
            if pid <= 0:  # kill(2) would take it for a group of processes
                raise ValueError(pid)
            os.kill(pid, number)
        except ProcessLookupError as error:
            raise InstallationError(f"process {pid} of {path} is gone: start the server") from error
        except PermissionError as error:
            raise InstallationError(
                f"{path}: not allowed to read it or to signal its process: run as its owner"
            ) from error
        except OSError as error:
            raise InstallationError(f"{path} cannot be read: {error.strerror}: is the server up?") from error
        except (ValueError, OverflowError) as error:
            raise InstallationError(f"{path} holds no process id: is it the right file?") from error
