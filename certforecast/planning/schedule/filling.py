"""Fill a schedule one by one, each candidate in the best slot that is left."""

import numpy as np

from certforecast.planning.schedule.problem import NEVER, ROUNDING, Floats, Ints, Limit, Problem

__all__ = ["Rooms", "fill"]


def fill(problem: Problem, left: Floats, urgency: Floats) -> Ints:
    """Place candidates where they are worth most, within all limits.

    Parameters
    ----------
    problem : Problem
    left : ndarray of float, shape (n_candidates, n_slots)
        Values less the prices of what they use: each goes where it is worth most at these, if there is room.
    urgency : ndarray of float, shape (n_candidates,)
        Who comes first.

    Returns
    -------
    ndarray of int, shape (n_candidates,)
        `NEVER` for what has no room.
    """
    slots, rooms = np.full(problem.shape[0], NEVER), Rooms(problem)
    choices = np.argsort(-left, axis=1, kind="stable")
    useful = problem.values > 0
    order = np.argsort(-urgency, kind="stable")
    worthwhile = np.asarray(useful.any(axis=1))
    for i in order[worthwhile[order]].tolist():
        for slot in choices[i][useful[i, choices[i]]].tolist():
            if rooms.fits(i, slot):
                rooms.take(i, slot)
                slots[i] = slot
                break
    return slots


class Rooms:
    """What is left of all limits.

    Parameters
    ----------
    problem : Problem
    """

    def __init__(self, problem: Problem) -> None:
        self._names = [limit.name for limit in problem.binding]
        self._rooms = [_Room(limit) for limit in problem.binding]
        usage = problem.usage
        self._starts, self._limits = usage.indptr.tolist(), usage.indices.tolist()
        self._amounts = usage.data.tolist()

    def fits(self, candidate: int, slot: int) -> bool:
        """Tell whether there is room for a candidate in a slot."""
        for k in range(self._starts[candidate], self._starts[candidate + 1]):
            if not self._rooms[self._limits[k]].fits(slot, self._amounts[k]):
                return False
        return True

    def take(self, candidate: int, slot: int) -> None:
        """Place a candidate in a slot."""
        for k in range(self._starts[candidate], self._starts[candidate + 1]):
            self._rooms[self._limits[k]].take(slot, self._amounts[k])

    def full(self, candidate: int, slot: int) -> list[str]:
        """Name the limits that leave no room for a candidate in a slot."""
        places = range(self._starts[candidate], self._starts[candidate + 1])
        wanting = [k for k in places if not self._rooms[self._limits[k]].fits(slot, self._amounts[k])]
        return [self._names[self._limits[k]] for k in wanting]


class _Room:
    """What is left of one limit in each slot."""

    __slots__ = ("_capacity", "_level", "_most", "_refill", "_used")

    def __init__(self, limit: Limit) -> None:
        self._capacity: list[float] = limit.capacity.tolist()
        self._refill: list[float] | None = None if limit.refill is None else limit.refill.tolist()
        self._level = limit.level
        self._used = [0.0] * len(self._capacity)
        self._most = self._room()

    def fits(self, slot: int, amount: float) -> bool:
        """Tell whether so much more may be used in a slot."""
        return amount <= self._most[slot] + ROUNDING

    def take(self, slot: int, amount: float) -> None:
        """Use so much in a slot."""
        if self._refill is None:
            self._most[slot] -= amount
        else:
            self._used[slot] += amount
            self._most = self._room()

    def _room(self) -> list[float]:
        """Give what each slot may still use: of a bucket, what later slots can spare, and what overflows."""
        if self._refill is None:
            return list(self._capacity)
        level, kept, spilt = self._level, [], []
        for capacity, refill, used in zip(self._capacity, self._refill, self._used, strict=True):
            filled = level + refill
            spilt.append(max(filled - capacity, 0.0))
            level = min(filled, capacity) - used
            kept.append(level)
        room, most = np.inf, []
        for slot in range(len(kept) - 1, -1, -1):
            room = min(kept[slot], room)
            most.append(room)
            room += spilt[slot]
        return most[::-1]
