"""Plain files, and a reload by command or signal: most servers are served by this."""

import shlex
import shutil
import signal
from pathlib import Path
from typing import Literal

from pydantic import Field

from certforecast.errors import InstallationError
from certforecast.execution.installers import Installer
from certforecast.execution.installers.pair import PairInstaller, PairSection
from certforecast.execution.installers.processes import run, send_signal

__all__ = ["FilesInstaller", "FilesInstallerSettings"]


class FilesInstallerSettings(PairSection):
    """Plain files and a reload: a command, or a signal to the process in a pid file."""

    kind: Literal["files"]
    reload: list[str] = Field(default=[], description="argument list, run without a shell")
    pid_file: str | None = None
    signal: str = "HUP"

    def open(self, name: str) -> Installer:
        """Give the installer of this section."""
        return FilesInstaller(self, name=name)


class FilesInstaller(PairInstaller):
    """A server that reads two files, or one, when it is told to.

    Parameters
    ----------
    settings : FilesInstallerSettings
        Its texts without fields to fill in.
    name : str
        The lineage's name.
    """

    def __init__(self, settings: FilesInstallerSettings, *, name: str) -> None:
        super().__init__(settings, name=name)
        self.settings = settings

    @property
    def server(self) -> str:
        """What one reload reloads, in words."""
        return "; ".join(self.describe_reload())

    def precheck(self) -> None:
        """Refuse files that cannot be switched, and a reload that cannot work.

        Raises
        ------
        InstallationError
            If so.
        """
        self.check_files()
        self.check_reload()

    def check_reload(self) -> None:
        """Refuse a command that is not there, a signal there is not, and a process we may not signal.

        Raises
        ------
        InstallationError
            If so.
        """
        command = self.settings.reload
        if command and shutil.which(command[0]) is None:
            raise InstallationError(
                f"the reload command {command[0]} is not there or not executable: install it, or name "
                "another in the settings",
                code="reload",
            )
        if self.settings.pid_file is not None:
            send_signal(Path(self.settings.pid_file), 0)
        self._number()

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
            send_signal(Path(self.settings.pid_file), self._number())

    def describe_reload(self) -> list[str]:
        """Say how the server would be reloaded."""
        lines = []
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
            raise InstallationError(
                f"there is no signal {self.settings.signal!r}: HUP is usual", code="reload"
            ) from error
