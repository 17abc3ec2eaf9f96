"""nginx: its own configuration test, then a reload."""

import shlex
from pathlib import Path

from certforecast.execution.installers.files import run
from certforecast.execution.installers.versions import Versions
from certforecast.settings import NginxInstallerSettings

__all__ = ["NginxInstaller"]


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
        self.versions.check()
        self.test()

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
        run(self._command("-t"))

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

    def _command(self, *what: str) -> list[str]:
        prefix = ["-p", self.settings.prefix] if self.settings.prefix is not None else []
        return [self.settings.binary, "-c", self.settings.config, *prefix, *what]
