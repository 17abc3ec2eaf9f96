"""Dovecot: its own reading of its configuration, then a reload."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final, Literal

from certforecast.execution.installers import Found, Installer, StartTls
from certforecast.execution.installers.pair import PairInstaller, PairSection, leaf_of
from certforecast.execution.installers.processes import run, running, send_signal

__all__ = ["DovecotInstaller", "DovecotInstallerSettings"]

_USUAL: Final = "/etc/dovecot/dovecot.conf"

#: Settings that name a certificate and its key: of Dovecot 2.4, and of those before.
_PAIRS: Final = (("ssl_server_cert_file", "ssl_server_key_file"), ("ssl_cert", "ssl_key"))


class DovecotInstallerSettings(PairSection):
    """Dovecot: ``doveconf``, then ``doveadm reload``."""

    speaks: ClassVar[StartTls] = "imap"

    kind: Literal["dovecot"]
    config: str = _USUAL

    def open(self, name: str) -> Installer:
        """Give the installer of this section."""
        return DovecotInstaller(self, name=name)

    @classmethod
    def discover(cls) -> list[Found]:
        """Find the certificates of the servers that run."""
        found = []
        for process in running("dovecot"):
            config = process.option("-c") or _USUAL
            for names, certificate, key in _used(config):
                settings = {"kind": "dovecot", "certificate": certificate, "key": key, "config": config}
                found.append(Found("dovecot", names, (), leaf_of(certificate), settings))
        return found


class DovecotInstaller(PairInstaller):
    """A certificate of a Dovecot.

    Parameters
    ----------
    settings : DovecotInstallerSettings
        Its texts without fields to fill in.
    name : str
        The lineage's name.
    """

    def __init__(self, settings: DovecotInstallerSettings, *, name: str) -> None:
        super().__init__(settings, name=name)
        self.settings = settings

    @property
    def server(self) -> str:
        """What one reload reloads, in words."""
        return f"dovecot with {self.settings.config}"

    def check_reload(self) -> None:
        """Refuse if the master process is not there, or not ours to signal.

        Raises
        ------
        InstallationError
            If so, or if Dovecot refuses its configuration, which says where the process is.
        """
        base = self._doveconf("-h", "base_dir").strip()
        send_signal(Path(base) / "master.pid", 0)

    def test(self) -> None:
        """Compare certificate and key, which Dovecot does not, then have it read its configuration.

        Raises
        ------
        InstallationError
            If they do not match (logins under TLS would fail), or Dovecot refuses.
        """
        self.versions.check_match()
        self._doveconf("-n")

    def reload(self) -> None:
        """Run ``doveadm reload``.

        Raises
        ------
        InstallationError
            If Dovecot does not run, or refuses its configuration.
        """
        run(self._reload(), timeout_s=self.settings.timeout_s, code="reload")

    def describe_reload(self) -> list[str]:
        """Say how the server would be tested and reloaded."""
        return [f"run doveconf -c {self.settings.config} -n", f"run {shlex.join(self._reload())}"]

    def _reload(self) -> list[str]:
        return ["doveadm", "-c", self.settings.config, "reload"]

    def _doveconf(self, *what: str) -> str:
        command = ["doveconf", "-c", self.settings.config, *what]
        return run(command, timeout_s=self.settings.timeout_s, code="config")


def _used(config: str) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Give names, certificate and key of every part of the configuration, where they are files."""
    told = run(["doveconf", "-c", config, "-n", "-P"], code="config")
    blocks: list[tuple[tuple[str, ...], dict[str, str]]] = [((), {})]
    stack = [0]
    for line in map(str.strip, told.splitlines()):
        if line.endswith("{"):
            named = re.match(r"local_name (.+?) \{", line)
            blocks.append((tuple(named[1].strip('"').split()) if named else (), {}))
            stack.append(len(blocks) - 1)
        elif line == "}":
            stack.pop()
        elif (told_pair := re.match(r"(ssl_\w+) = <?\s*(/\S+)$", line)) is not None:
            blocks[stack[-1]][1][told_pair[1]] = told_pair[2]
    for names, settings in blocks:
        for certificate, key in _PAIRS:
            if certificate in settings and key in settings:
                yield names, settings[certificate], settings[key]
