"""Postfix: its own check, then a reload; sessions that are open end as they began."""

import shlex
from pathlib import Path
from typing import ClassVar, Final, Literal

from certforecast.execution.installers import Found, Installer, StartTls
from certforecast.execution.installers.pair import PairInstaller, PairSection, leaf_of
from certforecast.execution.installers.processes import run, running, send_signal

__all__ = ["PostfixInstaller", "PostfixInstallerSettings"]

#: The folder with the configuration of a Postfix that nobody moved.
_USUAL: Final = "/etc/postfix"


class PostfixInstallerSettings(PairSection):
    """Postfix: ``postfix check``, then ``postfix reload``."""

    speaks: ClassVar[StartTls] = "smtp"

    kind: Literal["postfix"]
    config: str = _USUAL
    binary: str = "postfix"

    def open(self, name: str) -> Installer:
        """Give the installer of this section."""
        return PostfixInstaller(self, name=name)

    @classmethod
    def discover(cls) -> list[Found]:
        """Find the certificates of the servers that run."""
        found = []
        for process in running("master"):
            if "postfix" not in process.arguments[0]:
                continue
            config = process.option("-c") or _USUAL
            for certificate, key in _files(config):
                settings = {"kind": "postfix", "certificate": certificate, "key": key, "config": config}
                names = (_asked(config, "myhostname"),)
                found.append(Found("postfix", names, _addresses(config), leaf_of(certificate), settings))
        return found


class PostfixInstaller(PairInstaller):
    """A certificate of a Postfix, in ``smtpd_tls_chain_files`` or a pair.

    Parameters
    ----------
    settings : PostfixInstallerSettings
        Its texts without fields to fill in.
    name : str
        The lineage's name.
    """

    def __init__(self, settings: PostfixInstallerSettings, *, name: str) -> None:
        super().__init__(settings, name=name)
        self.settings = settings

    @property
    def server(self) -> str:
        """What one reload reloads, in words."""
        return shlex.join(self._command())

    def check_reload(self) -> None:
        """Refuse if the master process is not there, or not ours to signal.

        Raises
        ------
        InstallationError
            If so.
        """
        queue = _asked(self.settings.config, "queue_directory")
        send_signal(Path(queue) / "pid" / "master.pid", 0)

    def test(self) -> None:
        """Compare certificate and key, which Postfix does not, then run ``postfix check``.

        Raises
        ------
        InstallationError
            If they do not match (the server would offer no TLS any more), or Postfix refuses.
        """
        self.versions.check_match()
        run(self._command("check"), timeout_s=self.settings.timeout_s, code="config")

    def reload(self) -> None:
        """Run ``postfix reload``; processes with a session end after it.

        Raises
        ------
        InstallationError
            If Postfix does not run.
        """
        run(self._command("reload"), timeout_s=self.settings.timeout_s, code="reload")

    def describe_reload(self) -> list[str]:
        """Say how the server would be tested and reloaded."""
        return [f"run {shlex.join(self._command(what))}" for what in ("check", "reload")]

    def _command(self, *what: str) -> list[str]:
        return [self.settings.binary, "-c", self.settings.config, *what]


def _asked(config: str, name: str) -> str:
    return run(["postconf", "-c", config, "-x", "-h", name], code="config").strip()


def _files(config: str) -> list[tuple[str, str]]:
    """Give the files of certificates and keys; a chain file holds both."""
    chains = _asked(config, "smtpd_tls_chain_files").replace(",", " ").split()
    if chains:
        return [(path, path) for path in chains]
    found = []
    for kind in ("cert", "eccert"):
        certificate = _asked(config, f"smtpd_tls_{kind}_file")
        key = _asked(config, f"smtpd_tls_{kind.removesuffix('cert')}key_file")
        if certificate and certificate != "none":
            found.append((certificate, key or certificate))
    return found


def _addresses(config: str) -> tuple[str, ...]:
    """Give where master.cf has mail received over the network."""
    found = []
    for line in run(["postconf", "-c", config, "-M"], code="config").splitlines():
        service, kind, *_, program = line.split(None, 8)[:8]
        if kind == "inet" and program in ("smtpd", "postscreen"):
            host, _, port = service.rpartition(":")
            found.append(f"{host or '*'}:{_PORTS.get(port, port)}")
    return tuple(found)


_PORTS: Final = {"smtp": "25", "submission": "587", "submissions": "465", "smtps": "465"}
