"""Listeners that many orders share: one a port in this process, open while anyone has an answer to show."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from certforecast.errors import IssuanceError

__all__ = ["Listener", "Listeners", "Shown"]

T = TypeVar("T")


class Listener(Protocol):
    """A server of ``acme.standalone``."""

    def serve_forever(self) -> None:
        """Start to serve, in threads of its own."""
        ...

    def shutdown_and_server_close(self) -> None:
        """Stop, and close the port."""
        ...


class Shown(Generic[T]):
    """Answers by what they are asked for. Two orders may show the same: it stays until both have ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[str, list[T]] = {}

    def add(self, answers: Mapping[str, T]) -> None:
        """Show more."""
        with self._lock:
            for key, answer in answers.items():
                self._answers.setdefault(key, []).append(answer)

    def remove(self, answers: Mapping[str, T]) -> None:
        """Show these no longer."""
        with self._lock:
            for key, answer in answers.items():
                self._answers[key].remove(answer)
                if not self._answers[key]:
                    del self._answers[key]

    def find(self, key: str) -> T | None:
        """Give an answer, the newest if there are several."""
        with self._lock:
            found = self._answers.get(key)
            return found[-1] if found else None

    def __iter__(self) -> Iterator[T]:
        with self._lock:
            return iter([answer for shown in self._answers.values() for answer in shown])

    def __bool__(self) -> bool:
        with self._lock:
            return bool(self._answers)


class Listeners(Generic[T]):
    """The listeners of one kind, by port.

    Parameters
    ----------
    listen : callable
        Opens a port on every address of this machine, for a server of answers.
    code : str
        The code of the error if that fails.
    advice : str
        What to do then.
    """

    def __init__(self, listen: Callable[[int, Shown[T]], Listener], code: str, advice: str) -> None:
        self._listen = listen
        self._code = code
        self._advice = advice
        self._lock = threading.Lock()
        self._open: dict[int, tuple[Listener, Shown[T]]] = {}

    @contextmanager
    def showing(self, port: int, answers: Mapping[str, T]) -> Iterator[None]:
        """Show answers on a port for the time of the block.

        Raises
        ------
        IssuanceError
            If the port is taken or needs more rights than we have.
        """
        if not answers:
            yield
            return
        with self._lock:  # also while a port is opened or closed: who comes next finds it done
            if port not in self._open:
                shown = Shown[T]()
                try:
                    listener = self._listen(port, shown)
                except OSError as error:
                    raise IssuanceError(
                        f"port {port} for challenges cannot be opened: {error}; {self._advice}",
                        code=self._code,
                    ) from error
                listener.serve_forever()
                self._open[port] = listener, shown
            listener, shown = self._open[port]
            shown.add(answers)
        try:
            yield
        finally:
            with self._lock:
                shown.remove(answers)
                if not shown:
                    del self._open[port]
                    listener.shutdown_and_server_close()
