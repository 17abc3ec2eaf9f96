"""nginx: its own configuration test, then a reload."""

import re
import shlex
from pathlib import Path
from typing import Final

from certforecast.errors import InstallationError
from certforecast.execution.installers.processes import run, send_signal
from certforecast.execution.installers.versions import Versions
from certforecast.settings import NginxInstallerSettings

__all__ = ["NginxInstaller"]

_PID: Final = re.compile(r"^\s*(?:[^#\n]*;\s*)?pid\s+([^;]+);", re.MULTILINE)


class NginxInstaller:
    """One certificate of an nginx.

    Parameters
    ----------
    settings : NginxInstallerSettings
        Its texts without fields to fill in.
    name : str
        The lineage's name.
    """

    def __init__(self, settings: NginxInstallerSettings, *, name: str) -> None:
        self.settings = settings
        self.versions = Versions(Path(settings.certificate), Path(settings.key), name)

    def current(self) -> str | None:
        """Give the fingerprint of the leaf in the certificate file; None if there is none."""
        return self.versions.current()

    def precheck(self) -> None:
        """Refuse files that cannot be switched, and a configuration that is broken already.

        Raises
        ------
        InstallationError
            If so.
        """
        self.check_files()
        self.test()

    def check_files(self) -> None:
        """Refuse files that could not be switched.

        Raises
        ------
        InstallationError
            If so.
        """
        self.versions.check()

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

    def folders(self) -> list[Path]:
        """Give the folders that a swap writes to, as far as they exist."""
        return self.versions.folders()

    def swap(self, chain_pem: bytes, key_pem: bytes) -> None:
        """Put a new certificate and its key in place, both at one moment; keep what was there."""
        self.versions.install(chain_pem, key_pem)

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

    def restore(self, fingerprint: str) -> None:
        """Switch back to a version that was in place before."""
        self.versions.restore(fingerprint)

    def describe(self) -> list[str]:
        """Say which files would be switched and which commands run."""
        paths = dict.fromkeys([self.settings.certificate, self.settings.key])
        commands = [self._command("-t"), self._command("-s", "reload")]
        return [f"switch {path}" for path in paths] + [f"run {shlex.join(command)}" for command in commands]

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
