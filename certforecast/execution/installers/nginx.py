"""nginx: its own configuration test, then a reload."""

import re
import shlex
from pathlib import Path
from typing import Final, Literal

from certforecast.errors import InstallationError
from certforecast.execution.installers import Installer
from certforecast.execution.installers.pair import PairInstaller, PairSection
from certforecast.execution.installers.processes import run, send_signal

__all__ = ["NginxInstaller", "NginxInstallerSettings"]

_PID: Final = re.compile(r"^\s*(?:[^#\n]*;\s*)?pid\s+([^;]+);", re.MULTILINE)


class NginxInstallerSettings(PairSection):
    """nginx: its own configuration test, then a reload."""

    kind: Literal["nginx"]
    config: str = "/etc/nginx/nginx.conf"
    prefix: str | None = None
    binary: str = "nginx"

    def open(self, name: str) -> Installer:
        """Give the installer of this section."""
        return NginxInstaller(self, name=name)


class NginxInstaller(PairInstaller):
    """One certificate of an nginx.

    Parameters
    ----------
    settings : NginxInstallerSettings
        Its texts without fields to fill in.
    name : str
        The lineage's name.
    """

    def __init__(self, settings: NginxInstallerSettings, *, name: str) -> None:
        super().__init__(settings, name=name)
        self.settings = settings

    @property
    def server(self) -> str:
        """What one reload reloads, in words."""
        return shlex.join(self._command())

    def check_reload(self) -> None:
        """Refuse if the process that ``nginx -s reload`` would signal is not there, or not ours to signal.

        Raises
        ------
        InstallationError
            If so, or if nginx refuses its configuration, which says where the process is.
        """
        told = _PID.search(_uncommented(self._run("-T")))
        built = run([self.settings.binary, "-V"])
        pid = told.group(1).strip("\"' ") if told else _built_with(built, "pid-path", "/run/nginx.pid")
        prefix = self.settings.prefix or _built_with(built, "prefix", "/usr/local/nginx")
        send_signal(Path(prefix) / pid, 0)

    def test(self) -> None:
        """Run ``nginx -t``.

        Raises
        ------
        InstallationError
            If it refuses.
        """
        self._run("-t")

    def reload(self) -> None:
        """Run ``nginx -s reload``; old workers answer for some 100 ms after it.

        Raises
        ------
        InstallationError
            If nginx does not run, or refuses its configuration.
        """
        run(self._command("-s", "reload"))

    def describe_reload(self) -> list[str]:
        """Say how the server would be tested and reloaded."""
        return [f"run {shlex.join(self._command(*what))}" for what in (["-t"], ["-s", "reload"])]

    def _run(self, what: str) -> str:
        try:
            return run(self._command(what))
        except InstallationError as error:
            raise InstallationError(str(error), code="config") from error

    def _command(self, *what: str) -> list[str]:
        prefix = ["-p", self.settings.prefix] if self.settings.prefix is not None else []
        return [self.settings.binary, "-c", self.settings.config, *prefix, *what]


def _uncommented(configuration: str) -> str:
    return re.sub(r"(?m)^\s*#.*$", "", configuration)


def _built_with(told: str, option: str, default: str) -> str:
    found = re.search(rf"--{option}=(\S+)", told)
    return found.group(1) if found else default
