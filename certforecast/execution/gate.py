"""The gate before every step: shut while everything is stopped, and when the process is to end.

What has begun to change a server is let through: it must be proven, or put back. What was done before, and is
only read again, never comes here.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Protocol

from certforecast.execution.control import Control, Watch

__all__ = ["Alone", "Body", "Checkpoint", "Gate", "GatedStep", "SuspendedError"]

_LOG = logging.getLogger(__name__)

_PAUSE_S: Final = 0.05
#: A server that could not be asked how far it is may answer later.
_ASK_AGAIN_S: Final = 2.0

#: What follows a change. Everything else may wait, or be done by another process.
_LET_THROUGH: Final = ("verify", "rollback", "clear")


class SuspendedError(BaseException):
    """An action was left where it is. No `Exception`: then it would be recorded as the end of the action."""


#: Gives what a step of a name gave, or has a function do it and keeps what that gives.
Checkpoint = Callable[..., dict[str, Any]]


class GatedStep(Protocol):
    """A checkpointed step behind the gate."""

    def __call__(
        self,
        name: str,
        function: Callable[..., dict[str, Any]],
        *arguments: Any,
        half_way: Callable[[], bool] | None = None,
    ) -> dict[str, Any]:
        """Give what the step gave. `half_way` says whether it was begun before, and cut off."""
        ...


#: Gives a lock on the lineage of a name for a step, by its name.
Alone = Callable[[str, str], AbstractContextManager[None]]

#: A ticket, a way to checkpoint a step, and locks, to the result as JSON.
Body = Callable[[dict[str, Any], GatedStep, Alone], dict[str, Any]]


class Gate:
    """Lets steps begin, or not.

    Parameters
    ----------
    notes : Control
        Says whether everything is stopped.

    Attributes
    ----------
    unsaved : int
        Actions that were left where they are because the database did not take what was done.
    held : set of str
        The runs that wait here.
    """

    def __init__(self, notes: Control) -> None:
        self._watch = Watch(notes)
        self._closed = threading.Event()
        self._guard = threading.Lock()
        self._under_way = 0
        self.unsaved = 0
        self.held: set[str] = set()

    @property
    def stop(self) -> Any:
        """Who stopped everything, if somebody did."""
        return self._watch.stop

    @property
    def busy(self) -> bool:
        """Whether an action is under way in this process."""
        return self._under_way > 0

    def enter(self, step: str, run_id: str = "", half_way: Callable[[], bool] | None = None) -> None:
        """Wait until a step may begin.

        Parameters
        ----------
        step : str
            Its name.
        run_id : str
            Of the run, to say that it waits.
        half_way : callable, optional
            Says whether the step was begun before and has changed something already: then it does not wait.

        Raises
        ------
        SuspendedError
            If this process is to end first.
        """
        if step.startswith(_LET_THROUGH) or not self._shut:
            return
        next_look = 0.0
        try:
            while self._shut:
                if half_way is not None and time.monotonic() >= next_look:
                    if _says(half_way):
                        return
                    next_look = time.monotonic() + _ASK_AGAIN_S
                if self._closed.is_set():
                    raise SuspendedError
                self.held.add(run_id)
                time.sleep(_PAUSE_S)
        finally:
            self.held.discard(run_id)

    @property
    def _shut(self) -> bool:
        return self._watch.stop is not None or self._closed.is_set()

    def close(self) -> None:
        """Let nothing begin any more."""
        self._closed.set()

    def guarded(
        self, body: Body, run_id: Callable[[], str], alone: Alone
    ) -> Callable[[dict[str, Any], Checkpoint], dict[str, Any]]:
        """Give a body whose every step passes this gate when it is carried out."""

        def through(ticket: dict[str, Any], checkpoint: Checkpoint) -> dict[str, Any]:
            def step(
                name: str,
                function: Callable[..., dict[str, Any]],
                *arguments: Any,
                half_way: Callable[[], bool] | None = None,
            ) -> dict[str, Any]:
                def gated(*given: Any) -> dict[str, Any]:
                    self.enter(name, run_id(), half_way)
                    return function(*given)

                return checkpoint(name, gated, *arguments)

            with self._guard:
                self._under_way += 1
            try:
                return body(ticket, step, alone)
            except SuspendedError:
                if not self._closed.is_set():
                    self.unsaved += 1
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


def _says(half_way: Callable[[], bool]) -> bool:
    try:
        return half_way()
    except Exception:  # as when a server cannot be asked: it is asked again
        _LOG.debug("how far it is could not be asked", exc_info=True)
        return False
