"""Which of very many samples are news."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from certforecast.history.sources import Rejected
from certforecast.history.sources.batching import Found
from certforecast.history.sources.metrics_series import Series

__all__ = ["Family", "Sight", "Watch"]


@dataclass(frozen=True, slots=True)
class Sight:
    """What one sample says beside the one before it.

    Attributes
    ----------
    told : bool
        Whether it is to be kept.
    changed_from : object
        The state before, if this is another; else None.
    """

    told: bool
    changed_from: Any


class Watch:
    """Follows states over time, and keeps a sample

    - if the state is another than before, or is the first;
    - if it comes after a gap: what was in between is not known;
    - if it is the first of its period of `heartbeat_ms`, counted from 1970.

    What is kept depends on the past alone. The last sample before a change is not kept for being that: it
    would tell, at its time, that a change was to come.

    Parameters
    ----------
    step_ms : int
        Usual time from one sample to the next; more than half as much again is a gap.
    heartbeat_ms : int
        Length of a period.
    every : bool
        Whether to keep every sample.
    after_ms : int
        Samples up to this time were kept by an earlier import: they tell the state before, and no more.
    """

    def __init__(self, *, step_ms: int, heartbeat_ms: int, every: bool = False, after_ms: int = -1) -> None:
        self.step_ms = step_ms
        self.heartbeat_ms = heartbeat_ms
        self.every = every
        self.after_ms = after_ms
        self._last: dict[Hashable, tuple[int, Any]] = {}

    def look(self, key: Hashable, time_ms: int, state: Any) -> Sight:
        """Take the next sample of `key`; times must not go back. A state is anything but None."""
        before = self._last.get(key)
        self._last[key] = time_ms, state
        if before is None:
            return Sight(self.is_new(time_ms), None)
        then, old = before
        told = (
            self.every
            or state != old
            or time_ms - then > 1.5 * self.step_ms
            or time_ms // self.heartbeat_ms != then // self.heartbeat_ms
        )
        return Sight(told and self.is_new(time_ms), old if state != old and self.is_new(time_ms) else None)

    def is_new(self, time_ms: int) -> bool:
        """Tell whether no earlier import has had a sample of this time."""
        return time_ms > self.after_ms


class Family(ABC):
    """Metrics that belong together, and what follows from their samples.

    Parameters
    ----------
    watch : Watch
        Tells which samples to keep.
    source : str
        What the rows carry.

    Attributes
    ----------
    metrics : tuple of str
        Their names.
    index : str or None
        The one whose series, of any time, are to be made known by :meth:`know`.
    """

    metrics: ClassVar[tuple[str, ...]]
    index: ClassVar[str | None] = None

    def __init__(self, watch: Watch, source: str) -> None:
        self._watch = watch
        self._source = source

    def know(self, labels: dict[str, str]) -> None:  # noqa: B027 (most have no use for it)
        """Learn of a series that there is or was."""

    @abstractmethod
    def finds(self, series: Iterable[Series]) -> Iterator[Found | Rejected]:
        """Yield what the samples say; those of a later call must be later."""
