"""Plain files, and a reload by command or signal: most servers are served by this."""

import shlex
import shutil
import signal
from pathlib import Path

from certforecast.errors import InstallationError
from certforecast.execution.installers.processes import run, send_signal
from certforecast.execution.installers.versions import Versions
from certforecast.settings import FilesInstallerSettings

__all__ = ["FilesInstaller"]


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
        self.check_files()
        self.check_reload()

    def check_files(self) -> None:
        """Refuse files that could not be switched.

        Raises
        ------
        InstallationError
            If so.
        """
        self.versions.check()

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

    def folders(self) -> list[Path]:
        """Give the folders that a swap writes to, as far as they exist."""
        return self.versions.folders()

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
            send_signal(Path(self.settings.pid_file), self._number())

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
            raise InstallationError(
                f"there is no signal {self.settings.signal!r}: HUP is usual", code="reload"
            ) from error
