"""PostgreSQL: a reload that says nothing, and goes on with the old certificate if the new one is no good.

So what it would refuse is looked for before, by its own rules, and only the wire tells whether it took it.
"""

import os
import shlex
import stat
from pathlib import Path
from typing import ClassVar, Final, Literal

from pydantic import Field

from certforecast.errors import InstallationError
from certforecast.execution.installers import Found, Installer, StartTls
from certforecast.execution.installers.pair import PairInstaller, PairSection, leaf_of
from certforecast.execution.installers.processes import Process, run, running, send_signal
from certforecast.execution.installers.reloading import Reload, ReloadSection

__all__ = ["PostgresqlInstaller", "PostgresqlInstallerSettings"]


class PostgresqlInstallerSettings(PairSection, ReloadSection):
    """PostgreSQL: the files held to its own rules, then a reload by signal or command."""

    speaks: ClassVar[StartTls] = "postgres"

    kind: Literal["postgresql"]
    data: str = Field(description="the data directory, whose owner the server runs as")

    def open(self, name: str) -> Installer:
        """Give the installer of this section."""
        return PostgresqlInstaller(self, name=name)

    @classmethod
    def discover(cls) -> list[Found]:
        """Find the certificates of the servers that run and have TLS on."""
        found = []
        for process in running("postgres", "postmaster", of_any=os.geteuid() == 0):
            said = {name: _asked(process, name) for name in _NAMES}
            if said["ssl"] != "on":
                continue
            data = Path(said["data_directory"])
            certificate, key = (str(data / said[name]) for name in ("ssl_cert_file", "ssl_key_file"))
            settings = {"kind": "postgresql", "certificate": certificate, "key": key, "data": str(data)}
            hosts = [host.strip() for host in said["listen_addresses"].split(",") if host.strip()]
            addresses = tuple(f"{host}:{said['port']}" for host in hosts)
            found.append(Found("postgresql", (), addresses, leaf_of(certificate), settings))
        return found


_NAMES: Final = ("ssl", "ssl_cert_file", "ssl_key_file", "data_directory", "port", "listen_addresses")


class PostgresqlInstaller(PairInstaller):
    """The certificate of a PostgreSQL server.

    Parameters
    ----------
    settings : PostgresqlInstallerSettings
        Its texts without fields to fill in.
    name : str
        The lineage's name.
    """

    def __init__(self, settings: PostgresqlInstallerSettings, *, name: str) -> None:
        super().__init__(settings, name=name)
        self.settings = settings
        self._reload = Reload(settings)
        self._pid_file = Path(settings.data) / "postmaster.pid"

    @property
    def server(self) -> str:
        """What one reload reloads, in words."""
        return f"postgresql at {self.settings.data}"

    def check_reload(self) -> None:
        """Refuse if the server does not run, or is not ours to signal.

        Raises
        ------
        InstallationError
            If so.
        """
        if self._reload:
            self._reload.check()
        else:
            send_signal(self._pid_file, 0)

    def test(self) -> None:
        """Hold the files to PostgreSQL's rules: a pair, and a key that only the server's user may read.

        Raises
        ------
        InstallationError
            If they break one: the server would go on with what it has and say so only in its log.
        """
        self.versions.check_match()
        key = Path(self.settings.key)
        try:
            held, server = key.stat(), Path(self.settings.data).stat().st_uid
        except OSError as error:
            raise InstallationError(
                f"{error.filename} cannot be read: {error.strerror}", code="permission"
            ) from error
        mode = stat.S_IMODE(held.st_mode)
        if held.st_uid not in (0, server):
            raise InstallationError(
                f"{key} belongs to user {held.st_uid}: postgresql wants its own ({server}) or root's",
                code="permission",
            )
        if mode & (0o037 if held.st_uid == 0 else 0o077):
            raise InstallationError(
                f"{key} has mode {mode:04o}: postgresql wants 0600, or 0640 if root owns it",
                code="permission",
            )

    def reload(self) -> None:
        """Have the server read its configuration again: by SIGHUP to the postmaster unless set otherwise.

        Raises
        ------
        InstallationError
            If it cannot be told.
        """
        if self._reload:
            self._reload.run()
        else:
            send_signal(self._pid_file, 1)

    def describe_reload(self) -> list[str]:
        """Say how the server would be reloaded."""
        return self._reload.describe() or [f"send HUP to the process in {self._pid_file}"]


def _asked(process: Process, name: str) -> str:
    """Ask a server's own program for a setting, as the user that the server runs as."""
    program, *options = process.arguments
    command = [program, "-C", name, *options]
    if os.geteuid() == 0 and process.user != 0:
        command = ["setpriv", f"--reuid={process.user}", "--clear-groups", *command]
    try:
        return run(command, code="config").strip().splitlines()[-1]
    except IndexError as error:
        raise InstallationError(f"{shlex.join(command)} says nothing", code="config") from error
