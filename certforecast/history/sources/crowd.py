"""Threads that wait for the network: few while answers come, more when they do not."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

__all__ = ["work_off"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")

#: As many as keep two cores busy with handshakes; more would wait for one another.
_FEW: Final = 4
_NOTHING: Final[tuple[None, Any]] = (None, None)
#: Seconds without an answer after which more join in.
_STALL_S: Final = 0.02


def work_off(
    work: Callable[[_In], _Out], items: Iterable[_In], *, most: int
) -> Iterator[list[tuple[int, _Out]]]:
    """Do work that mostly waits, on up to `most` threads.

    Many threads slow down work that is ready to go on (they hand each other the interpreter's lock), few
    threads are soon all stuck with peers that do not answer. So a few start, and twice as many are added
    whenever nothing has been finished for a moment. The work goes on while the caller is busy with the
    results it got.

    Parameters
    ----------
    work : callable
        Bounds its own waiting. An exception ends everything, and is raised.
    items : iterable
        What to do it with.
    most : int
        Threads at most.

    Yields
    ------
    list of (int, result)
        What has been finished since the last list, with the places of the items; never empty.
    """
    tasks = list(enumerate(items))
    queue = iter(tasks)
    finished: deque[tuple[int, _Out]] = deque()
    failures: list[BaseException] = []
    lock, ended = threading.Lock(), threading.Event()

    def labour() -> None:
        try:
            while not failures:
                with lock:
                    place, item = next(queue, _NOTHING)
                if place is None:
                    return
                finished.append((place, work(item)))
                if len(finished) == left:
                    ended.set()
        except BaseException as error:
            failures.append(error)
            ended.set()

    threads: list[threading.Thread] = []
    wanted, left = min(_FEW, most), len(tasks)
    try:
        while left and not failures:
            while len(threads) < min(wanted, len(tasks)):
                threads.append(threading.Thread(target=labour, daemon=True))
                threads[-1].start()
            ended.wait(_STALL_S)
            if done := [finished.popleft() for _ in range(len(finished))]:
                left -= len(done)
                yield done
            else:
                wanted = min(2 * wanted, most)
    except BaseException as error:  # whoever stops us stops the threads, too
        failures.append(error)
        raise
    finally:
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
