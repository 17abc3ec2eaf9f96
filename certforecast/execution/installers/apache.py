"""Apache's httpd: a configuration test that misses a mismatched key, and a reload that then kills the server.

So every pair of the configuration is compared before a reload, and after it the server's main process is
looked at. If it has ended, it is started again once it is gone: an earlier start does nothing.
"""

import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from certforecast.errors import InstallationError
from certforecast.execution.checks import check_pair
from certforecast.execution.installers import Found, Installer
from certforecast.execution.installers.apache_config import Virtual, virtual_hosts
from certforecast.execution.installers.pair import PairInstaller, PairSection, leaf_of
from certforecast.execution.installers.processes import is_alive, run, running, send_signal

__all__ = ["ApacheInstaller", "ApacheInstallerSettings"]

_PID_FILE: Final = re.compile(r'^PidFile: "(.+)"', re.MULTILINE)
_DEFINE: Final = re.compile(r"^Define: ([^=\s]+)=?(.*)$", re.MULTILINE)
_ROOT: Final = re.compile(r'^ServerRoot: "(.+)"', re.MULTILINE)
_FILE: Final = re.compile(r"^\s*\(.*?\) (/.+)$", re.MULTILINE)

#: Seconds after a reload within which a server that does not survive it is found out, and between two looks.
_WATCH_S: Final = 1.0
_PAUSE_S: Final = 0.05


class ApacheInstallerSettings(PairSection):
    """Apache httpd: every key compared, its own configuration test, then a graceful reload."""

    kind: Literal["apache"]
    binary: str = Field("apache2ctl", description="apache2ctl, apachectl, or the server itself")
    config: str | None = Field(None, description="what -f gets; default: what the binary takes by itself")
    start: list[str] = Field(
        default=[],
        description="how it is started if a reload kills it, such as systemctl start apache2; "
        "default: its own -k start",
    )

    def open(self, name: str) -> Installer:
        """Give the installer of this section."""
        return ApacheInstaller(self, name=name)

    @classmethod
    def discover(cls) -> list[Found]:
        """Find the certificates of the servers that run, and of the usual configuration."""
        found: list[Found] = []
        for more in _servers():
            section = cls.model_validate({"kind": "apache", "certificate": "", "key": "", **more})
            for site in _Control(section).pairs():
                settings = {"kind": "apache", "certificate": site.certificate, "key": site.key, **more}
                found.append(
                    Found("apache", site.names, (site.address,), leaf_of(site.certificate), settings)
                )
        return found


class ApacheInstaller(PairInstaller):
    """One certificate of an Apache httpd.

    Parameters
    ----------
    settings : ApacheInstallerSettings
        Its texts without fields to fill in.
    name : str
        The lineage's name.
    """

    def __init__(self, settings: ApacheInstallerSettings, *, name: str) -> None:
        super().__init__(settings, name=name)
        self.settings = settings
        self._control = _Control(settings)

    @property
    def server(self) -> str:
        """What one reload reloads, in words."""
        return shlex.join(self._control.command())

    def check_reload(self) -> None:
        """Refuse if the main process is not there, or not ours to signal.

        Raises
        ------
        InstallationError
            If so, or if the server refuses its configuration, which says where the process is.
        """
        send_signal(self._control.pid_file(), 0)

    def test(self) -> None:
        """Compare every certificate of the configuration with its key, then run ``-t``.

        Raises
        ------
        InstallationError
            If one does not match: ``-t`` takes it, and the reload would kill the server. Or if it refuses.
        """
        self._control.run("-t")
        for certificate, key in {(site.certificate, site.key) for site in self._control.pairs()} | {
            (str(self.versions.certificate), str(self.versions.key))
        }:
            try:
                check_pair(Path(certificate).read_bytes(), Path(key).read_bytes())
            except OSError as error:
                raise InstallationError(
                    f"{error.filename} cannot be read: {error.strerror}", code="config"
                ) from error
            except InstallationError as error:
                raise InstallationError(
                    f"a reload would end the server: {certificate}: {error}", code="config"
                ) from error

    def reload(self) -> None:
        """Run ``-k graceful`` and see that the server outlives it; a server that is gone is started again.

        Raises
        ------
        InstallationError
            If it does not run, refuses its configuration, or has to be started again.
        """
        pid_file = self._control.pid_file()
        try:
            pid = send_signal(pid_file, 0)
        except InstallationError:
            pid = None
        if pid is None or not is_alive(pid):  # as after a reload that it did not survive
            self._start()
            return
        self._control.run("-k", "graceful", code="reload")
        ends = time.monotonic() + _WATCH_S
        while time.monotonic() < ends:
            if not is_alive(pid):
                self._start()
                raise InstallationError("the server ended at the reload and was started again", code="reload")
            time.sleep(_PAUSE_S)

    def describe_reload(self) -> list[str]:
        """Say how the server would be tested and reloaded."""
        return [f"run {shlex.join(self._control.command(*what))}" for what in (["-t"], ["-k", "graceful"])]

    def _start(self) -> None:
        """Start the server, again and again until nothing of the old one is in the way."""
        pid_file, refused = self._control.pid_file(), ""
        command = self.settings.start or self._control.command("-k", "start")
        ends = time.monotonic() + self.settings.timeout_s
        while time.monotonic() < ends:
            # The id of a process that has ended, but is not waited for, would count as a running server.
            pid_file.unlink(missing_ok=True)
            try:
                run(command, timeout_s=self.settings.timeout_s)
            except InstallationError as error:
                refused = f": {error}"
            if self._is_up(pid_file, min(ends, time.monotonic() + _WATCH_S)):
                return
        raise InstallationError(
            f"the server is gone and cannot be started, look at it now{refused}", code="reload"
        )

    def _is_up(self, pid_file: Path, until: float) -> bool:
        """Wait until the server has written its process id."""
        while time.monotonic() < until:
            try:
                if is_alive(send_signal(pid_file, 0)):
                    return True
            except InstallationError:
                time.sleep(_PAUSE_S)
        return False


class _Control:
    """The server's own program, and what it says of its configuration."""

    def __init__(self, settings: ApacheInstallerSettings) -> None:
        self._settings = settings

    def command(self, *what: str) -> list[str]:
        """Give a command of the server."""
        config = ["-f", self._settings.config] if self._settings.config is not None else []
        return [self._settings.binary, *config, *what]

    def run(self, *what: str, code: str = "config") -> str:
        """Run a command of the server, and give what it wrote."""
        return run(self.command(*what), timeout_s=self._settings.timeout_s, code=code)

    def pid_file(self) -> Path:
        """Give where the server writes the id of its main process."""
        told = self.run("-t", "-D", "DUMP_RUN_CFG")
        found = _PID_FILE.search(told)
        if found is None:
            raise InstallationError(f"{shlex.join(self.command())} does not say its PidFile", code="config")
        return Path(found[1])

    def pairs(self) -> Iterator[Virtual]:
        """Give the virtual hosts with a certificate, files as they are named in the configuration."""
        told = self.run("-t", "-D", "DUMP_RUN_CFG", "-D", "DUMP_INCLUDES")
        root = _ROOT.search(told)
        files = [Path(path) for path in dict.fromkeys(_FILE.findall(told))]
        return virtual_hosts(files, dict(_DEFINE.findall(told)), Path(root[1] if root else "/"))


def _servers() -> list[dict[str, str]]:
    """Give the settings that tell apart the servers of this machine."""
    found: list[dict[str, str]] = []
    for process in running("apache2", "httpd"):
        config = process.option("-f")
        more = {"binary": process.arguments[0], "config": config} if config is not None else {}
        if more not in found:
            found.append(more)
    return found
