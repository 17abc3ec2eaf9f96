"""Fill a schedule one by one, each candidate in the best slot that is left."""

import numpy as np

from certforecast.planning.schedule.problem import NEVER, Floats, Ints, Limit, Problem

__all__ = ["fill"]

#: Sums of fractions may exceed a limit by so little.
_ROUNDING = 1e-9


def fill(problem: Problem, left: Floats) -> Ints:
    """Place candidates where they are worth most, within all limits.

    Parameters
    ----------
    problem : Problem
    left : ndarray of float, shape (n_candidates, n_slots)
        Values less the prices of what they use: who is worth most at these comes first, and goes where
        it is worth most.

    Returns
    -------
    ndarray of int, shape (n_candidates,)
        `NEVER` for what has no room.
    """
    slots = np.full(problem.shape[0], NEVER)
    rooms = [_Room(limit) for limit in problem.binding]
    usage = problem.usage
    starts, numbers, amounts = usage.indptr.tolist(), usage.indices.tolist(), usage.data.tolist()
    order = np.argsort(-left.max(axis=1, initial=-np.inf), kind="stable")
    choices = np.argsort(-left, axis=1, kind="stable")
    useful = problem.values > 0
    for i in order[useful.any(axis=1)[order]].tolist():
        needs = [(rooms[numbers[k]], amounts[k]) for k in range(starts[i], starts[i + 1])]
        for t in choices[i][useful[i, choices[i]]].tolist():
            if all(room.fits(t, amount) for room, amount in needs):
                for room, amount in needs:
                    room.take(t, amount)
                slots[i] = t
                break
    return slots


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
        return amount <= self._most[slot] + _ROUNDING

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
