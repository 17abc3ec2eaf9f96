"""What can be seen of a fleet on the morning of a day, and what was learned by acting."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np

from certforecast.simulation.columns import Columns, Flags, Floats, Ints
from certforecast.simulation.hands import Result
from certforecast.simulation.mechanisms import World
from certforecast.simulation.population import Population

if TYPE_CHECKING:
    from certforecast.renewals import HasTables

__all__ = ["How", "Record", "Services", "Sight", "Task", "services"]

#: What no scan reaches is taken for retired so many days after its newest certificate expired.
_FORGOTTEN_DAYS: Final = 30.0


class How(Enum):
    """Who does it."""

    MACHINE = "machine"
    REHEARSAL = "rehearsal"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do about one service today."""

    lineage: int
    how: How
    hour: float = 0.5


@dataclass
class Services(Columns):
    """What a look at every endpoint and every list of certificates shows, one row a service.

    Attributes
    ----------
    lineage : ndarray of int
        Which one.
    number : ndarray of int
        Of the certificate in service; where no scan reaches, of the newest one.
    not_after, lifetime : ndarray of float
        Of that certificate, in days since 1970 and days.
    newest_not_after, newest_lifetime : ndarray of float
        Of the newest one, served or not.
    reachable : ndarray of bool
        Whether its endpoint is known, so that the executor could install and prove there.
    """

    lineage: Ints
    number: Ints
    not_after: Floats
    lifetime: Floats
    newest_not_after: Floats
    newest_lifetime: Floats
    reachable: Flags


@dataclass
class Record:
    """What acting has taught.

    Attributes
    ----------
    failures : dict
        Attempts in a row that failed: how many, and when the last was, in days since 1970.
    looks : dict
        The last look: its day, and what came of it.
    gone : set
        Services that are no longer there.
    """

    failures: dict[int, tuple[int, float]] = field(default_factory=dict)
    looks: dict[int, tuple[int, Result]] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)

    def tried(self, lineage: int, at: float, result: Result) -> None:
        """Note an attempt."""
        if result == Result.BLOCKED:
            self.failures[lineage] = (self.failures.get(lineage, (0, 0.0))[0] + 1, at)
        else:
            self.failures.pop(lineage, None)
        if result == Result.GONE:
            self.gone.add(lineage)

    def looked(self, lineage: int, day: int, result: Result) -> None:
        """Note a look; what failed before it counts no longer."""
        self.failures.pop(lineage, None)
        self.looks[lineage] = (day, result)
        if result == Result.GONE:
            self.gone.add(lineage)

    def stuck(self, lineage: int, attempts: int) -> bool:
        """Tell whether so many attempts in a row have failed."""
        return self.failures.get(lineage, (0, 0.0))[0] >= attempts


@dataclass(frozen=True)
class Sight:
    """What a policy may see on the morning of `day`.

    Attributes
    ----------
    seed : int
        Of the fleet: fingerprints are made of it.
    day : int
        Days since 1970; nothing later is shown.
    services : Services
    record : Record
    store : callable
        Gives the four tables as they are known now.
    hidden : callable
        Gives a copy of the world as it is. For the ceiling only: nobody has this.
    """

    seed: int
    day: int
    services: Services
    record: Record
    store: "Callable[[], HasTables]"
    hidden: Callable[[], World]


def services(world: World, population: Population, gone: set[int], day: int) -> Services:
    """Look at everything there is to be seen.

    This is more than the tables show: every endpoint is looked at every morning, none of the looks fails, and
    a certificate is known as soon as it is issued. Who only has the tables knows less.
    """
    state = world.state
    newest = np.where(state.pending, state.pending_not_after, state.not_after)
    lifetime = np.where(state.pending, state.pending_lifetime, state.lifetime)
    scanned = population.observed & state.born & ~state.retired
    listed = ~population.observed & state.born & (newest > day - _FORGOTTEN_DAYS)
    seen = scanned | listed
    seen[list(gone)] = False
    return Services(
        lineage=np.arange(len(state)),
        number=np.where(scanned, state.number, state.number + state.pending),
        not_after=np.where(scanned, state.not_after, newest),
        lifetime=np.where(scanned, state.lifetime, lifetime),
        newest_not_after=newest,
        newest_lifetime=lifetime,
        reachable=scanned,
    ).take(seen)
