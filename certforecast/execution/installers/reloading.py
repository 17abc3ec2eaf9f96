"""A reload by command, by signal, or both: what servers without a way of their own are told by."""

import shlex
import shutil
import signal
from pathlib import Path

from pydantic import Field

from certforecast.errors import InstallationError
from certforecast.execution.installers import InstallerSection
from certforecast.execution.installers.processes import run, send_signal

__all__ = ["Reload", "ReloadSection"]


class ReloadSection(InstallerSection):
    """What can be set where a server is reloaded by a command, or a signal to the process in a pid file."""

    reload: list[str] = Field(default=[], description="argument list, run without a shell")
    pid_file: str | None = None
    signal: str = "HUP"


class Reload:
    """A reload as a section of the settings says.

    Parameters
    ----------
    settings : ReloadSection
        Its texts without fields to fill in.
    """

    def __init__(self, settings: ReloadSection) -> None:
        self.settings = settings

    def __bool__(self) -> bool:
        return bool(self.settings.reload) or self.settings.pid_file is not None

    def check(self) -> None:
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

    def run(self) -> None:
        """Run the reload command and send the signal, whichever is set.

        Raises
        ------
        InstallationError
            If the command fails, or the process is not there.
        """
        if self.settings.reload:
            run(self.settings.reload, timeout_s=self.settings.timeout_s)
        if self.settings.pid_file is not None:
            send_signal(Path(self.settings.pid_file), self._number())

    def describe(self) -> list[str]:
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
