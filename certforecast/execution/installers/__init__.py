"""Putting a new certificate in place: swap, test, reload, and back again."""

from pathlib import Path
from typing import Protocol

from certforecast.errors import InstallationError
from certforecast.execution.installers.files import FilesInstaller
from certforecast.execution.installers.nginx import NginxInstaller
from certforecast.settings import FilesInstallerSettings, InstallerSettings

__all__ = ["FilesInstaller", "Installer", "NginxInstaller", "make_installer"]


class Installer(Protocol):
    """How one kind of server is given its certificate.

    Every method may be called again after it was cut off half-way, and then does what is left to do.
    All but `current`, `describe` and `folders` raise :class:`~certforecast.errors.InstallationError`, with
    the code ``config``, ``permission`` or ``reload`` where it is known before anything is touched.
    """

    def current(self) -> str | None:
        """Give the fingerprint of the leaf in the certificate file; None if there is none."""

    def precheck(self) -> None:
        """Refuse what cannot end well, before anything is touched."""

    def check_files(self) -> None:
        """Refuse files that could not be switched, as part of `precheck`."""

    def check_reload(self) -> None:
        """Refuse a reload that cannot work, without reloading: by command, process and rights."""

    def folders(self) -> list[Path]:
        """Give the folders that a swap writes to, as far as they exist."""

    def swap(self, chain_pem: bytes, key_pem: bytes) -> None:
        """Put a new certificate and its key in place, both at one moment; keep what was there."""

    def test(self) -> None:
        """Run the server's own test of its configuration."""

    def reload(self) -> None:
        """Make the server load what is in place."""

    def restore(self, fingerprint: str) -> None:
        """Switch back to a version that was in place before."""

    def describe(self) -> list[str]:
        """Say which files would be switched and which commands run."""


def make_installer(section: InstallerSettings, *, name: str, host: str, port: int) -> Installer:
    """Make the installer of one server from its section of the settings.

    Parameters
    ----------
    section : FilesInstallerSettings or NginxInstallerSettings
        Its texts may hold ``{name}``, ``{host}`` and ``{port}``.
    name : str
        The lineage's name.
    host, port : str, int
        Where the certificate is served.

    Raises
    ------
    InstallationError
        If `name` or `host` cannot be part of a path.
    """
    for text in (name, host):
        if not text or "/" in text or "\0" in text or text in (".", ".."):
            raise InstallationError(f"{text!r} cannot be part of a path: give the lineage another name")

    def filled(template: str) -> str:
        # Not str.format: commands and paths may hold braces of their own.
        for field, value in {"{name}": name, "{host}": host, "{port}": str(port)}.items():
            template = template.replace(field, value)
        return template

    texts = {
        key: [filled(part) for part in value] if isinstance(value, list) else filled(value)
        for key, value in section.model_dump(exclude={"kind"}, exclude_none=True).items()
    }
    resolved = section.model_copy(update=texts)
    if isinstance(resolved, FilesInstallerSettings):
        return FilesInstaller(resolved, name=name)
    return NginxInstaller(resolved, name=name)
