"""One process at a time on one lineage: a lock that ends with the process, whichever way it ends."""

import fcntl
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from certforecast.execution.gate import SuspendedError

__all__ = ["alone_on"]

_PAUSE_S: Final = 0.05


@contextmanager
def alone_on(name: str, folder: Path) -> Iterator[None]:
    """Hold the lock of a lineage on this machine for the time of the block.

    A process that lost its connection may still be at work on what another has taken over. It is waited for:
    what it does ends by itself, and its lock with it.

    Raises
    ------
    SuspendedError
        If this process is to end first.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.lock"
    with path.open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not threading.main_thread().is_alive():
                    raise SuspendedError from None
                time.sleep(_PAUSE_S)
        yield
