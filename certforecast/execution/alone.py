"""One process at a time on one lineage: a lock that ends with the process, whichever way it ends."""

import fcntl
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from certforecast.errors import ExecutionError

__all__ = ["alone_on"]

_PATIENCE_S: Final = 120.0
_PAUSE_S: Final = 0.05


@contextmanager
def alone_on(name: str, folder: Path) -> Iterator[None]:
    """Hold the lock of a lineage for the time of the block.

    A process that lost its connection may still be at work on what another has taken over.

    Raises
    ------
    ExecutionError
        If another process holds it for minutes.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.lock"
    deadline = time.monotonic() + _PATIENCE_S
    with path.open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise ExecutionError(
                        f"another process has been at work on {name} for {_PATIENCE_S:g} s: look what holds "
                        f"{path}",
                        code="busy",
                    ) from error
                time.sleep(_PAUSE_S)
        yield
