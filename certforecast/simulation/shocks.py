"""Shocks that many lineages share: each cell is well or ill, and changes by chance each day."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from certforecast.simulation.columns import Flags, Floats
from certforecast.simulation.population import HOSTS_PER_OWNER, ISSUERS, Population
from certforecast.simulation.rates import Rates

__all__ = ["Shocks", "Spell"]

#: Pull of an owner's skill back to where it began, a day.
_SKILL_PULL = 0.004


@dataclass
class Spell:
    """A two-state Markov chain in every cell.

    Attributes
    ----------
    on : ndarray of bool, shape (draws, groups)
    start, end : float or ndarray, shape (groups,)
        Chances a day to begin and to end.
    """

    on: Flags
    start: Floats
    end: Floats

    @classmethod
    def idle(cls, groups: int, start: Floats | float, end: float) -> "Spell":
        """Begin with one draw in which all is well."""
        return cls(np.zeros((1, groups), bool), np.broadcast_to(start, groups), np.broadcast_to(end, groups))

    def step(self, rng: Generator) -> None:
        """Let a day pass."""
        u = rng.random(self.on.shape, dtype=np.float32)
        self.on = np.where(self.on, u >= self.end, u < self.start)

    def repeated(self, draws: int) -> "Spell":
        """Copy the one draw `draws` times."""
        return Spell(np.repeat(self.on, draws, axis=0), self.start, self.end)


@dataclass
class Shocks:
    """The state of everything shared, one row a draw.

    Attributes
    ----------
    issuer, account, limited, zone, manager, disk : Spell
        Issuer outages, lost accounts, rate-limited accounts, broken DNS zones, stalled managers, full disks.
    skill, origin : ndarray of float, shape (draws, owners)
        Owners' skill now and where it is pulled to.
    moved : ndarray of bool, shape (draws, hosts)
        Hosts that are replaced today.
    """

    issuer: Spell
    account: Spell
    limited: Spell
    zone: Spell
    manager: Spell
    disk: Spell
    skill: Floats
    origin: Floats
    moved: Flags
    rates: Rates

    @classmethod
    def begin(cls, population: Population, rates: Rates) -> "Shocks":
        """Give the shared state of the first day."""
        manager_start = np.append(np.full(population.managers, rates.manager_stall), 0.0)
        hosts = population.owners * HOSTS_PER_OWNER
        return cls(
            issuer=Spell.idle(len(ISSUERS), rates.issuer_outage, rates.issuer_recovery),
            account=Spell.idle(population.accounts, rates.account_loss, rates.account_recovery),
            limited=Spell.idle(population.accounts, rates.rate_limit, rates.rate_limit_end),
            zone=Spell.idle(population.zones, rates.zone_break * population.zone_care, rates.zone_recovery),
            manager=Spell.idle(population.managers + 1, manager_start, rates.manager_recovery),
            disk=Spell.idle(hosts, rates.disk_full, rates.disk_freed),
            skill=population.skill[None, :].copy(),
            origin=population.skill[None, :],
            moved=np.zeros((1, hosts), bool),
            rates=rates,
        )

    @property
    def _spells(self) -> dict[str, Spell]:
        names = ("issuer", "account", "limited", "zone", "manager", "disk")
        return {name: getattr(self, name) for name in names}

    def step(self, rng: Generator) -> None:
        """Let a day pass."""
        for spell in self._spells.values():
            spell.step(rng)
        pull = _SKILL_PULL * (self.origin - self.skill)
        self.skill = self.skill + pull + self.rates.skill_drift * rng.standard_normal(self.skill.shape)
        self.moved = rng.random(self.moved.shape, dtype=np.float32) < self.rates.host_move

    def repeated(self, draws: int) -> "Shocks":
        """Copy the one draw `draws` times; the copies share nothing that changes."""
        return Shocks(
            **{name: spell.repeated(draws) for name, spell in self._spells.items()},
            skill=np.repeat(self.skill, draws, axis=0),
            origin=self.origin,
            moved=np.repeat(self.moved, draws, axis=0),
            rates=self.rates,
        )
