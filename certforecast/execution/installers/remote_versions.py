"""Versions of a certificate and its key on another host, as :mod:`.versions` keeps them on this one.

The layout is the same, and so is the one moment of change: a link that is replaced by one rename, which
OpenSSH's file transfer does atomically (``posix-rename@openssh.com``). A connection that breaks leaves what
was there or what is new, and the next session goes on from there.
"""

import posixpath
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, cast

from certforecast.errors import InstallationError
from certforecast.execution.checks import check_pair, leaf_fingerprint
from certforecast.execution.installers.versions import FINGERPRINT, FOLDER, KEPT, PASSABLE, joined

if TYPE_CHECKING:
    from asyncssh import SFTPAttrs, SFTPClient

__all__ = ["RemoteVersions"]

_YOUNG_S = 60

_MODE: Final = 0o7777
#: In the flags of ``statvfs@openssh.com``.
_READ_ONLY: Final = 1


class RemoteVersions:
    """The versions behind one pair of paths on another host.

    Parameters
    ----------
    files : SFTPClient
        Of the host.
    certificate, key : PurePosixPath
        The paths a server reads, absolute. They may be one and the same.
    name : str
        Tells apart what shares a folder.
    """

    def __init__(
        self, files: "SFTPClient", certificate: PurePosixPath, key: PurePosixPath, name: str
    ) -> None:
        self._files = files
        self._certificate, self._key = certificate, key
        self._root = certificate.parent / FOLDER / name
        self._current = self._root / "current"
        self._targets = (
            {certificate: "combined.pem"}
            if certificate == key
            else {certificate: "fullchain.pem", key: "privkey.pem"}
        )

    async def current(self) -> str | None:
        """Give the fingerprint of the leaf in the certificate file; None if there is none."""
        import asyncssh

        try:
            return leaf_fingerprint(await self._read(self._certificate))
        except (asyncssh.SFTPNoSuchFile, InstallationError):
            return None

    async def check(self) -> None:
        """Refuse paths whose content could not be switched, as far as that can be seen from afar.

        Raises
        ------
        InstallationError
            If a file is missing, certificate and key do not belong together, or a path belongs to certbot.
        """
        for path in self._targets:
            if not await self._files.exists(path):
                raise InstallationError(
                    f"{path} does not exist: certificates are replaced, a first one is put in place by hand",
                    code="config",
                )
            live = path.parent.parent
            linked = await self._files.islink(path)
            if linked and live.name == "live" and await self._files.isdir(live.parent / "archive"):
                raise InstallationError(
                    f"{path} is certbot's own link, which certbot wants as it is: let the server read from"
                    " another folder, and name that one in the settings",
                    code="config",
                )
        await self._check_in_place()

    async def install(self, chain_pem: bytes, key_pem: bytes) -> None:
        """Make a certificate and its key the current version; does nothing if they are already.

        Raises
        ------
        InstallationError
            If they do not belong together, or nothing is in place yet.
        """
        check_pair(chain_pem, key_pem)
        fingerprint = leaf_fingerprint(chain_pem)
        await self._adopt()
        if await self.current() != fingerprint:
            await self._store(fingerprint, chain_pem, key_pem)
            await self._point_at(fingerprint)
        await self._prune()

    async def restore(self, fingerprint: str) -> None:
        """Make a version that is kept the current one; does nothing if it is already.

        Raises
        ------
        InstallationError
            If the version is not kept, or is damaged.
        """
        import asyncssh

        if await self.current() == fingerprint:
            return
        version = self._root / fingerprint
        try:
            chain_pem = await self._read(version / self._targets[self._certificate])
            key_pem = await self._read(version / self._targets[self._key])
        except asyncssh.SFTPNoSuchFile as error:
            raise InstallationError(
                f"version {fingerprint[:12]} is not kept in {self._root}: put back a backup"
            ) from error
        check_pair(chain_pem, key_pem)
        await self._adopt()
        await self._point_at(fingerprint)

    async def _adopt(self) -> None:
        """Turn the paths into links, their content unchanged."""
        links = {path: await self._link(path) for path in self._targets}
        if all([await self._points_to(path) == link for path, link in links.items()]):
            return
        await self._check_in_place()
        chain_pem, key_pem = await self._read(self._certificate), await self._read(self._key)
        fingerprint = leaf_fingerprint(chain_pem)
        await self._store(fingerprint, chain_pem, key_pem)
        await self._point_at(fingerprint)
        for path, link in links.items():
            if await self._points_to(path) != link:
                await self._replace_link(path, link)

    async def _check_in_place(self) -> None:
        try:
            check_pair(await self._read(self._certificate), await self._read(self._key))
        except InstallationError as error:
            raise InstallationError(
                f"what is in place at {self._certificate} is broken already and could not be put back:"
                f" {error}",
                code="config",
            ) from error

    async def _link(self, path: PurePosixPath) -> str:
        """Give the text of the link at `path`; relative, so that all may be mounted elsewhere."""
        here = await self._real(path.parent)
        folder = await self._real(self._certificate.parent)
        target = posixpath.join(folder, *self._current.parts[-3:], self._targets[path])
        return posixpath.relpath(target, here)

    async def _real(self, folder: PurePosixPath) -> str:
        found = await self._files.realpath(str(folder))
        assert isinstance(found, str)  # noqa: S101 - only with other options it is not
        return found

    async def _store(self, fingerprint: str, chain_pem: bytes, key_pem: bytes) -> None:
        """Write a version's files, with the owner and mode of those in place."""
        import asyncssh

        version = self._root / fingerprint
        for folder in (self._root.parent, self._root, version):
            async with self._noted(folder):
                await self._make(folder)
        contents = (
            {self._certificate: joined(chain_pem, key_pem, await self._read(self._certificate))}
            if self._certificate == self._key
            else {self._certificate: chain_pem, self._key: key_pem}
        )
        try:
            for path, content in contents.items():
                await self._write(version / self._targets[path], content, await self._files.stat(path))
        except asyncssh.SFTPError:
            with suppress(asyncssh.SFTPError):
                if not all([await self._files.exists(version / name) for name in self._targets.values()]):
                    await self._files.rmtree(version)  # half of a pair would push out a whole one
            raise

    async def _make(self, folder: PurePosixPath) -> None:
        import asyncssh

        try:
            await self._files.mkdir(folder)
        except (asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists):
            if not await self._files.isdir(folder):
                raise
        await self._files.chmod(folder, PASSABLE)

    async def _point_at(self, fingerprint: str) -> None:
        if await self._points_to(self._current) != fingerprint:
            await self._files.utime(self._root / fingerprint)  # the order in which versions were current
            await self._replace_link(self._current, fingerprint)

    async def _prune(self) -> None:
        import asyncssh

        current = await self._points_to(self._current)
        found = [each async for each in self._files.scandir(self._root)]
        versions = [
            each
            for each in found
            if FINGERPRINT.fullmatch(str(each.filename)) and str(each.filename) != current
        ]
        versions.sort(key=lambda each: each.attrs.mtime or 0, reverse=True)
        newest = versions[0].attrs.mtime or 0 if versions else 0
        # SFTP tells whole seconds: of what is that young, nobody knows which was current before which.
        old = [each for each in versions[KEPT:] if (each.attrs.mtime or 0) < newest - _YOUNG_S]
        for each in old:
            with suppress(asyncssh.SFTPError):  # what is too old does no harm
                await self._files.rmtree(self._root / str(each.filename))

    async def _points_to(self, path: PurePosixPath) -> str | None:
        """Give the text of a link; None if it is none."""
        import asyncssh

        try:
            return str(await self._files.readlink(str(path)))
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPFailure, asyncssh.SFTPBadMessage):
            return None

    async def _read(self, path: PurePosixPath) -> bytes:
        async with self._files.open(path, "rb") as file:
            return cast("bytes", await file.read())  # as it is opened as binary

    async def _write(self, path: PurePosixPath, content: bytes, model: "SFTPAttrs") -> None:
        """Write a file so that readers see all of it or none."""
        import asyncssh

        draft = _draft(path)
        await self._remove(draft)
        only_ours = asyncssh.SFTPAttrs(permissions=0o600)
        async with self._noted(path):
            try:
                async with self._files.open(draft, "xb", only_ours) as file:
                    with suppress(asyncssh.SFTPPermissionDenied, asyncssh.SFTPFailure):
                        await file.setstat(asyncssh.SFTPAttrs(uid=model.uid, gid=model.gid))
                    await file.setstat(asyncssh.SFTPAttrs(permissions=(model.permissions or 0o600) & _MODE))
                    await file.write(content)
                    with suppress(asyncssh.SFTPOpUnsupported):
                        await file.fsync()
                await self._files.posix_rename(draft, path)
            except asyncssh.SFTPError:
                with suppress(asyncssh.SFTPError):
                    await self._remove(draft)
                raise

    async def _replace_link(self, path: PurePosixPath, target: str) -> None:
        draft = _draft(path)
        async with self._noted(path):
            await self._remove(draft)
            await self._files.symlink(target, str(draft))
            await self._files.posix_rename(draft, path)

    @asynccontextmanager
    async def _noted(self, path: PurePosixPath) -> AsyncIterator[None]:
        """Note at what fails where it was, and how the disk is there: SFTP says "Failure", and no more."""
        import asyncssh

        try:
            yield
        except asyncssh.SFTPError as error:
            error.add_note(f"{path} could not be written")
            with suppress(asyncssh.SFTPError):
                disk = await self._files.statvfs(path.parent)
                free = f"{(disk.bavail or 0) * (disk.frsize or 0) // 1024} KiB are free there"
                error.add_note("its disk is read-only" if (disk.flags or 0) & _READ_ONLY else free)
            raise

    async def _remove(self, path: PurePosixPath) -> None:
        import asyncssh

        with suppress(asyncssh.SFTPNoSuchFile):
            await self._files.remove(path)


def _draft(path: PurePosixPath) -> PurePosixPath:
    """Name a draft, always the same: what a broken connection leaves, the next session replaces."""
    return path.with_name(f".{path.name}.certforecast")
