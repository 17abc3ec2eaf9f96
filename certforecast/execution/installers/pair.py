"""What installers have in common that put a certificate and its key into files on this machine."""

from abc import ABC, abstractmethod
from pathlib import Path

from pydantic import Field

from certforecast.errors import InstallationError
from certforecast.execution.checks import leaf_fingerprint
from certforecast.execution.installers import InstallerSection
from certforecast.execution.installers.versions import Versions

__all__ = ["PairInstaller", "PairSection", "leaf_of"]


class PairSection(InstallerSection):
    """What can be set where a certificate and its key are files."""

    certificate: str = Field(description="the file with the full chain, leaf first")
    key: str = Field(
        description="the file with the private key; may be the same file as `certificate`; a PKCS#11 URI "
        "where the server reads its key from a token: then the certificate alone is switched"
    )


class PairInstaller(ABC):
    """A server that reads two files, or one: swapped at one moment, what was there before is kept.

    Parameters
    ----------
    settings : PairSection
        Its texts without fields to fill in.
    name : str
        The lineage's name.
    """

    def __init__(self, settings: PairSection, *, name: str) -> None:
        key = None if settings.key.startswith("pkcs11:") else Path(settings.key)
        self.versions = Versions(Path(settings.certificate), key, name)

    @property
    @abstractmethod
    def server(self) -> str:
        """What one reload reloads, in words."""

    def current(self) -> str | None:
        """Give the fingerprint of the leaf in the certificate file; None if there is none."""
        return self.versions.current()

    def precheck(self) -> None:
        """Refuse files that cannot be switched, a broken configuration, and a reload that cannot work.

        Raises
        ------
        InstallationError
            If so.
        """
        self.check_files()
        self.test()
        self.check_reload()

    def check_files(self) -> None:
        """Refuse files that could not be switched.

        Raises
        ------
        InstallationError
            If so.
        """
        self.versions.check()

    @abstractmethod
    def check_reload(self) -> None:
        """Refuse a reload that cannot work, without reloading."""

    def folders(self) -> list[Path]:
        """Give the folders that a swap writes to, as far as they exist."""
        return self.versions.folders()

    def swap(self, chain_pem: bytes, key_pem: bytes) -> None:
        """Put a new certificate and its key in place, both at one moment; keep what was there."""
        self.versions.install(chain_pem, key_pem)

    def key_in_place(self) -> bytes:
        """Give the private key that is in place, PEM, for a renewal that uses it again.

        Raises
        ------
        InstallationError
            If it cannot be read, or is in a token.
        """
        return self.versions.key_in_place()

    @abstractmethod
    def test(self) -> None:
        """Run the server's own test of its configuration."""

    @abstractmethod
    def reload(self) -> None:
        """Make the server load what is in place."""

    def restore(self, fingerprint: str) -> None:
        """Switch back to a version that was in place before."""
        self.versions.restore(fingerprint)

    def describe(self) -> list[str]:
        """Say which files would be switched and which commands run."""
        return [f"switch {path}" for path in self.versions.paths] + self.describe_reload()

    @abstractmethod
    def describe_reload(self) -> list[str]:
        """Say how the server would be tested and reloaded."""


def leaf_of(path: Path | str) -> str | None:
    """Give the fingerprint of the leaf in a file; None if there is none that can be read."""
    try:
        return leaf_fingerprint(Path(path).read_bytes())
    except (OSError, InstallationError):
        return None
