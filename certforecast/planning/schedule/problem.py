"""The question and its answer: values by slot, limits, and the slots chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["NEVER", "ROUNDING", "Limit", "Problem", "Schedule"]

Method = Literal["exact", "heuristic"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Sums of fractions may exceed a limit by so little.
ROUNDING: Final = 1e-9

#: The slot of a candidate that is not done.
NEVER: Final = -1


@dataclass(frozen=True, slots=True)
class Limit:
    """What some candidates share: a capacity in each slot, or a token bucket.

    Attributes
    ----------
    name : str
        For people.
    members : ndarray of int, shape (n_members,)
        Candidates that use it.
    amounts : ndarray of float, shape (n_members,)
        How much each uses, in the slot it starts in.
    capacity : ndarray of float, shape (n_slots,)
        What each slot offers; of a bucket, how much it holds at most.
    refill : ndarray of float, shape (n_slots,), optional
        What flows into the bucket before each slot. None: what a slot offers is lost when not used.
    level : float
        In the bucket before the first refill.
    """

    name: str
    members: Ints
    amounts: Floats
    capacity: Floats
    refill: Floats | None = None
    level: float = 0.0

    def binds(self) -> bool:
        """Tell whether it could ever stand in the way."""
        total = float(self.amounts.sum())
        if self.refill is None:
            return bool(total > self.capacity.min(initial=np.inf))
        return bool(total > min(self.capacity.min(initial=np.inf), self.level + self.refill[:1].sum()))


@dataclass(frozen=True)
class Problem:
    """Candidates, each to be done in one slot or not at all.

    Attributes
    ----------
    values : ndarray of float, shape (n_candidates, n_slots)
        What starting in each slot is worth, its cost taken off; minus infinity where it may not start.
    limits : sequence of Limit
    """

    values: Floats
    limits: Sequence[Limit]

    @property
    def shape(self) -> tuple[int, int]:
        """Candidates and slots."""
        n, slots = self.values.shape
        return n, slots

    @cached_property
    def binding(self) -> list[Limit]:
        """The limits that could stand in the way."""
        return [limit for limit in self.limits if limit.binds()]

    @cached_property
    def usage(self) -> "csr_array[Any]":
        """How much each candidate uses of each binding limit; shape (n_candidates, n_limits)."""
        from scipy.sparse import csr_array

        limits = self.binding
        if not limits:
            return csr_array((self.shape[0], 0))
        members = np.concatenate([limit.members for limit in limits])
        amounts = np.concatenate([limit.amounts for limit in limits])
        numbers = np.repeat(np.arange(len(limits)), [len(limit.members) for limit in limits])
        return csr_array((amounts, (members, numbers)), shape=(self.shape[0], len(limits)))

    def reduced(self) -> "Problem":
        """Give the same problem without the choices that no schedule can make: more than a limit ever has."""
        values = self.values.copy()
        for limit in self.binding:
            room = limit.capacity
            if limit.refill is not None:
                room = np.minimum(room, limit.level + np.cumsum(limit.refill))
            if room.min(initial=np.inf) < limit.amounts.max(initial=0.0):
                too_much = limit.amounts[:, None] > room + ROUNDING
                values[limit.members] = np.where(too_much, -np.inf, values[limit.members])
        return Problem(values, self.limits)

    def value(self, slots: Ints) -> float:
        """Give what a choice of slots is worth."""
        done = np.flatnonzero(slots != NEVER)
        return float(self.values[done, slots[done]].sum())


@dataclass(frozen=True)
class Schedule:
    """The slots chosen, and how good they are.

    Attributes
    ----------
    slots : ndarray of int, shape (n_candidates,)
        `NEVER` for what is not done.
    value : float
    bound : float
        No schedule that keeps the limits is worth more.
    method : {"exact", "heuristic"}
    """

    slots: Ints
    value: float
    bound: float
    method: Method

    @property
    def gap(self) -> float:
        """What may be missing to the best schedule, as a share of the bound; 0 to 1."""
        return max(0.0, 1.0 - self.value / self.bound) if self.bound > 0 else 0.0
