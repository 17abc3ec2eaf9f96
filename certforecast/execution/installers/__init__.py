"""Putting a new certificate in place: swap, test, reload, and back again.

A kind of installer is a subclass of `InstallerSection` with what can be set for it. Others add theirs by an
entry point in the group ``certforecast.installers``; nothing else has to know of it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Protocol

from pydantic import Field

from certforecast.errors import InstallationError
from certforecast.history.sources.endpoints import SCHEMES
from certforecast.settings import InstallerSettings

__all__ = ["Found", "Installer", "InstallerSection", "StartTls", "make_installer"]

#: What is spoken until TLS begins; ``tls`` where it begins at once.
StartTls = Literal["tls", "smtp", "imap", "pop3", "ldap", "postgres", "mysql"]

#: What is spoken on ports that say so by themselves.
_BY_PORT: Final[dict[int, str]] = {port: protocol for protocol, port in SCHEMES.values()} | {587: "smtp"}


class Installer(Protocol):
    """How one kind of server is given its certificate.

    Every method may be called again after it was cut off half-way, and then does what is left to do.
    All but `current`, `describe` and `folders` raise :class:`~certforecast.errors.InstallationError`, with
    the code ``config``, ``permission`` or ``reload`` where it is known before anything is touched. Of what
    is not on this machine, `current` raises too if it cannot be asked (``unreachable``): that nothing is in
    place must not be concluded from that. Where the server has no test or reload of its own, `test` and
    `reload` do nothing, and `folders` gives those of this machine only, or none.
    """

    @property
    def server(self) -> str:
        """What one reload reloads, in words: installers that give the same text share a server."""
        ...

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


@dataclass(frozen=True, slots=True)
class Found:
    """A certificate that a server uses, as its configuration says.

    Attributes
    ----------
    kind : str
        Of installer.
    names : tuple of str
        The server names it is for; may be empty.
    addresses : tuple of str
        Where it is served, as ``host:port``; ``*`` stands for every address. Elsewhere what uses it.
    fingerprint : str or None
        SHA-256 of the leaf in place; None if it cannot be read.
    settings : dict
        What a section ``[installers.NAME]`` would hold for it, its kind included.
    """

    kind: str
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    fingerprint: str | None
    settings: dict[str, Any] = field(default_factory=dict)


class InstallerSection(InstallerSettings, ABC):
    """What can be set for one kind of installer.

    Texts may hold the fields ``{name}`` (the lineage's name), ``{host}`` and ``{port}``.
    """

    #: What such a server speaks first on ports that say nothing by themselves.
    speaks: ClassVar[StartTls] = "tls"

    starttls: StartTls | None = Field(
        None, description="what the server speaks until TLS begins, on every port; default: as usual there"
    )
    timeout_s: float = Field(30.0, gt=0, description="how long a command of the server may take")

    def starttls_at(self, port: int) -> str:
        """Say what is spoken at a port until TLS begins; ``tls`` if it begins at once."""
        return self.starttls or _BY_PORT.get(port, self.speaks)

    @abstractmethod
    def open(self, name: str) -> Installer:
        """Give the installer of this section, its fields filled in, for the lineage of a name."""

    @classmethod
    def discover(cls) -> list[Found]:
        """Find the certificates that servers of this kind use on this machine; none where that is unknown.

        Raises
        ------
        InstallationError
            If a server is there, and what it uses cannot be told.
        """
        return []

    @classmethod
    def discover_at(cls, place: str | None) -> list[Found]:
        """Find certificates where somebody says to look.

        Parameters
        ----------
        place : str or None
            What that is depends on the kind: a folder, a region, a namespace. None stands for the usual one.

        Raises
        ------
        InstallationError
            If it cannot be looked through, or nothing can be named for this kind.
        """
        if place is not None:
            raise InstallationError(
                f"{place!r} cannot be looked through: its servers say themselves what they use", code="config"
            )
        return cls.discover()


def make_installer(section: InstallerSettings, *, name: str, host: str, port: int) -> Installer:
    """Make the installer of one server from its section of the settings.

    Parameters
    ----------
    section : InstallerSection
        Its texts may hold ``{name}``, ``{host}`` and ``{port}``.
    name : str
        The lineage's name.
    host, port : str, int
        Where the certificate is served.

    Raises
    ------
    InstallationError
        If `name` or `host` cannot be part of a path, or the section is of no kind that is known.
    """
    for text in (name, host):
        if not text or "/" in text or "\0" in text or text in (".", ".."):
            raise InstallationError(f"{text!r} cannot be part of a path: give the lineage another name")
    if not isinstance(section, InstallerSection):
        raise InstallationError(f"there is no installer of kind {section.kind!r}", code="config")
    values = {"{name}": name, "{host}": host, "{port}": str(port)}
    return type(section).model_validate(_filled(section.model_dump(), values)).open(name)


def _filled(value: Any, values: dict[str, str]) -> Any:
    """Fill in the fields of all texts, however deep."""
    match value:
        case str():
            # Not str.format: commands and paths may hold braces of their own.
            for field_name, text in values.items():
                value = value.replace(field_name, text)
            return value
        case list():
            return [_filled(part, values) for part in value]
        case dict():
            return {key: _filled(part, values) for key, part in value.items()}
    return value
