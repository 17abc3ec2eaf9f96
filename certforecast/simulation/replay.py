"""A fleet played on for a year with somebody who steps in: what it averts, and what it costs."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from certforecast.errors import InputError
from certforecast.simulation.account import Account, account
from certforecast.simulation.calendars import moment_of
from certforecast.simulation.events import FAILURES
from certforecast.simulation.fleet import Fleet
from certforecast.simulation.hands import Dice, Hands, HandsAt, Result
from certforecast.simulation.mechanisms import Block
from certforecast.simulation.namesets import name_sets
from certforecast.simulation.naming import fingerprint
from certforecast.simulation.sight import How, Record, Sight, Task, services
from certforecast.simulation.store import in_memory
from certforecast.simulation.tables import render

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ACTOR", "Capacity", "Policy", "Replay"]

#: Who the executor's events say did it: the default of ``[executor] actor``.
ACTOR: Final = "certforecast"

_SOURCE: Final = "executor"
_STREAM: Final = 50  # of the hands' dice
_ATTEMPTS: Final = 6  # at one lineage on one day
#: Nobody looks again so soon: after a look that found nothing to do, and after any other.
_AGAIN_WELL: Final = 21
_AGAIN: Final = 2


class Policy(Protocol):
    """Says each morning what is to be done."""

    name: str

    def wants(self, sight: Sight) -> Iterable[Task]:
        """Give the tasks, the most urgent first; as many are done as capacity allows."""
        ...


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much may be done.

    Attributes
    ----------
    attempts_per_day : float
        By the executor: orders, installations and rehearsals. What is not used today is lost, but for the
        fraction of an attempt.
    hours_per_week : float
        Of people, a fifth of it on each day from Monday to Friday. What is not used lasts for a week.

    Raises
    ------
    InputError
        If one is negative.
    """

    attempts_per_day: float
    hours_per_week: float

    def __post_init__(self) -> None:
        if self.attempts_per_day < 0 or self.hours_per_week < 0:
            raise InputError(f"{self}: capacity cannot be negative")


class _Purse:
    """What is left of a capacity."""

    def __init__(self, capacity: Capacity, look_hours: float) -> None:
        self._capacity = capacity
        self._most = max(1.0, capacity.attempts_per_day), max(look_hours, capacity.hours_per_week)
        self.attempts = self.hours = 0.0

    def fill(self, day: int) -> None:
        """Add a day's share."""
        works = (day + 3) % 7 < 5  # 1970-01-01 was a Thursday
        self.attempts = min(self._most[0], self.attempts + self._capacity.attempts_per_day)
        self.hours = min(self._most[1], self.hours + works * self._capacity.hours_per_week / 5)


class Replay:
    """A fleet played on from its end, under one policy.

    Everything that goes on by itself goes on: timers, tickets, batches, people who notice. The policy comes
    on top. Chances are the same under every policy: the fleet's depend on the seed and the day, those of the
    hands on the seed, the day and the lineage.

    Parameters
    ----------
    fleet : Fleet
        Left as it is.
    policy : Policy
    capacity : Capacity
    hands : Hands, optional
        What executor and people can do.

    Attributes
    ----------
    spent : list of (day, attempts, hours)
        What each day took.
    """

    def __init__(self, fleet: Fleet, policy: Policy, capacity: Capacity, hands: Hands | None = None) -> None:
        self.fleet = fleet
        self.policy = policy
        self.hands = hands or Hands()
        self.day = fleet.last_day
        self.journal = fleet.journal.copied()
        self.record = Record()
        self.spent: list[tuple[int, int, float]] = []
        self._world = fleet.world(fleet.last_day)
        self._purse = _Purse(capacity, self.hands.look_hours)
        self._events: list[dict[str, Any]] = []
        self._orders = 0

    def run(self, days: int = 365) -> Account:
        """Play on for so many days, and give what happened since the beginning.

        Raises
        ------
        InputError
            If `days` is under 1.
        """
        if days < 1:
            raise InputError(f"days is {days}; give at least 1")
        for _ in range(days):
            self._live()
        attempts = sum(attempts for _, attempts, _ in self.spent)
        hours = sum(hours for _, _, hours in self.spent)
        return account(self.fleet, self.journal, self.day, self._orders, attempts, hours)

    def tables(self) -> "dict[str, pa.Table]":
        """Give the four tables as they are known now, with what the executor wrote down."""
        import pyarrow as pa

        fleet = self.fleet
        tables = render(self.journal, fleet.population, fleet.rates, fleet.seed, fleet.first_day, self.day)
        if self._events:
            sets = name_sets(fleet.population, self.journal, fleet.seed, fleet.rates.merge_share)
            named = [
                {**event, "lineage": sets[event["lineage"], 0][0], "host": sets[event["lineage"], 0][0]}
                for event in self._events
            ]
            ours = pa.Table.from_pylist(named, schema=tables["events"].schema)
            tables["events"] = pa.concat_tables([tables["events"], ours])
        return tables

    def sight(self) -> Sight:
        """Give what may be seen this morning."""
        seen = services(self._world, self.fleet.population, self.record.gone, self.day)
        store = cache(lambda: in_memory(self.tables()))
        return Sight(self.fleet.seed, self.day, seen, self.record, store, self._world.copied)

    def _live(self) -> None:
        world, day = self._world, self.day
        self._purse.fill(day)
        size = len(world.state)
        rng = np.random.default_rng([self.fleet.seed, _STREAM, day])
        split = np.zeros(size, bool)
        at_work = HandsAt(world, day, self.journal, self.hands, Dice(rng, size, _ATTEMPTS), split)
        sight = self.sight()
        reachable = set(sight.services.lineage[sight.services.reachable].tolist())
        before = self._purse.attempts, self._purse.hours
        done: set[int] = set()
        for task in self.policy.wants(sight):
            if task.lineage not in done and self._do(task, at_work, reachable):
                done.add(task.lineage)
        self.spent.append((day, round(before[0] - self._purse.attempts), before[1] - self._purse.hours))
        self.fleet.live(world, day, self.journal, split)
        self.day += 1

    def _do(self, task: Task, at_work: HandsAt, reachable: set[int]) -> bool:
        """Carry a task out if there is capacity; tell whether the service needs nothing more today."""
        lineage = task.lineage
        if task.how is How.PERSON:
            if not self._may_look(lineage) or not at_work.at_hand(lineage):
                return False
            self._purse.hours -= self.hands.look_hours
            result, _ = at_work.look(lineage, task.hour)
            self.record.looked(lineage, self.day, result)
            if result == Result.GONE:
                self._note(lineage, task.hour, "retired")
            return True
        if self._purse.attempts < 1.0 or lineage not in reachable or not at_work.dice.left(lineage):
            return False
        self._purse.attempts -= 1.0
        number = int(self._world.state.number[lineage])
        if task.how is How.REHEARSAL:
            result, block = at_work.rehearse(lineage)
            code = FAILURES[block][1] if result == Result.BLOCKED else None
            about = fingerprint(self.fleet.seed, lineage, number)
            self._note(lineage, task.hour, "rehearsed", about, code, code and f"order: {code}")
        else:
            result, block = at_work.renew(lineage, task.hour)
            self._write_down(lineage, task.hour, number, result, block)
        self.record.tried(lineage, self.day + task.hour / 24.0, result)
        return result != Result.BLOCKED

    def _may_look(self, lineage: int) -> bool:
        last, result = self.record.looks.get(lineage, (-1000, Result.WELL))
        again = _AGAIN_WELL if result == Result.WELL else _AGAIN
        enough = self._purse.hours >= self.hands.look_hours - 1e-9
        return enough and lineage not in self.record.gone and self.day - last >= again

    def _write_down(self, lineage: int, hour: float, number: int, result: Result, block: Block) -> None:
        """Write down what the executor's record would say."""
        old, new = (fingerprint(self.fleet.seed, lineage, n) for n in (number, number + 1))
        if result in (Result.RENEWED, Result.BLOCKED):
            self._orders += 1
            self._note(lineage, hour, "order_created", old)
        if result == Result.BLOCKED:
            kind, code = FAILURES[block]
            self._note(lineage, hour, kind, old, code)
        if result == Result.RENEWED:
            self._note(lineage, hour, "issued", new)
        if result in (Result.RENEWED, Result.INSTALLED):
            self._note(lineage, hour, "reloaded", old)
            self._note(lineage, hour, "verified", new)

    def _note(
        self,
        lineage: int,
        hour: float,
        kind: str,
        about: str | None = None,
        code: str | None = None,
        detail: str | None = None,
    ) -> None:
        at = moment_of(self.day) + timedelta(hours=hour)
        self._events.append(
            {
                **{"at": at, "lineage": lineage, "fingerprint": about, "kind": kind, "code": code},
                **{"detail": detail or about, "actor": ACTOR, "source": _SOURCE, "known_at": at},
            }
        )
