"""Files on another host, over SSH: most servers elsewhere are served by this."""

import shlex
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from pydantic import Field, model_validator

from certforecast.execution.checks import check_pair
from certforecast.execution.installers import Installer, InstallerSection
from certforecast.execution.installers.remote_versions import RemoteVersions
from certforecast.execution.installers.ssh_session import SshSection, SshSession, in_session

__all__ = ["SshInstaller", "SshInstallerSettings"]


class SshInstallerSettings(SshSection, InstallerSection):
    """Files on another host, over SSH, with the commands that test and reload its server."""

    kind: Literal["ssh"]
    certificate: str = Field(description="on the host: the file with the full chain, leaf first")
    key: str = Field(description="on the host: the file with the private key; may be the same file")
    test: list[str] = Field([], description="tests the server's configuration, such as nginx -t")
    reload: list[str] = Field([], description="reloads it, such as systemctl reload nginx")

    @model_validator(mode="after")
    def _paths_are_absolute(self) -> Self:
        for path in (self.certificate, self.key):
            if not path.startswith("/"):
                raise ValueError(f"{path} is not absolute: where a login begins may change")
        return self

    def open(self, name: str) -> Installer:
        """Give the installer of this section."""
        return SshInstaller(self, name=name)


class SshInstaller:
    """One certificate of a server on another host.

    Every method has a session of its own. Unlike that of files on this machine, `current` raises if the host
    cannot be asked: that nothing is in place must not be concluded from that.

    Parameters
    ----------
    settings : SshInstallerSettings
        Its texts without fields to fill in.
    name : str
        The lineage's name.
    """

    def __init__(self, settings: SshInstallerSettings, *, name: str) -> None:
        self._settings = settings
        self._name = name

    @property
    def server(self) -> str:
        """What one reload reloads, in words."""
        return "; ".join(self._describe_reload()) or self._at(self._settings.certificate)

    def current(self) -> str | None:
        """Give the fingerprint of the leaf in the certificate file; None if there is none.

        Raises
        ------
        InstallationError
            If the host cannot be asked.
        """
        return in_session(self._settings, lambda session: self._versions(session).current())

    def precheck(self) -> None:
        """Refuse files that cannot be switched, a reload that cannot work, and a broken configuration.

        Raises
        ------
        InstallationError
            If so.
        """

        async def check(session: SshSession) -> None:
            await self._check_files(session)
            await self._check_reload(session)
            await self._test(session)

        in_session(self._settings, check)

    def check_files(self) -> None:
        """Refuse files that could not be switched.

        Raises
        ------
        InstallationError
            If so.
        """
        in_session(self._settings, self._check_files)

    def check_reload(self) -> None:
        """Refuse a command that is not there.

        Raises
        ------
        InstallationError
            If so.
        """
        in_session(self._settings, self._check_reload)

    def folders(self) -> list[Path]:
        """Give no folder: none of this machine is written to."""
        return []

    def swap(self, chain_pem: bytes, key_pem: bytes) -> None:
        """Put a new certificate and its key in place, both at one moment; keep what was there.

        Raises
        ------
        InstallationError
            If they do not belong together, or the host cannot be reached or written to.
        """
        check_pair(chain_pem, key_pem)
        in_session(
            self._settings,
            lambda session: self._versions(session).install(chain_pem, key_pem),
            key_pem,
        )

    def test(self) -> None:
        """Run the test command.

        Raises
        ------
        InstallationError
            If it fails.
        """
        if self._settings.test:
            in_session(self._settings, self._test)

    def reload(self) -> None:
        """Run the reload command.

        Raises
        ------
        InstallationError
            If it fails.
        """
        command = self._settings.reload
        if command:
            in_session(self._settings, lambda session: session.run(command, code="reload"))

    def restore(self, fingerprint: str) -> None:
        """Switch back to a version that was in place before.

        Raises
        ------
        InstallationError
            If it is not kept, or the host cannot be reached or written to.
        """
        in_session(self._settings, lambda session: self._versions(session).restore(fingerprint))

    def describe(self) -> list[str]:
        """Say which files would be switched and which commands run."""
        paths = dict.fromkeys([self._settings.certificate, self._settings.key])
        return [f"switch {self._at(path)}" for path in paths] + self._describe_reload()

    def _describe_reload(self) -> list[str]:
        commands = [self._settings.test, self._settings.reload]
        return [self._at(f"run {shlex.join(command)}") for command in commands if command]

    def _at(self, what: str) -> str:
        return f"{what} at {self._settings.user}@{self._settings.host}:{self._settings.port}"

    def _versions(self, session: SshSession) -> RemoteVersions:
        certificate, key = (PurePosixPath(path) for path in (self._settings.certificate, self._settings.key))
        return RemoteVersions(session.files, certificate, key, self._name)

    async def _check_files(self, session: SshSession) -> None:
        await self._versions(session).check()
        if self._settings.test or self._settings.reload:  # else we may be allowed to move files only
            for path in dict.fromkeys([self._settings.certificate, self._settings.key]):
                folder = str(PurePosixPath(path).parent)
                await session.run(["test", "-w", folder, "-a", "-x", folder], code="permission")

    async def _check_reload(self, session: SshSession) -> None:
        if self._settings.reload:
            await session.run(["command", "-v", self._settings.reload[0]], code="reload")

    async def _test(self, session: SshSession) -> None:
        if self._settings.test:
            await session.run(self._settings.test, code="config")
