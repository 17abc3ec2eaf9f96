"""Prices for what is limited: they bound what any schedule can be worth, and lead the way to a good one.

Lagrangian relaxation [1]_: limits may be exceeded, at a price. Whatever the prices, the best that can be done
then is worth at least as much as the best schedule that keeps the limits; prices that are just right leave
little between the two. They are found by subgradient steps, each price at a pace that suits the size of its
own slopes [2]_: an owner's hours and a whole fleet's capacity differ a thousandfold.

References
----------
.. [1] M. Fisher (1981), The Lagrangian relaxation method for solving integer programming problems, Management
   Science 27(1).
.. [2] D. Kingma and J. Ba (2015), Adam: a method for stochastic optimization, ICLR.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from certforecast.planning.schedule.problem import NEVER, Floats, Ints, Problem

__all__ = ["Descent", "Prices", "Relaxation"]

#: Of earlier slopes, kept in their running means.
_MEMORY: Final = 0.9
#: The last steps over the first.
_END: Final = 0.003
_LEAST: Final = 1e-9


@dataclass
class Prices:
    """Of using one unit of each limit in each slot; shape (n_limits, n_slots) each.

    Attributes
    ----------
    full : ndarray of float
        For what a slot offers, or a bucket holds.
    flow : ndarray of float
        For what flows into a bucket; 0 for limits that are none.
    """

    full: Floats
    flow: Floats

    @property
    def total(self) -> Floats:
        """What a unit costs."""
        return self.full + self.flow


class Relaxation:
    """The problem without its limits, at prices.

    Parameters
    ----------
    problem : Problem
    """

    def __init__(self, problem: Problem) -> None:
        limits, slots = problem.binding, problem.shape[1]
        self.problem = problem
        self.capacity = np.array([limit.capacity for limit in limits]).reshape(-1, slots)
        self.bucket = np.array([limit.refill is not None for limit in limits], dtype=bool)
        self.inflow = np.zeros_like(self.capacity)
        for number, limit in enumerate(limits):
            if limit.refill is not None:
                self.inflow[number] = limit.refill
                self.inflow[number, :1] += limit.level

    def no_prices(self) -> Prices:
        """Everything for nothing."""
        return Prices(np.zeros_like(self.capacity), np.zeros_like(self.capacity))

    def left(self, prices: Prices) -> Floats:
        """Give the values less what is paid; shape (n_candidates, n_slots)."""
        return np.asarray(self.problem.values - self.problem.usage @ prices.total)

    def answer(self, prices: Prices) -> tuple[float, Prices]:
        """Do what is best at these prices; give the bound, and its slope by each price."""
        left = self.left(prices)
        best = left.argmax(axis=1)
        worth = np.take_along_axis(left, best[:, None], axis=1)[:, 0]
        slots = np.where(worth > 0, best, NEVER)
        used = self._used(slots)
        # What stays in a bucket is worth the next slot's price, less what holding it costs.
        later = np.column_stack([prices.flow[:, 1:], np.zeros(len(prices.flow))])
        gain = np.where(self.bucket[:, None], later - prices.total, 0.0)
        kept = np.where(gain > 0, self.capacity, 0.0)
        before = np.column_stack([np.zeros(len(kept)), kept[:, :-1]])
        bound = float(
            worth[worth > 0].sum()
            + (prices.full * self.capacity).sum()
            + (prices.flow * self.inflow).sum()
            + (gain * kept).sum()
        )
        flow = np.where(self.bucket[:, None], self.inflow + before - kept - used, 0.0)
        return bound, Prices(self.capacity - kept - used, flow)

    def _used(self, slots: Ints) -> Floats:
        """Give how much of each limit is used in each slot; shape (n_limits, n_slots)."""
        usage, count = self.problem.usage, self.capacity.shape
        starts = np.repeat(slots, np.diff(usage.indptr))
        cells = usage.indices[starts != NEVER] * count[1] + starts[starts != NEVER]
        found = np.bincount(cells, weights=usage.data[starts != NEVER], minlength=count[0] * count[1])
        return np.asarray(found.reshape(count), dtype=np.float64)


class Descent:
    """Move prices down the slope of the bound, each at a pace of its own, ever more slowly.

    Parameters
    ----------
    prices : Prices
        Where to start.
    pace : float
        Of the first steps, in the unit of the values.
    steps : int
        How many there will be.
    """

    def __init__(self, prices: Prices, pace: float, steps: int) -> None:
        self._pace, self._steps, self._number = pace, steps, 0
        self._means = [np.zeros_like(prices.full), np.zeros_like(prices.flow)]
        self._squares = [np.zeros_like(prices.full), np.zeros_like(prices.flow)]

    def step(self, prices: Prices, slope: Prices) -> Prices:
        """Give the next prices."""
        length = self._pace * _END ** (self._number / self._steps)
        self._number += 1
        fresh = 1.0 - _MEMORY**self._number
        moved = []
        pairs = ((prices.full, slope.full), (prices.flow, slope.flow))
        for (price, steep), mean, square in zip(pairs, self._means, self._squares, strict=True):
            mean += (1.0 - _MEMORY) * (steep - mean)
            square += (1.0 - _MEMORY) * (steep**2 - square)
            away = length * (mean / fresh) / (np.sqrt(square / fresh) + _LEAST)
            moved.append(np.maximum(price - away, 0.0))
        return Prices(*moved)
