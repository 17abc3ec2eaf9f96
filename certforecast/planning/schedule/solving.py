"""Find a schedule: exactly while that is fast, else by prices."""

from collections.abc import Callable
from typing import Final

import numpy as np

from certforecast.planning.schedule.problem import NEVER, Problem, Schedule

__all__ = ["solve"]

#: Choices (of a candidate and a slot) up to which the mixed-integer program is tried, and for how long.
_EXACT_CHOICES: Final = 20_000
_EXACT_SECONDS: Final = 10.0
_EXACT_ENOUGH: Final = 0.002
#: Steps for the prices at most, and after which shares of them schedules are made at the prices.
_STEPS: Final = 500
_TRIES: Final = (0.6, 0.8, 1.0)
#: Length of the first steps, over what half of the candidates are worth.
_PACE: Final = 2.0
#: Near enough to the bound to stop.
_ENOUGH: Final = 0.005


def solve(
    problem: Problem,
    *,
    exact_choices: int = _EXACT_CHOICES,
    steps: int = _STEPS,
    told: Callable[[int, float], None] | None = None,
) -> Schedule:
    """Choose a slot for each candidate, or none, so that the whole is worth most within all limits.

    Parameters
    ----------
    problem : Problem
    exact_choices : int
        Up to so many choices a mixed-integer program is solved; beyond, or when it takes too long, prices
        are found for what is limited and the schedule is filled by them.
    steps : int
        For the prices, at most.
    told : callable, optional
        Given the number of the step and the gap, for a progress bar.

    Returns
    -------
    Schedule
        With a bound on what any schedule could be worth.
    """
    n = problem.shape[0]
    problem, best = problem.reduced(), None
    if not (problem.values > 0).any():
        return Schedule(np.full(n, NEVER), 0.0, 0.0, "exact")
    if int((problem.values > 0).sum()) <= exact_choices:
        from certforecast.planning.schedule.exact import best as by_program

        best = by_program(problem, _EXACT_SECONDS)
        if best is not None and best.gap <= _EXACT_ENOUGH:
            return best
    found = _by_prices(problem, steps, told)
    if best is None:
        return found
    bound = min(best.bound, found.bound)
    better = best if best.value >= found.value else found
    return Schedule(better.slots, better.value, bound, better.method)


def _by_prices(problem: Problem, steps: int, told: Callable[[int, float], None] | None) -> Schedule:
    from certforecast.planning.schedule.filling import fill
    from certforecast.planning.schedule.prices import Descent, Relaxation

    relaxation = Relaxation(problem)
    prices = relaxation.no_prices()
    worth = problem.values.max(axis=1)
    descent = Descent(prices, _PACE * float(np.median(worth[worth > 0])), steps)
    slots, value, bound, tightest = np.full(problem.shape[0], NEVER), 0.0, np.inf, prices
    tries = {round(share * steps) for share in _TRIES}
    for number in range(steps + 1):
        reached, slope = relaxation.answer(prices)
        if reached < bound:
            bound, tightest = reached, prices
        if number in tries:
            left = relaxation.left(tightest)
            earned = left.max(axis=1)
            # Who pays its way comes first, then who is worth most; or both weigh alike. Neither always wins.
            for urgency in (np.where(earned > 0, worth.max() + worth, worth), earned + worth):
                placed = fill(problem, left, urgency)
                if (total := problem.value(placed)) > value:
                    slots, value = placed, total
            if told is not None:
                told(number, 1.0 - value / bound if bound > 0 else 0.0)
            if value >= (1.0 - _ENOUGH) * bound:
                break
        prices = descent.step(prices, slope)
    return Schedule(slots, value, max(bound, value), "heuristic")
