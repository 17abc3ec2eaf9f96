"""HAProxy: a certificate changed in the running process by its runtime API, or a reload by signal.

Either way the file is written first: what the runtime API alone is told is forgotten at the next restart.
"""

import contextlib
import re
import shlex
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from certforecast.errors import InstallationError
from certforecast.execution.installers import Found, Installer
from certforecast.execution.installers.pair import PairInstaller, PairSection, leaf_of
from certforecast.execution.installers.processes import run, running
from certforecast.execution.installers.reloading import Reload, ReloadSection

__all__ = ["HaproxyInstaller", "HaproxyInstallerSettings"]

_BIND: Final = re.compile(r"^\s*bind\s+(\S+)\s(.*\bssl\b.*)$", re.MULTILINE)
_CRT: Final = re.compile(r"\bcrt\s+(\S+)")
_BASE: Final = re.compile(r"^\s*crt-base\s+(\S+)", re.MULTILINE)

#: Bytes of an answer that is read; longer ones are no answer to what we ask.
_LIMIT: Final = 1 << 20


class HaproxyInstallerSettings(PairSection, ReloadSection):
    """HAProxy: its own test, then its runtime API, or a reload by signal or command."""

    kind: Literal["haproxy"]
    config: str = Field("/etc/haproxy/haproxy.cfg", description="file or folder, as -f gets it")
    binary: str = "haproxy"
    socket: str | None = Field(
        None, description="its stats socket, of level admin: the certificate is changed without a reload"
    )
    crt: str | None = Field(
        None, description="what the runtime API calls the certificate; default: the path in `certificate`"
    )
    signal: str = "USR2"

    def open(self, name: str) -> Installer:
        """Give the installer of this section."""
        return HaproxyInstaller(self, name=name)

    @classmethod
    def discover(cls) -> list[Found]:
        """Find the certificates of the servers that run with a configuration file."""
        found = []
        for process in running("haproxy"):
            if (config := process.option("-f")) is None:
                continue
            try:
                text = Path(config).read_text(encoding="utf-8", errors="replace")
            except OSError as error:
                raise InstallationError(
                    f"{config} cannot be read: {error.strerror}", code="config"
                ) from error
            more: dict[str, str] = {"config": config, "binary": process.arguments[0]}
            if stats := re.search(r"^\s*stats\s+socket\s+(/\S+).*\blevel\s+admin\b", text, re.MULTILINE):
                more["socket"] = stats[1]
            elif (pid_file := process.option("-p")) is not None:
                more["pid_file"] = pid_file
            for address, path in _bound(text):
                settings = {"kind": "haproxy", "certificate": str(path), "key": str(path), **more}
                found.append(Found("haproxy", (), (address,), leaf_of(path), settings))
        return found


class HaproxyInstaller(PairInstaller):
    """One certificate of a HAProxy, usually one file with the key in it.

    Parameters
    ----------
    settings : HaproxyInstallerSettings
        Its texts without fields to fill in.
    name : str
        The lineage's name.
    """

    def __init__(self, settings: HaproxyInstallerSettings, *, name: str) -> None:
        super().__init__(settings, name=name)
        self.settings = settings
        self._reload = Reload(settings)

    @property
    def server(self) -> str:
        """What one reload reloads, in words."""
        if self.settings.socket is not None:
            return f"{self.settings.socket} {self._crt}"
        return f"haproxy with {self.settings.config}"

    def check_reload(self) -> None:
        """Refuse if there is no way to tell the server, or it does not use this certificate.

        Raises
        ------
        InstallationError
            If so.
        """
        if self.settings.socket is None:
            if not self._reload:
                raise InstallationError(
                    "nothing says how haproxy is told: set its socket, its pid_file (of the master), or a"
                    " reload command",
                    code="config",
                )
            self._reload.check()
        elif f"Filename: {self._crt}" not in (told := self._ask(f"show ssl cert {self._crt}")):
            raise InstallationError(
                f"the runtime API at {self.settings.socket} knows no certificate {self._crt}: set crt to one"
                f" of 'show ssl cert': {told.strip()}",
                code="config",
            )

    def test(self) -> None:
        """Run ``haproxy -c``.

        Raises
        ------
        InstallationError
            If it refuses.
        """
        run(self._check(), timeout_s=self.settings.timeout_s, code="config")

    def reload(self) -> None:
        """Give the running process what is in place, or have it reload.

        Raises
        ------
        InstallationError
            If the server refuses it; then it goes on as it was.
        """
        if self.settings.socket is None:
            self._reload.run()
            return
        files = dict.fromkeys([self.versions.certificate, self.versions.key])
        content = "\n".join(path.read_text(encoding="ascii") for path in files if path is not None)
        # An empty line ends what is handed over.
        pem = "\n".join(line for line in content.splitlines() if line.strip())
        with contextlib.suppress(InstallationError):
            self._ask(f"abort ssl cert {self._crt}")  # of somebody who was cut off
        told = self._ask(f"set ssl cert {self._crt} <<\n{pem}\n", quoted=f"set ssl cert {self._crt}")
        if "Transaction created" not in told and "Transaction updated" not in told:
            raise InstallationError(f"haproxy does not take {self._crt}: {told.strip()}", code="reload")
        told = self._ask(f"commit ssl cert {self._crt}")
        if "Success" not in told:
            self._ask(f"abort ssl cert {self._crt}")
            raise InstallationError(
                f"haproxy refuses {self._crt} and goes on as before: {' '.join(told.split())}", code="reload"
            )

    def describe_reload(self) -> list[str]:
        """Say how the server would be tested and reloaded."""
        check = f"run {shlex.join(self._check())}"
        if self.settings.socket is not None:
            return [check, f"set and commit ssl cert {self._crt} at {self.settings.socket}"]
        return [check, *self._reload.describe()]

    @property
    def _crt(self) -> str:
        return self.settings.crt or self.settings.certificate

    def _check(self) -> list[str]:
        return [self.settings.binary, "-c", "-f", self.settings.config]

    def _ask(self, command: str, quoted: str | None = None) -> str:
        """Ask the runtime API; what is asked may hold a key and is never part of an error."""
        place, ends = str(self.settings.socket), time.monotonic() + self.settings.timeout_s
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(self.settings.timeout_s)
                connection.connect(place)
                connection.sendall(command.encode("ascii") + b"\n")
                told = b""
                while (chunk := connection.recv(4096)) and len(told) < _LIMIT:
                    told += chunk
                    connection.settimeout(max(ends - time.monotonic(), 0.001))
        except OSError as error:
            raise InstallationError(
                f"{quoted or command}: no answer at {place}: {error.strerror or 'timed out'}: is haproxy up,"
                " and may we use its socket?",
                code="reload",
            ) from error
        if b"Permission denied" in told:
            raise InstallationError(
                f"{place} is not of level admin: set 'stats socket ... level admin'", code="reload"
            )
        return told.decode("utf-8", errors="replace")


def _bound(text: str) -> Iterator[tuple[str, Path]]:
    """Give addresses and certificate files of a configuration; a folder stands for the files in it."""
    base = _BASE.search(text)
    root = Path(base[1]) if base else Path("/")
    for address, rest in _BIND.findall(text):
        for crt in _CRT.findall(rest):
            path = root / crt
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            for file in files:
                if not file.name.startswith(".") and file.suffix not in (".key", ".ocsp", ".sctl", ".issuer"):
                    yield address if not address.startswith(":") else f"*{address}", file
