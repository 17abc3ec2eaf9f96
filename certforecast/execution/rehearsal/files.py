"""Whether the files can be switched: rights tried for real, and space."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from certforecast.atomic import write_file
from certforecast.errors import InstallationError
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.rehearsal.findings import Finding, LeftOut
from certforecast.execution.rehearsal.subject import Subject

__all__ = ["disk", "writable"]

#: Names that a file system must still have: a swap makes about eight.
_NAMES: Final = 20
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def writable(subject: Subject) -> Iterator[Finding]:
    """Write a small file in every folder a renewal writes to, rename it, and delete it."""
    refused = set[Path]()
    for installer in subject.installers:
        try:
            installer.check_files()
        except InstallationError as error:
            yield Finding(code=error.code or "config", message=str(error))
            if error.code == "permission":
                refused.update(installer.folders())
    for folder in _folders(subject):
        if folder not in refused and (problem := _trial(folder)) is not None:
            yield Finding(
                code="disk" if problem.errno in _FULL else "permission",
                message=f"no file can be written and renamed in {folder}: {problem.strerror}: let the user "
                f"that renews (now {_user()}) write there",
            )


def disk(subject: Subject) -> Iterator[Finding]:
    """Look for space on every file system that a renewal writes to."""
    wanted = subject.settings.rehearsal.free_mb
    seen = set[int]()
    for folder in _folders(subject):
        try:
            device, state = folder.stat().st_dev, os.statvfs(folder)
        except OSError:  # the check of the files says so
            continue
        if device in seen:
            continue
        seen.add(device)
        free = state.f_bavail * state.f_frsize / 1e6
        if free < wanted:
            yield Finding(
                code="disk",
                message=f"{free:,.0f} MB are free at {folder}, less than the {wanted:g} of "
                "rehearsal.free_mb: make room",
            )
        elif state.f_files and state.f_favail < _NAMES:
            yield Finding(
                code="disk",
                message=f"{state.f_favail} more files fit at {folder} (no inodes left): delete small files",
            )


def _folders(subject: Subject) -> list[Path]:
    """Give the folders that exist of those a renewal writes to."""
    wanted = [subject.settings.home]
    with suppress(LeftOut):
        wanted += [folder for installer in subject.installers for folder in installer.folders()]
    section = subject.settings.issuers.get(subject.candidate.issuer or "")
    if isinstance(section, AcmeIssuerSettings):
        if not section.account_key.exists():
            wanted.append(section.account_key.parent)
        if section.webroot is not None:
            wanted.append(section.webroot)
    return list(dict.fromkeys(_existing(folder) for folder in wanted))


def _existing(folder: Path) -> Path:
    """Give the folder, or the one that it would be made in."""
    folder = folder.absolute()
    return next((place for place in (folder, *folder.parents) if place.is_dir()), folder)


def _trial(folder: Path) -> OSError | None:
    """Do what a swap does, with a file that nobody knows."""
    path = folder / f".certforecast-rehearsal-{secrets.token_hex(8)}"
    try:
        write_file(path, b"")  # a draft, renamed into place
        path.unlink()
    except OSError as error:
        return error
    return None


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
