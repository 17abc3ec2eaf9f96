"""Who is in the fleet: owners, zones, hosts, and the fixed traits of every lineage."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.random import Generator

from certforecast.simulation.calendars import BATCH_MONTHS, COUNTRIES
from certforecast.simulation.columns import Columns, Flags, Floats, Ints
from certforecast.simulation.rates import Rates

__all__ = ["HOSTS_PER_OWNER", "ISSUERS", "Automation", "Issuer", "Population", "Traits", "populate"]

#: Slots for hosts an owner has over time; a host that moves takes the next slot.
HOSTS_PER_OWNER: Final = 8

#: Lineages born after the start come within this many days of it, however long the fleet is played.
_BIRTH_SPAN_DAYS: Final = 1095.0


class Automation(IntEnum):
    """How a lineage is renewed."""

    TIMER = 0
    TICKET = 1
    CALENDAR = 2


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuing CA. Names are real or plausible; how it behaves here says nothing about the real one."""

    common_name: str
    organisation: str
    country: str
    public: bool
    algorithm: str

    @property
    def dn(self) -> str:
        """The distinguished name (RFC 4514)."""
        return f"CN={self.common_name},O={self.organisation},C={self.country}"


ISSUERS: Final = (
    Issuer("R12", "Let's Encrypt", "US", public=True, algorithm="ecdsa"),
    Issuer("WR3", "Google Trust Services", "US", public=True, algorithm="rsa"),
    Issuer("DigiCert Global G2 TLS RSA SHA256 2020 CA1", "DigiCert Inc", "US", public=True, algorithm="rsa"),
    Issuer("Sectigo RSA Organization Validation Secure Server CA", "Sectigo Limited", "GB", True, "rsa"),
    Issuer("Issuing CA 3", "Example Trust", "DE", public=False, algorithm="rsa"),
    Issuer("Platform Intermediate CA", "Example Platform", "DE", public=False, algorithm="ecdsa"),
)

_ACME_PUBLIC: Final = np.array([0, 1])
_COMMERCIAL: Final = np.array([2, 3])
_PRIVATE_BY_HAND: Final = 4
_PRIVATE_BY_TIMER: Final = 5


@dataclass
class Traits(Columns):
    """What never changes about a lineage, one row a lineage (or a lineage in a draw)."""

    owner: Ints
    zone: Ints
    zone_care: Floats  # factor on what breaks in the zone
    account: Ints
    manager: Ints  # the last one stands for "its own timer" and never stalls
    country: Ints
    hour: Floats  # fraction of the day at which its timer runs or its people act
    criticality: Floats
    monitored: Flags
    orphan: Flags  # its mails go to a list nobody reads
    freezes: Flags  # heeds the year-end change freeze
    lead_days: Floats  # due so many days before expiry; 0: due by share of the lifetime
    retire_factor: Floats
    pattern: Ints  # batch pattern
    names: Ints  # at the start
    splits_at: Ints  # number of the certificate at which it splits; -1 never


@dataclass
class Population:
    """The fleet before its first day.

    Attributes
    ----------
    traits : Traits
        One row a lineage; lineages that come of a split stand last.
    parent : ndarray of int, shape (lineages,)
        The lineage that a split takes this one from, or -1.
    birth : ndarray of float, shape (lineages,)
        Days after the start; negative for those that are there from the start, infinite for split ones.
    age : ndarray of float, shape (lineages,)
        Share of the lifetime behind the first certificate when it enters the fleet.
    automation, issuer, wish, slot : ndarray
        Where each lineage starts: kind, issuer, wished validity in days, host slot.
    zone_care : ndarray of float, shape (zones,)
        Factor on the hazards of a zone.
    skill : ndarray of float, shape (owners,)
        Owners' skill at the start, in standard deviations.
    observed, logged : ndarray of bool, shape (lineages,)
        Whether scans reach it; whether its client's events are kept.
    parallel : ndarray of bool, shape (lineages,)
        Whether each certificate has a twin with the other key algorithm.
    multi_tenant : ndarray of bool, shape (lineages,)
        Whether its names are tenants', who come and go.
    wildcard_at : ndarray of int, shape (lineages,)
        Number of the certificate in which a wildcard takes over for the other names; -1 never.
    """

    traits: Traits
    parent: Ints
    birth: Floats
    age: Floats
    automation: Ints
    issuer: Ints
    wish: Floats
    slot: Ints
    zone_care: Floats
    skill: Floats
    observed: Flags
    logged: Flags
    parallel: Flags
    multi_tenant: Flags
    wildcard_at: Ints
    zones: int
    owners: int
    accounts: int
    managers: int

    def __len__(self) -> int:
        """Give the number of lineages, split ones included."""
        return len(self.parent)


def populate(lineages: int, rates: Rates, rng: Generator) -> Population:
    """Draw a fleet.

    Parameters
    ----------
    lineages : int
        How many, apart from those that splits will add.
    """
    children = round(lineages * rates.split_share)
    total = lineages + children
    owners, zones = max(3, lineages // 10), max(4, lineages // 5)
    accounts, managers = max(2, lineages // 15), max(2, lineages // 18)

    skill = rng.normal(size=owners)
    zone_care = np.exp(0.8 * rng.normal(size=zones))
    zone_owner = rng.integers(owners, size=zones)
    owner_country = rng.integers(len(COUNTRIES), size=owners)
    owner_account = rng.integers(accounts, size=owners)
    owner_manager = np.where(rng.random(owners) < 0.65, rng.integers(managers, size=owners), managers)

    zone = np.concatenate([np.arange(zones), rng.choice(zones, size=total - zones, p=_skewed(zones))])
    owner = zone_owner[zone]
    automation = _automation(skill[owner], rates, rng)
    by_timer = automation == Automation.TIMER
    public = rng.random(total) < rates.public_share
    wish = _wishes(automation, public, rng)
    in_window = rng.random(total)
    parent = np.full(total, -1)
    splits_at = np.full(total, -1)
    if children:
        parent[lineages:] = rng.choice(lineages, size=children, replace=False)
        splits_at[parent[lineages:]] = rng.integers(1, 6, size=children)
    names = 1 + rng.geometric(0.5, size=total)
    names[rng.random(total) < 0.3] = 1
    names = np.where(splits_at >= 0, np.maximum(names, 3), names)
    late = rng.random(total) >= rates.present_at_start
    birth = np.where(late, rng.uniform(1, _BIRTH_SPAN_DAYS, size=total), -1.0)
    birth[lineages:] = np.inf

    traits = Traits(
        owner=owner,
        zone=zone,
        zone_care=np.sqrt(zone_care[zone]),
        account=owner_account[owner],
        manager=np.where(by_timer, owner_manager[owner], managers),
        country=owner_country[owner],
        hour=np.where(by_timer, rng.uniform(0.06, 0.96, size=total), rng.uniform(0.33, 0.72, size=total)),
        criticality=np.clip(rng.beta(2, 2.5, size=total), 0.02, 0.98).round(2),
        monitored=rng.random(total) < rates.monitored_share,
        orphan=rng.random(total) < rates.orphan_share * np.exp(-0.6 * skill[owner]),
        freezes=rng.random(total) < 0.7,
        lead_days=np.where(by_timer, np.select([in_window < 0.78, in_window < 0.9], [0.0, 30.0], 21.0),
                           rng.choice([30.0, 45.0, 60.0, 75.0], size=total, p=[0.15, 0.3, 0.35, 0.2])),
        retire_factor=np.exp(0.5 * rng.normal(size=total)),
        pattern=rng.integers(len(BATCH_MONTHS), size=total),
        names=names,
        splits_at=splits_at,
    )  # fmt: skip
    # What only certificates show has a stream of its own, so that it changes nothing that happens.
    (dice,) = rng.spawn(1)
    whole = (splits_at < 0) & (parent < 0)
    multi_tenant = whole & by_timer & (dice.random(total) < rates.multi_tenant_share)
    takes_over = whole & ~multi_tenant & (names > 1) & (dice.random(total) < rates.wildcard_share)
    population = Population(
        traits=traits,
        parent=parent,
        birth=birth,
        age=rng.uniform(0.0, 0.66, size=total),
        automation=automation,
        issuer=_issuers(by_timer, public, rng),
        wish=wish,
        slot=rng.choice(5, size=total, p=[0.35, 0.25, 0.2, 0.12, 0.08]),
        zone_care=zone_care,
        skill=skill,
        observed=rng.random(total) >= rates.unobserved_share,
        logged=rng.random(total) < np.where(by_timer, 0.7, 0.55),
        parallel=by_timer & (dice.random(total) < rates.parallel_share),
        multi_tenant=multi_tenant,
        wildcard_at=np.where(takes_over, dice.integers(1, 6, size=total), -1),
        zones=zones,
        owners=owners,
        accounts=accounts,
        managers=managers,
    )
    _inherit(population, lineages)
    return population


def _skewed(count: int) -> Floats:
    weights = 1.0 / np.arange(1, count + 1) ** 0.7
    shares: Floats = weights / weights.sum()
    return shares


def _automation(skill: Floats, rates: Rates, rng: Generator) -> Ints:
    """Draw kinds; skilled owners automate more."""
    by_hand = np.clip((rates.ticket_share + rates.calendar_share) * np.exp(-0.35 * skill), 0.0, 0.95)
    tickets = rates.ticket_share / max(rates.ticket_share + rates.calendar_share, 1e-9)
    u = rng.random(len(skill))
    kinds = np.select(
        [u < by_hand * tickets, u < by_hand], [Automation.TICKET, Automation.CALENDAR], Automation.TIMER
    )
    return kinds.astype(np.int64)


def _issuers(by_timer: Flags, public: Flags, rng: Generator) -> Ints:
    size = len(public)
    acme = rng.choice(_ACME_PUBLIC, size=size, p=[0.85, 0.15])
    commercial = rng.choice(_COMMERCIAL, size=size, p=[0.6, 0.4])
    private = np.where(by_timer, _PRIVATE_BY_TIMER, _PRIVATE_BY_HAND)
    return np.where(public, np.where(by_timer, acme, commercial), private)


def _wishes(automation: Ints, public: Flags, rng: Generator) -> Floats:
    """Draw the validity each lineage asks for; policy may give it less."""
    size = len(automation)
    u = rng.random(size)
    timer = np.where(
        public, np.where(u < 0.9, 90.0, 47.0), np.where(u < 0.6, 90.0, np.where(u < 0.85, 30.0, 60.0))
    )
    by_hand = np.where(public, 398.0, np.where(u < 0.6, 365.0, np.where(u < 0.8, 730.0, 180.0)))
    return np.where(automation == Automation.TIMER, timer, by_hand)


def _inherit(population: Population, lineages: int) -> None:
    """Give each lineage that comes of a split its parent's place in the world."""
    child = np.arange(lineages, len(population))
    parent = population.parent[child]
    traits = population.traits
    for column in (
        "owner",
        "zone",
        "zone_care",
        "account",
        "manager",
        "country",
        "hour",
        "orphan",
        "freezes",
        "lead_days",
        "pattern",
    ):
        getattr(traits, column)[child] = getattr(traits, column)[parent]
    for column in ("automation", "issuer", "wish", "slot", "observed", "logged", "parallel"):
        getattr(population, column)[child] = getattr(population, column)[parent]
