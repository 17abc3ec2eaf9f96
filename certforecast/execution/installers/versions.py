"""Versions of a certificate and its key, switched by one rename.

::

    tls/                                 the folder of the certificate file
      fullchain.pem                      -> .certforecast/NAME/current/fullchain.pem
      privkey.pem                        -> .certforecast/NAME/current/privkey.pem
      .certforecast/NAME/current         -> FINGERPRINT    replaced by rename(2): the one moment of change
      .certforecast/NAME/FINGERPRINT/    fullchain.pem privkey.pem

Whatever is cut off at whatever moment, the certificate and the key that are read through the two paths
belong together.
"""

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from certforecast.atomic import remove_drafts, replace_link, write_file
from certforecast.errors import InstallationError
from certforecast.execution.checks import check_pair, check_same_key, leaf_fingerprint, private_key
from certforecast.execution.references import is_reference

__all__ = ["FINGERPRINT", "FOLDER", "KEPT", "PASSABLE", "Versions", "check_owner", "joined"]

#: Versions kept beside the current one.
KEPT: Final = 3

#: Where versions are kept, beside the certificate.
FOLDER: Final = ".certforecast"

#: What a version is called.
FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")

#: A server that runs as a user of its own must get through to its files, which keep their own mode.
PASSABLE: Final = 0o711


class Versions:
    """The versions behind one pair of paths.

    Parameters
    ----------
    certificate, key : Path
        The paths a server reads. They may be one and the same. Without a key, which is in a token then, the
        certificate alone is switched, and only for another one of the same key.
    name : str
        Tells apart what shares a folder.
    """

    def __init__(self, certificate: Path, key: Path | None, name: str) -> None:
        self.certificate = certificate.absolute()
        self.key = None if key is None else key.absolute()
        self.root = self.certificate.parent / FOLDER / name
        self._current = self.root / "current"
        self._targets = {self.certificate: "fullchain.pem"}
        if self.key == self.certificate:
            self._targets = {self.certificate: "combined.pem"}
        elif self.key is not None:
            self._targets[self.key] = "privkey.pem"

    @property
    def paths(self) -> list[Path]:
        """The paths that are switched."""
        return list(self._targets)

    def current(self) -> str | None:
        """Give the fingerprint of the leaf in the certificate file; None if there is none."""
        try:
            return leaf_fingerprint(self.certificate.read_bytes())
        except (OSError, InstallationError):
            return None

    def key_in_place(self) -> bytes:
        """Give the private key that is in place, PEM.

        Raises
        ------
        InstallationError
            If it cannot be read, or is in a token.
        """
        if self.key is None:
            raise InstallationError(
                f"the key of {self.certificate} is in a token, which does not give it away: "
                "set token, module and pin_file in [keys]",
                code="config",
            )
        try:
            return private_key(self.key.read_bytes())
        except OSError as error:
            raise InstallationError(
                f"{self.key} cannot be read: {error.strerror}", code="permission"
            ) from error

    def folders(self) -> list[Path]:
        """Give the folders that `install` writes to, as far as they exist."""
        wanted = [*(path.parent for path in self._targets), self.root.parent, self.root]
        return [folder for folder in dict.fromkeys(wanted) if folder.is_dir()]

    def check(self) -> None:
        """Refuse paths whose content could not be switched.

        Raises
        ------
        InstallationError
            If a file is missing or unreadable, its folder is not writable, certificate and key do not
            belong together, or a path belongs to certbot.
        """
        for path in self._targets:
            if not path.exists():
                raise InstallationError(
                    f"{path} does not exist: certificates are replaced, a first one is put in place by hand",
                    code="config",
                )
            check_owner(path)
            for folder in {path.parent, self.certificate.parent}:
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise InstallationError(
                        f"{folder} is not writable for this user: run as its owner", code="permission"
                    )
            live = path.parent.parent
            if path.is_symlink() and live.name == "live" and (live.parent / "archive").is_dir():
                raise InstallationError(
                    f"{path} is certbot's own link, which certbot wants as it is: let the server read from"
                    " another folder, and name that one in the settings",
                    code="config",
                )
        self._check_in_place()

    def check_match(self) -> None:
        """Refuse a certificate and key in place that do not belong together; a key in a token is not seen.

        Raises
        ------
        InstallationError
            If so, or if one of them cannot be read.
        """
        if self.key is None:
            return
        try:
            check_pair(self.certificate.read_bytes(), self.key.read_bytes())
        except OSError as error:
            raise InstallationError(
                f"{error.filename} cannot be read: {error.strerror}", code="permission"
            ) from error

    def install(self, chain_pem: bytes, key_pem: bytes) -> None:
        """Make a certificate and its key the current version; does nothing if they are already.

        Raises
        ------
        InstallationError
            If they do not belong together, nothing is in place yet, or a file cannot be written.
        """
        check_pair(chain_pem, key_pem)
        fingerprint = leaf_fingerprint(chain_pem)
        with _explained(self.certificate):
            if self.key is None:
                self._check_same_key(chain_pem, key_pem)
            self._tidy()
            self._adopt()
            if self.current() != fingerprint:
                self._store(fingerprint, chain_pem, key_pem)
                self._point_at(fingerprint)
            self._prune()

    def restore(self, fingerprint: str) -> None:
        """Make a version that is kept the current one; does nothing if it is already.

        Raises
        ------
        InstallationError
            If the version is not kept, or is damaged.
        """
        if self.current() == fingerprint:
            return
        version = self.root / fingerprint
        try:
            chain_pem = (version / self._targets[self.certificate]).read_bytes()
            key_pem = None if self.key is None else (version / self._targets[self.key]).read_bytes()
        except OSError as error:
            raise InstallationError(
                f"version {fingerprint[:12]} is not kept in {self.root} ({error.strerror}): put back a backup"
            ) from error
        if key_pem is None:
            check_same_key(chain_pem, self.certificate.read_bytes())
        else:
            check_pair(chain_pem, key_pem)
        with _explained(self.certificate):
            self._adopt()
            self._point_at(fingerprint)

    def _adopt(self) -> None:
        """Turn the paths into links, their content unchanged."""
        links = {path: self._link(path) for path in self._targets}
        if all(_reads(path) == link for path, link in links.items()):
            return
        self._check_in_place()
        chain_pem = self.certificate.read_bytes()
        key_pem = b"" if self.key is None else self.key.read_bytes()
        fingerprint = leaf_fingerprint(chain_pem)
        self._store(fingerprint, chain_pem, key_pem)
        self._point_at(fingerprint)
        for path, link in links.items():
            if _reads(path) != link:
                replace_link(path, link)
                _sync(path.parent)

    def _check_in_place(self) -> None:
        try:
            chain_pem = self.certificate.read_bytes()
            if self.key is None:
                leaf_fingerprint(chain_pem)
            else:
                check_pair(chain_pem, self.key.read_bytes())
        except OSError as error:
            raise InstallationError(
                f"{error.filename} cannot be read: {error.strerror}", code="permission"
            ) from error
        except InstallationError as error:
            raise InstallationError(
                f"what is in place at {self.certificate} is broken already and could not be put back:"
                f" {error}",
                code="config",
            ) from error

    def _check_same_key(self, chain_pem: bytes, key_pem: bytes) -> None:
        """Refuse what a server with its key in a token could not use: it goes on with the key it has."""
        if not is_reference(key_pem):
            raise InstallationError(
                f"{self.certificate} is served with a key in a token, and this certificate is for another: "
                "set token, module and pin_file in [keys]",
                code="config",
            )
        check_same_key(chain_pem, self.certificate.read_bytes())

    def _link(self, path: Path) -> str:
        """Give the text of the link at `path`; relative, so that all may be mounted elsewhere."""
        here = path.parent.resolve()
        return os.path.relpath(self.root.resolve() / "current" / self._targets[path], here)

    def _tidy(self) -> None:
        """Delete what was half-written when a process was killed: it may hold a key."""
        for path in (*self._targets, self._current):
            remove_drafts(path)
        for version in self.root.glob("*/"):
            for name in self._targets.values():
                remove_drafts(version / name)

    def _store(self, fingerprint: str, chain_pem: bytes, key_pem: bytes) -> None:
        """Write a version's files, with the owner and mode of those in place."""
        version = self.root / fingerprint
        for folder in (self.root.parent, self.root, version):
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder)  # noqa: PTH102
            os.chmod(folder, PASSABLE)  # noqa: PTH101 (whatever the umask)
        if self.certificate == self.key:
            contents = {self.certificate: joined(chain_pem, key_pem, self.certificate.read_bytes())}
        else:
            contents = {self.certificate: chain_pem}
            if self.key is not None:
                contents[self.key] = key_pem
        try:
            for path, content in contents.items():
                model = path.stat()
                mode = stat.S_IMODE(model.st_mode)
                write_file(version / self._targets[path], content, mode=mode, owner=model, like=path)
        except OSError:
            if not all((version / name).exists() for name in self._targets.values()):
                shutil.rmtree(version, ignore_errors=True)  # half of a pair would push out a whole one
            raise
        _sync(version)
        _sync(self.root)

    def _point_at(self, fingerprint: str) -> None:
        if _reads(self._current) != fingerprint:
            os.utime(self.root / fingerprint)  # the order in which versions were current
            replace_link(self._current, fingerprint)
            _sync(self.root)

    def _prune(self) -> None:
        current = _reads(self._current)
        versions = [
            folder
            for folder in self.root.iterdir()
            if FINGERPRINT.fullmatch(folder.name) and folder.name != current
        ]
        versions.sort(key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
        for folder in versions[KEPT:]:
            shutil.rmtree(folder, ignore_errors=True)  # what is too old does no harm


def check_owner(path: Path) -> None:
    """Refuse a file whose owner and group we cannot give to another, where others may not read it.

    Raises
    ------
    InstallationError
        If so: the server could not read what takes its place.
    """
    model, user = path.stat(), os.geteuid()
    kept = model.st_gid == os.getegid() or model.st_gid in os.getgroups()
    if user in (0, model.st_uid) or model.st_mode & stat.S_IROTH or (kept and model.st_mode & stat.S_IRGRP):
        return
    raise InstallationError(
        f"{path} belongs to user {model.st_uid}, and what user {user} writes in its place could not be read"
        " by the server: run as its owner or as root",
        code="permission",
    )


def joined(chain_pem: bytes, key_pem: bytes, there: bytes) -> bytes:
    """Give one file with both, in the order of what is `there`: some servers want the key first."""
    if key_pem in chain_pem:
        return chain_pem
    parts = [chain_pem, key_pem]
    if 0 <= there.find(b" PRIVATE KEY-----") < there.find(b"-----BEGIN CERTIFICATE"):
        parts.reverse()
    return b"".join(part.strip() + b"\n" for part in parts)


def _reads(path: Path) -> str | None:
    """Give the text of a link; None if it is none."""
    try:
        return os.readlink(path)  # noqa: PTH115
    except OSError:
        return None


def _sync(folder: Path) -> None:
    """Make the names in a folder outlast a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InstallationError(
            f"{path}: {error.filename or 'a file'} could not be written: {error.strerror};"
            " what was in place is in place still"
        ) from error
