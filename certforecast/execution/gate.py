"""The gate before every step: shut while everything is stopped, and when the process is to end.

What has begun to change a server is let through: it must be proven, or put back.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from certforecast.execution.control import Control, Watch

__all__ = ["Gate", "SuspendedError"]

_PAUSE_S: Final = 0.05

#: What follows a change. Everything else may wait, or be done by another process.
_LET_THROUGH: Final = ("verify", "rollback", "clear")


class SuspendedError(BaseException):
    """An action was left where it is. No `Exception`: then it would be recorded as the end of the action."""


class Gate:
    """Lets steps begin, or not.

    Parameters
    ----------
    notes : Control
        Says whether everything is stopped.

    Attributes
    ----------
    left : int
        Actions that were left where they are though nobody wanted them to be.
    """

    def __init__(self, notes: Control) -> None:
        self._watch = Watch(notes)
        self._closed = threading.Event()
        self._guard = threading.Lock()
        self._under_way = 0
        self.left = 0

    @property
    def stop(self) -> Any:
        """Who stopped everything, if somebody did."""
        return self._watch.stop

    @property
    def busy(self) -> bool:
        """Whether an action is under way in this process."""
        return self._under_way > 0

    def enter(self, step: str) -> None:
        """Wait until a step may begin.

        Raises
        ------
        SuspendedError
            If this process is to end first.
        """
        if step.startswith(_LET_THROUGH):
            return
        while self._watch.stop is not None and not self._closed.is_set():
            time.sleep(_PAUSE_S)
        if self._closed.is_set():
            raise SuspendedError

    def close(self) -> None:
        """Let nothing begin any more."""
        self._closed.set()

    def guarded(
        self, body: Callable[[dict[str, Any], Callable[..., dict[str, Any]]], dict[str, Any]]
    ) -> Callable[[dict[str, Any], Callable[..., dict[str, Any]]], dict[str, Any]]:
        """Give a body whose every step passes this gate."""

        def through(ticket: dict[str, Any], checkpoint: Callable[..., dict[str, Any]]) -> dict[str, Any]:
            def step(name: str, *arguments: Any) -> dict[str, Any]:
                self.enter(name)
                return checkpoint(name, *arguments)

            with self._guard:
                self._under_way += 1
            try:
                return body(ticket, step)
            except SuspendedError:
                if not self._closed.is_set():
                    self.left += 1
                raise
            finally:
                with self._guard:
                    self._under_way -= 1

        return through

    @contextmanager
    def watched(self) -> Iterator["Gate"]:
        """Look for a stop as long as the block lasts."""
        self._watch.start()
        try:
            yield self
        finally:
            self.close()
            self._watch.end()
            self._watch.join(5)
