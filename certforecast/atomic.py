"""Files and links that are there whole or not at all."""

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["create_file", "remove_drafts", "replace_link", "write_file"]

_MARK: Final = re.compile("[0-9a-f]{8}")

_LABELS = ("security.selinux", "system.posix_acl_access")


def write_file(
    path: Path,
    data: bytes,
    *,
    mode: int = 0o644,
    owner: os.stat_result | None = None,
    like: Path | None = None,
) -> None:
    """Write a file so that readers see all of the new content or none of it, also after a crash.

    Parameters
    ----------
    mode : int
        Permissions from the first moment on, whatever the umask.
    owner : os.stat_result, optional
        Whose user and group the file gets, as far as we may give it away.
    like : path, optional
        Whose labels (SELinux), access list and attributes the file gets, as far as there are any.
    """
    draft = _draft(path)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if owner is not None:
                with suppress(PermissionError):
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            os.fchmod(file.fileno(), mode)
            if like is not None:
                _copy_attributes(like, file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say what was written
        draft.unlink(missing_ok=True)
        raise


def create_file(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file whole, but leave the one that is there: of several processes, the first one's stands."""
    draft = _draft(path)
    write_file(draft, data, mode=mode)
    try:
        with suppress(FileExistsError):
            path.hardlink_to(draft)  # a rename would replace it
    finally:
        draft.unlink()


def replace_link(path: Path, target: Path | str) -> None:
    """Make `path` a symbolic link to `target` in one step, whatever stood there."""
    draft = _draft(path)
    draft.symlink_to(target)
    try:
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _copy_attributes(model: Path, descriptor: int) -> None:
    """Copy what says who may read a file beside its mode, and what people noted at it."""
    if not hasattr(os, "listxattr"):  # only Linux has them
        return
    with suppress(OSError):  # nor has every file system
        for name in os.listxattr(model):
            if name in _LABELS or name.startswith("user."):
                with suppress(PermissionError):
                    os.setxattr(descriptor, name, os.getxattr(model, name))


def remove_drafts(path: Path) -> None:
    """Delete what a process left beside a path that was killed while it wrote it.

    For where no other process may be writing it now.
    """
    if path.parent.is_dir():
        for draft in path.parent.iterdir():
            left, _, mark = draft.name.rpartition(".")
            if left == f".{path.name}" and _MARK.fullmatch(mark):
                draft.unlink(missing_ok=True)


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")
