"""Work that many want done at the same time, done once for all of them: a server's test, its reload."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar, cast

__all__ = ["Sharing"]

T = TypeVar("T")


class Sharing(Generic[T]):
    """Runs a job for all who asked before it began. Whoever asks while it runs gets the next run."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._next: dict[str, Future[T]] = {}
        self._last: dict[str, tuple[float, T]] = {}
        self._begun: dict[str, float] = {}

    def share(self, key: str, job: Callable[[], T], *, fresh_s: float = 0.0, every_s: float = 0.0) -> T:
        """Have a job done, or share what came of it; what it raises, all get.

        Parameters
        ----------
        key : str
            Jobs of the same key do the same.
        job : callable
            Begins after this call ...
        fresh_s : float
            ... unless one that went well began so many seconds ago at most: that will do, too.
        every_s : float
            Jobs of the same key begin so many seconds apart at least; the more ask in the meantime, the
            fewer there are.
        """
        with self._guard:
            began, result = self._last.get(key, (-fresh_s, None))
            if key in self._last and time.monotonic() - began < fresh_s:
                return cast("T", result)
            asked = self._next.get(key)
            if asked is None:
                mine = self._next[key] = Future[T]()
                turn = self._turns[key]
        if asked is not None:
            return asked.result()
        with turn:
            time.sleep(max(0.0, self._begun.get(key, -every_s) + every_s - time.monotonic()))
            with self._guard:
                del self._next[key]
            self._begun[key] = began = time.monotonic()
            try:
                mine.set_result(job())
                self._last[key] = began, mine.result()
            except BaseException as error:
                mine.set_exception(error)
        return mine.result()
