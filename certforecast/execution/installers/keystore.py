"""A certificate and its key in a Java keystore, PKCS#12 or JKS: one file, exchanged by one rename."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import Field

from certforecast.atomic import write_file
from certforecast.errors import InstallationError
from certforecast.execution.checks import check_pair, leaf_fingerprint
from certforecast.execution.installers import Found, Installer
from certforecast.execution.installers.keystore_discovery import in_folder, in_server_xml
from certforecast.execution.installers.keystore_formats import Keystore
from certforecast.execution.installers.processes import running
from certforecast.execution.installers.reloading import Reload, ReloadSection
from certforecast.execution.installers.versions import KEPT, check_owner
from certforecast.history.x509 import fingerprint

__all__ = ["KeystoreInstaller", "KeystoreInstallerSettings"]

_SUFFIX: Final = ".keystore"

_T = TypeVar("_T")


class KeystoreInstallerSettings(ReloadSection):
    """A Java keystore (PKCS#12, JKS, JCEKS): its other entries are kept; a reload by command or signal."""

    kind: Literal["keystore"]
    keystore: str = Field(description="the file")
    alias: str | None = Field(None, description="of the entry; default: the only one with a key")
    password_file: str | None = Field(None, description="file whose first line is the password")
    password_env: str | None = Field(None, description="environment variable with the password")
    key_password_file: str | None = Field(None, description="of the entry, where it differs (JKS)")
    key_password_env: str | None = None

    def open(self, name: str) -> Installer:
        """Give the installer of this section."""
        return KeystoreInstaller(self, name=name)

    @classmethod
    def discover(cls) -> list[Found]:
        """Find the keystores of the Tomcats that run, as their ``conf/server.xml`` names them."""
        found = []
        for process in running("java", of_any=True):  # of what they say, nothing is run
            base = process.option("-Dcatalina.base=") or process.option("-Dcatalina.home=")
            if base is not None:
                found += in_server_xml(Path(base) / "conf" / "server.xml", Path(base))
        return found

    @classmethod
    def discover_at(cls, place: str | None) -> list[Found]:
        """Find the keystores in a folder and below it, or in a ``server.xml``.

        Parameters
        ----------
        place : str or None
            The folder or file; None stands for the Tomcats that run.

        Raises
        ------
        InstallationError
            If it is neither, or cannot be read.
        """
        if place is None:
            return cls.discover()
        path = Path(place)
        return in_server_xml(path) if path.suffix == ".xml" else in_folder(path)


class KeystoreInstaller:
    """One entry of a keystore.

    Parameters
    ----------
    settings : KeystoreInstallerSettings
        Its texts without fields to fill in.
    name : str
        The lineage's name.
    """

    def __init__(self, settings: KeystoreInstallerSettings, *, name: str) -> None:
        self.settings = settings
        self.path = Path(settings.keystore).absolute()
        self._root = self.path.parent / ".certforecast" / name
        self._reload = Reload(settings)

    @property
    def server(self) -> str:
        """What one reload reloads, in words."""
        return "; ".join(self._reload.describe()) or str(self.path)

    def current(self) -> str | None:
        """Give the fingerprint of the entry's leaf; None if there is none."""
        try:
            return fingerprint(self._open(self.path).chain()[0])
        except (OSError, ValueError, IndexError, InstallationError):
            return None

    def precheck(self) -> None:
        """Refuse a keystore that cannot be changed, and a reload that cannot work.

        Raises
        ------
        InstallationError
            If so.
        """
        self.check_files()
        self.check_reload()

    def check_files(self) -> None:
        """Refuse a keystore that does not open, has no such entry, or cannot be replaced.

        Raises
        ------
        InstallationError
            If so.
        """
        if not self.path.exists():
            raise InstallationError(
                f"{self.path} does not exist: entries are exchanged, a first one is made by hand",
                code="config",
            )
        check_owner(self.path)
        if not os.access(self._file.parent, os.W_OK | os.X_OK):
            raise InstallationError(
                f"{self._file.parent} is not writable for this user: run as its owner", code="permission"
            )
        self.test()

    def check_reload(self) -> None:
        """Refuse a command that is not there, a signal there is not, and a process we may not signal.

        Raises
        ------
        InstallationError
            If so.
        """
        self._reload.check()

    def folders(self) -> list[Path]:
        """Give the folders that a swap writes to, as far as they exist."""
        wanted = [self._file.parent, self._root.parent, self._root]
        return [folder for folder in dict.fromkeys(wanted) if folder.is_dir()]

    def swap(self, chain_pem: bytes, key_pem: bytes) -> None:
        """Exchange the entry; keep the keystore as it was.

        Raises
        ------
        InstallationError
            If certificate and key do not belong together, or the keystore cannot be changed.
        """
        check_pair(chain_pem, key_pem)
        before = self.current()
        if before == leaf_fingerprint(chain_pem):
            return
        made = self._named(lambda: self._open(self.path).exchanged(chain_pem, key_pem))
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if before is not None:
                self._write(self._kept(before), self.path.read_bytes())
            self._write(self._file, made)
            self._prune()
        except OSError as error:
            raise InstallationError(
                f"{self.path}: {error.filename or 'a file'} could not be written: {error.strerror};"
                " what was in place is in place still"
            ) from error

    def test(self) -> None:
        """Open what is in place.

        Raises
        ------
        InstallationError
            If the password does not open it, or it has no such entry.
        """
        try:
            self._named(lambda: self._open(self.path).chain())
        except OSError as error:
            raise InstallationError(
                f"{self.path} cannot be read: {error.strerror}", code="permission"
            ) from error

    def reload(self) -> None:
        """Run the reload command and send the signal, whichever is set.

        Raises
        ------
        InstallationError
            If the command fails, or the process is not there.
        """
        self._reload.run()

    def restore(self, fingerprint: str) -> None:
        """Put the keystore back as it was with a certificate; does nothing if that is in place.

        Raises
        ------
        InstallationError
            If it is not kept, or cannot be written.
        """
        if self.current() == fingerprint:
            return
        kept = self._kept(fingerprint)
        try:
            self._write(self._file, kept.read_bytes())
        except OSError as error:
            raise InstallationError(
                f"{self.path} could not be put back from {kept} ({error.strerror}): put back a backup"
            ) from error

    def describe(self) -> list[str]:
        """Say which entry would be exchanged and which commands run."""
        entry = self.settings.alias or "its only entry"
        return [f"switch {self.path} ({entry})", *self._reload.describe()]

    @property
    def _file(self) -> Path:
        """The file itself: a link to it stays a link."""
        return self.path.resolve()

    def _kept(self, fingerprint: str) -> Path:
        return self._root / f"{fingerprint}{_SUFFIX}"

    def _write(self, path: Path, data: bytes) -> None:
        model = self._file.stat()
        write_file(path, data, mode=stat.S_IMODE(model.st_mode), owner=model, like=self._file)

    def _prune(self) -> None:
        kept = sorted(self._root.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in kept[KEPT:]:
            path.unlink(missing_ok=True)

    def _open(self, path: Path) -> Keystore:
        settings = self.settings
        password = _secret(settings.password_file, settings.password_env)
        if password is None:
            raise InstallationError(
                f"nothing opens {self.path}: set password_file or password_env", code="config"
            )
        own = _secret(settings.key_password_file, settings.key_password_env)
        return Keystore(path.read_bytes(), password, own or password, settings.alias)

    def _named(self, work: Callable[[], _T]) -> _T:
        """Do something, and say in its error which keystore it was."""
        try:
            return work()
        except InstallationError as error:
            raise InstallationError(f"{self.path}: {error}", code=error.code) from error


def _secret(file: str | None, variable: str | None) -> str | None:
    """Read a password; it is never part of an error."""
    if file is not None:
        try:
            return Path(file).read_text(encoding="utf-8").partition("\n")[0].removesuffix("\r")
        except (OSError, UnicodeDecodeError):
            raise InstallationError(f"the password cannot be read from {file}", code="permission") from None
    if variable is not None:
        if variable not in os.environ:
            raise InstallationError(f"the environment has no {variable}", code="config")
        return os.environ[variable]
    return None
