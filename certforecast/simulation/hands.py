"""Hands that step in from outside: an executor that renews, and people who look into one service.

What they meet is what the fleet's own clients meet on that day (:func:`mechanisms.obstacle`); what they throw
are dice of their own, so that a fleet in which they do nothing is the fleet as it is.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from certforecast.errors import InputError
from certforecast.simulation.columns import Flags, Floats
from certforecast.simulation.journal import Journal
from certforecast.simulation.mechanisms import (
    BACKDATE,
    INSTALL,
    Block,
    Chance,
    Happenings,
    World,
    conclude,
    lead,
    obstacle,
    validity,
)
from certforecast.simulation.population import HOSTS_PER_OWNER, Automation

__all__ = ["Dice", "Hands", "HandsAt", "Result", "nothing"]


@dataclass(frozen=True, slots=True)
class Hands:
    """What hands can do. All assumptions.

    Attributes
    ----------
    look_hours : float
        Of a person's time that one look takes, whatever comes of it.
    available : float
        Probability that somebody who knows the service can be got hold of on a working day.
    finds : float
        Probability that a look finds what ails the service.

    Raises
    ------
    InputError
        If a probability lies outside 0 to 1, or a look takes no time.
    """

    look_hours: float = 1.0
    available: float = 0.5
    finds: float = 0.9

    def __post_init__(self) -> None:
        if not (self.look_hours > 0 and 0 <= self.available <= 1 and 0 <= self.finds <= 1):
            raise InputError(
                f"{self}: a look must take more than 0 hours, and probabilities lie between 0 and 1"
            )


class Result(IntEnum):
    """What came of it, as far as those can tell who did it."""

    RENEWED = 0  # ordered, installed, and seen in service
    INSTALLED = 1  # the successor that lay ready is in service now
    BLOCKED = 2  # what stopped it is told beside
    WELL = 3  # there was nothing to do
    GONE = 4  # the service is no longer there


class Dice:
    """A day's dice for every lineage: the same whoever throws them, and in whatever order.

    Parameters
    ----------
    rng : Generator
        The day's own stream.
    lineages : int
    attempts : int
        At one lineage on one day.
    """

    def __init__(self, rng: Generator, lineages: int, attempts: int) -> None:
        self._tries = rng.random((attempts, lineages), dtype=np.float32)
        self._looks = rng.random((3, lineages), dtype=np.float32)
        self._thrown = np.zeros(lineages, np.int64)

    @property
    def attempts(self) -> int:
        """How often a lineage can be tried."""
        return len(self._tries)

    def tries(self, lineage: int) -> NDArray[np.float32]:
        """Give the next attempt's numbers."""
        self._thrown[lineage] += 1
        numbers: NDArray[np.float32] = self._tries[self._thrown[lineage] - 1]
        return numbers

    def left(self, lineage: int) -> bool:
        """Tell whether the lineage can be tried once more today."""
        return bool(self._thrown[lineage] < self.attempts)

    def look(self, kind: int) -> NDArray[np.float32]:
        """Give the numbers of a look: 0 whether somebody is at hand, 1 what is found, 2 the order."""
        numbers: NDArray[np.float32] = self._looks[kind]
        return numbers


@dataclass
class HandsAt:
    """Hands at work in a world, on one day.

    Attributes
    ----------
    world : World
        Changed in place.
    day : int
        Days since 1970.
    journal : Journal
        Where it is written down.
    hands : Hands
    dice : Dice
    split : ndarray of bool, shape (lineages,)
        Lineages whose names were split by what was ordered.
    """

    world: World
    day: int
    journal: Journal
    hands: Hands
    dice: Dice
    split: Flags

    def renew(self, lineage: int, hour: float) -> tuple[Result, Block]:
        """Let the executor renew, install and prove; if a successor lies ready, only install and prove.

        A broken deploy hook does not matter, as the executor installs by itself; the hook stays broken.
        """
        state = self.world.state
        if state.retired[lineage]:
            return Result.GONE, Block.NONE
        now = self.day + hour / 24.0
        numbers = self.dice.tries(lineage)
        if state.pending[lineage]:
            if self._disk_full(lineage):
                return self._blocked(lineage, now, Block.DISK)
            return self._install(lineage, now)
        return self._order(lineage, now, lambda p: numbers < p)

    def rehearse(self, lineage: int) -> tuple[Result, Block]:
        """Try everything against the CA's staging directory and install nothing."""
        if self.world.state.retired[lineage]:
            return Result.GONE, Block.NONE
        numbers = self.dice.tries(lineage)
        block = Block(int(obstacle(self.world, lambda p: numbers < p)[lineage]))
        return (Result.WELL if block == Block.NONE else Result.BLOCKED), block

    def at_hand(self, lineage: int) -> bool:
        """Tell whether somebody can look today: on a working day, and if luck has it."""
        country = self.world.traits.country[lineage : lineage + 1]
        works = bool(self.world.calendar.working(self.day, country)[0])
        return works and bool(self.dice.look(0)[lineage] < self.hands.available)

    def look(self, lineage: int, hour: float) -> tuple[Result, Block]:
        """Let a person look: mend what ails the service if it is found, then renew if that is due."""
        state, traits = self.world.state, self.world.traits
        if state.retired[lineage]:
            state.zombie[lineage] = False
            return Result.GONE, Block.NONE
        now = self.day + hour / 24.0
        if self.dice.look(1)[lineage] < self.hands.finds:
            self._mend(lineage, now)
        if state.pending[lineage]:
            return self._install(lineage, now)
        if now < state.not_after[lineage] - lead(state, traits, state.lifetime)[lineage]:
            return Result.WELL, Block.NONE
        return self._order(lineage, now, lambda p: self.dice.look(2) < p)

    def _mend(self, lineage: int, now: float) -> None:
        state = self.world.state
        dead_name = state.challenge[lineage] == Block.DEAD_NAME
        ill = state.challenge[lineage] != Block.NONE or not (
            state.timer_ok[lineage] and state.hook_ok[lineage]
        )
        state.challenge[lineage] = Block.NONE
        state.timer_ok[lineage] = state.hook_ok[lineage] = True
        state.names[lineage] -= dead_name
        if ill:
            today = self._today(now)
            today.mended[lineage] = True
            self.journal.write(state, self.world.traits, today, ours=True)

    def _order(self, lineage: int, now: float, chance: Chance) -> tuple[Result, Block]:
        state, traits = self.world.state, self.world.traits
        block = Block(int(obstacle(self.world, chance)[lineage]))
        if block != Block.NONE:
            return self._blocked(lineage, now, block)
        today = self._today(now)
        today.attempted[lineage] = today.issued[lineage] = True
        splits = state.number[lineage] == traits.splits_at[lineage] and state.names[lineage] > 1
        if splits:
            today.split[lineage] = self.split[lineage] = True
            state.names[lineage] -= state.names[lineage] // 2
        lifetime = validity(state, self.day)
        today.not_before[:] = now - BACKDATE
        today.not_after[:] = today.not_before + lifetime
        state.pending[lineage] = True
        state.pending_lifetime[lineage] = lifetime[lineage]
        state.pending_not_after[lineage] = today.not_after[lineage]
        state.forgotten[lineage] = state.ticket[lineage] = False
        return self._install(lineage, now, today)

    def _install(self, lineage: int, now: float, today: Happenings | None = None) -> tuple[Result, Block]:
        result = Result.INSTALLED if today is None else Result.RENEWED
        today = today or self._today(now)
        today.installed[lineage] = True
        only = np.zeros(len(self.world.state), bool)
        only[lineage] = True
        conclude(self.world, today, self.day, only)
        self.journal.write(self.world.state, self.world.traits, today, ours=True)
        return result, Block.NONE

    def _blocked(self, lineage: int, now: float, block: Block) -> tuple[Result, Block]:
        today = self._today(now)
        today.attempted[lineage] = True
        today.blocked[lineage] = block
        self.journal.write(self.world.state, self.world.traits, today, ours=True)
        return Result.BLOCKED, block

    def _disk_full(self, lineage: int) -> bool:
        state, traits = self.world.state, self.world.traits
        host = traits.owner[lineage] * HOSTS_PER_OWNER + state.slot[lineage]
        full = self.world.shocks.disk.on[state.draw[lineage], host]
        return bool(full) and state.automation[lineage] == Automation.TIMER

    def _today(self, now: float) -> Happenings:
        return nothing(self.world, np.full(len(self.world.state), now))


def nothing(world: World, now: Floats) -> Happenings:
    """Give a day's happenings before anything happened."""
    size = len(now)

    def no() -> Flags:
        return np.zeros(size, bool)

    def none() -> NDArray[np.int64]:
        return np.zeros(size, np.int64)

    flags: Final = {
        name: no()
        for name in (
            *("resolved", "retired", "moved", "migrated", "attempted", "issued", "grew", "shrank", "split"),
            *("installed", "hook_failed", "mended"),
        )
    }
    return Happenings(
        now=now,
        number=world.state.number.copy(),
        outcome=none(),
        blocked=none(),
        resolved_at=now.copy(),
        not_before=np.zeros(size),
        not_after=np.zeros(size),
        served_at=now + INSTALL,
        **flags,
    )
