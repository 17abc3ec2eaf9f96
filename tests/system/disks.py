"""A disk that is really full or really read-only, below one folder of a server's."""

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from certforecast.errors import InstallationError
from tests.children import in_a_child
from tests.system.installing import read_only

__all__ = ["PAGE", "Disk", "small_disk"]

#: Bytes that a file takes at least.
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Disk:
    """The file system of one folder.

    Root has one of its own in memory. Else a limit on the size of files stands for a full one, and a folder
    that may not be written in for one that is read-only.
    """

    def __init__(self, folder: Path, own: bool) -> None:
        self.folder, self.own = folder, own

    @contextmanager
    def full(self, left: int = 0) -> Iterator[None]:
        """Leave so many pages for the time of the block."""
        if not self.own:
            yield
            return
        ballast = self.folder / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(PAGE))
        os.truncate(ballast, ballast.stat().st_size - left * PAGE)
        try:
            yield
        finally:
            ballast.unlink()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Let nobody write for the time of the block."""
        if not self.own:
            with read_only(self.folder):
                yield
            return
        _mount("-o", "remount,ro", str(self.folder))
        try:
            yield
        finally:
            _mount("-o", "remount,rw", str(self.folder))

    def refused(self, work: Callable[[], object]) -> str:
        """Do what fails on a full disk, and give the error; nothing if it does not fail."""

        def told() -> str:
            if not self.own:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
            try:
                work()
            except InstallationError as error:
                return str(error)
            return ""

        return told() if self.own else in_a_child(told)


@contextmanager
def small_disk(folder: Path, pages: int = 32) -> Iterator[Disk]:
    """Put a folder, with what is in it, on a disk of so many pages for the time of the block.

    Servers that run already go on: they read their files by name.
    """
    made = folder.with_name(f"{folder.name}.small")
    made.mkdir()
    try:
        own = os.geteuid() == 0 and _mount(
            "-t", "tmpfs", "-o", f"size={pages * PAGE},mode=755", "tmpfs", str(made), check=False
        )
        if own:
            subprocess.run(["cp", "-a", f"{folder}/.", str(made)], check=True, timeout=30)
            _mount("--bind", str(made), str(folder))
        try:
            yield Disk(folder, own)
        finally:
            if own:
                subprocess.run(["umount", "-l", str(folder), str(made)], check=True, timeout=30)
    finally:
        made.rmdir()


def _mount(*options: str, check: bool = True) -> bool:
    done = subprocess.run(["mount", *options], check=check, capture_output=True, timeout=30)
    return done.returncode == 0
