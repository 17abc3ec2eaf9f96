"""Plain files, and a reload by command or signal: most servers are served by this."""

from typing import Literal

from certforecast.execution.installers import Installer
from certforecast.execution.installers.pair import PairInstaller, PairSection
from certforecast.execution.installers.reloading import Reload, ReloadSection

__all__ = ["FilesInstaller", "FilesInstallerSettings"]


class FilesInstallerSettings(PairSection, ReloadSection):
    """Plain files and a reload: a command, or a signal to the process in a pid file."""

    kind: Literal["files"]

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
        self._reload = Reload(settings)

    @property
    def server(self) -> str:
        """What one reload reloads, in words."""
        return "; ".join(self.describe_reload()) or self.settings.certificate

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
        self._reload.check()

    def test(self) -> None:
        """Do nothing: plain files have no test of their own."""

    def reload(self) -> None:
        """Run the reload command and send the signal, whichever is set.

        Raises
        ------
        InstallationError
            If the command fails, or the process is not there.
        """
        self._reload.run()

    def describe_reload(self) -> list[str]:
        """Say how the server would be reloaded."""
        return self._reload.describe()
