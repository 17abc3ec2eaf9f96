"""nginx: its own configuration test, then a reload."""

import re
import shlex
import signal
from pathlib import Path
from typing import Final, Literal

from certforecast.execution.installers import Found, Installer
from certforecast.execution.installers.nginx_config import sites
from certforecast.execution.installers.pair import PairInstaller, PairSection, leaf_of
from certforecast.execution.installers.processes import run, running, send_signal

__all__ = ["NginxInstaller", "NginxInstallerSettings"]

#: Where the master's process id stands, by server, as far as a signal got there.
_pid_files: dict[str, Path] = {}

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

    @classmethod
    def discover(cls) -> list[Found]:
        """Find the certificates of the servers that run, as ``nginx -T`` shows their configuration."""
        found = []
        for process in running("nginx"):
            more = {"binary": process.arguments[0]}
            for name, option in (("config", "-c"), ("prefix", "-p")):
                if (value := process.option(option)) is not None:
                    more[name] = value
            section = cls.model_validate({"kind": "nginx", "certificate": "", "key": "", **more})
            told = run(section.command("-T"), code="config")
            for site in sites(told, Path(section.config).parent):
                settings = {"kind": "nginx", "certificate": site.certificate, "key": site.key, **more}
                found.append(Found("nginx", site.names, site.addresses, leaf_of(site.certificate), settings))
        return found

    def command(self, *what: str) -> list[str]:
        """Give a command of the server."""
        prefix = ["-p", self.prefix] if self.prefix is not None else []
        return [self.binary, "-c", self.config, *prefix, *what]


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
        return shlex.join(self.settings.command())

    def check_reload(self) -> None:
        """Refuse if the process that a reload would signal is not there, or not ours to signal.

        Raises
        ------
        InstallationError
            If so, or if nginx refuses its configuration, which says where the process is.
        """
        self._signal(0, self._pid_file())

    def precheck(self) -> None:
        """Refuse files that cannot be switched, a broken configuration, and a reload that cannot work.

        Raises
        ------
        InstallationError
            If so.
        """
        self.check_files()
        self.check_reload()  # which has nginx test its configuration, too

    def test(self) -> None:
        """Run ``nginx -t``.

        Raises
        ------
        InstallationError
            If it refuses.
        """
        self._run("-t")

    def reload(self) -> None:
        """Send SIGHUP to the master, as ``nginx -s reload`` does after it has read all files once more.

        Old workers answer for some 100 ms after it.

        Raises
        ------
        InstallationError
            If nginx does not run, or is not ours to signal.
        """
        self._signal(signal.SIGHUP, _pid_files.get(self.server) or self._pid_file())

    def describe_reload(self) -> list[str]:
        """Say how the server would be tested and reloaded."""
        return [f"run {shlex.join(self.settings.command('-t'))}", "send HUP to nginx's master process"]

    def _pid_file(self) -> Path:
        told = _PID.search(_uncommented(self._run("-T")))
        built = run([self.settings.binary, "-V"])
        pid = told.group(1).strip("\"' ") if told else _built_with(built, "pid-path", "/run/nginx.pid")
        prefix = self.settings.prefix or _built_with(built, "prefix", "/usr/local/nginx")
        return Path(prefix) / pid

    def _signal(self, number: int, pid_file: Path) -> None:
        _pid_files.pop(self.server, None)
        send_signal(pid_file, number)
        _pid_files[self.server] = pid_file

    def _run(self, what: str) -> str:
        return run(self.settings.command(what), timeout_s=self.settings.timeout_s, code="config")


def _uncommented(configuration: str) -> str:
    return re.sub(r"(?m)^\s*#.*$", "", configuration)


def _built_with(told: str, option: str, default: str) -> str:
    found = re.search(rf"--{option}=(\S+)", told)
    return found.group(1) if found else default
