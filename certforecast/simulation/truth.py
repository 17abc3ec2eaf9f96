"""The true probabilities: the same days, played on from one moment many times over."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from certforecast.simulation.columns import Flags, Ints
from certforecast.simulation.mechanisms import Outcome, World, step

__all__ = ["futures"]

#: Settled rows are dropped when they are this share of all.
_SETTLED_SHARE = 0.1


def futures(world: World, day: int, draws: int, rng: Generator) -> tuple[Ints, Ints, NDArray[np.int8]]:
    """Play every renewal that is open at the beginning of `day` to its end, `draws` times.

    Shocks to come are drawn afresh in each draw, one for all lineages of the draw; what ails the fleet
    already, ails it in every draw.

    Parameters
    ----------
    world : World
        One draw, at the beginning of `day`; left as it is.

    Returns
    -------
    lineage, number : ndarray of int, shape (renewals,)
        The renewals: those of certificates in service, then those of successors issued and not in service.
    outcomes : ndarray of int8, shape (renewals, draws)
        An :class:`Outcome` each.
    """
    state = world.state
    in_use = state.born & ~state.retired
    serving = in_use & ~state.failed
    waiting = in_use & state.pending & (state.pending_not_after > day)
    outcomes = np.full((2, draws, len(state)), -1, np.int8)
    outcomes[0, :, ~serving] = outcomes[1, :, ~waiting] = Outcome.ON_TIME  # not asked for

    rows = serving | waiting
    copies = world.copied(draws, rows)
    lineage = np.tile(np.flatnonzero(rows), draws)
    first = state.number[lineage]
    while len(lineage):
        today = step(copies, day, rng)
        draw = copies.state.draw
        asked = today.resolved & (today.number - first <= 1)
        outcomes[(today.number - first)[asked], draw[asked], lineage[asked]] = today.outcome[asked]
        _retire_rest(outcomes, draw, lineage, today.retired)
        settled = (outcomes[:, draw, lineage] >= 0).all(axis=0)
        if settled.mean() > _SETTLED_SHARE:
            keep = np.flatnonzero(~settled)
            copies.state, copies.traits = copies.state.take(keep), copies.traits.take(keep)
            lineage, first = lineage[keep], first[keep]
        day += 1

    lineages = np.concatenate([np.flatnonzero(serving), np.flatnonzero(waiting)])
    numbers = np.concatenate([state.number[serving], state.number[waiting] + 1])
    return lineages, numbers, np.concatenate([outcomes[0][:, serving], outcomes[1][:, waiting]], axis=1).T


def _retire_rest(outcomes: NDArray[np.int8], draw: Ints, lineage: Ints, retired: Flags) -> None:
    """Let a successor that never came into service retire with its lineage."""
    rest = outcomes[1, draw[retired], lineage[retired]]
    outcomes[1, draw[retired], lineage[retired]] = np.where(rest < 0, Outcome.RETIRED, rest)
