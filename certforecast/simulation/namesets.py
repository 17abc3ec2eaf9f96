"""Which names stand in which certificate, followed from issuance to issuance."""

from collections import defaultdict
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.random import Generator

from certforecast.simulation.journal import Journal
from certforecast.simulation.naming import SERVICES, extra_name, numbered, zone_name
from certforecast.simulation.population import Population

__all__ = ["name_sets"]

_WILDCARD_SHARE: Final = 0.06
#: How many tenants share a certificate.
_TENANTS: Final = (5, 13)
#: A newcomer among tenants is one of so many.
_WAITING: Final = 40

_NAMES, _TENANCY, _MERGES = 40, 42, 43


def name_sets(
    population: Population, journal: Journal, seed: int, merge_share: float
) -> dict[tuple[int, int], list[str]]:
    """Follow each lineage's names through its certificates.

    Names are added and dropped as the journal says. What else happens to them happens to names only: a
    wildcard takes over, tenants come and go, and some services that are retired have their names served with
    another certificate of their zone from its next renewal on.

    Parameters
    ----------
    merge_share : float
        Share of retirements after which that happens.

    Returns
    -------
    dict
        (lineage, number) to the names, the lineage's own name first.
    """
    issued = journal.frame("issued")
    tenants = _Tenants(seed)
    current, spare = _first_names(population, tenants, np.random.default_rng([seed, _NAMES]))
    child = {parent: one for one, parent in enumerate(population.parent) if parent >= 0}
    sets = {(lineage, 0): names for lineage, names in current.items()}
    merges = _merges(population, journal, seed, merge_share)
    columns = (issued[column].tolist() for column in ("at", "lineage", "number", "grew", "shrank", "split"))
    for at, lineage, number, grew, shrank, split in zip(*columns, strict=True):
        names = current[lineage]
        if split:
            kept = len(names) - len(names) // 2
            names, gone = names[:kept], names[kept:]
            current[child[lineage]] = gone
            sets[child[lineage], 0] = gone
        elif shrank and len(names) > 1:
            names = names[:-1]
        elif grew:
            spare[lineage] += 1
            names = [*names, extra_name(spare[lineage], names[0])]
        if population.wildcard_at[lineage] == number:
            others = [name for name in names[1:] if not name.endswith(f".{names[0]}")]
            names = [names[0], f"*.{names[0]}", *others]
        if population.multi_tenant[lineage]:
            names = tenants.change(lineage, number, zone_name(int(population.traits.zone[lineage])), names)
        while merges[lineage] and merges[lineage][0][0] < at:
            _, gone_lineage = merges[lineage].pop(0)
            names = list(dict.fromkeys([*names, *current[gone_lineage]]))
        current[lineage] = sets[lineage, number] = names
    return sets


class _Tenants:
    """Customers of a zone whose names share certificates, each name in one at a time."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._held: dict[str, set[str]] = defaultdict(set)

    def first(self, lineage: int, zone: str) -> list[str]:
        """Give the tenants of a lineage's first certificate."""
        dice = self._dice(lineage, 0)
        return self._join(zone, int(dice.integers(*_TENANTS)), dice)

    def change(self, lineage: int, number: int, zone: str, names: list[str]) -> list[str]:
        """Let one or two names besides the first leave, and as many tenants join."""
        dice = self._dice(lineage, number)
        leaving = min(int(dice.integers(1, 3)), len(names) - 1)
        gone = {names[1 + place] for place in dice.permutation(len(names) - 1)[:leaving]}
        joined = self._join(zone, leaving, dice)
        self._held[zone] -= gone
        return [name for name in names if name not in gone] + joined

    def _join(self, zone: str, count: int, dice: Generator) -> list[str]:
        held = self._held[zone]
        numbers = range(1, len(held) + _WAITING + 1)
        free = [name for number in numbers if (name := f"t{number}.{zone}") not in held]
        joined = [free[place] for place in dice.permutation(len(free))[:count]]
        held.update(joined)
        return joined

    def _dice(self, lineage: int, number: int) -> Generator:
        return np.random.default_rng([self._seed, _TENANCY, lineage, number])


def _merges(
    population: Population, journal: Journal, seed: int, share: float
) -> dict[int, list[tuple[float, int]]]:
    """Give by lineage which others' names it takes over, and from when on: of its zone, and alive then."""
    entered, retired = _times(journal.frame("entered")), _times(journal.frame("retired"))
    zones, merges = population.traits.zone, defaultdict[int, list[tuple[float, int]]](list)
    for lineage, at in sorted(retired.items(), key=lambda one: (one[1], one[0])):
        dice = np.random.default_rng([seed, _MERGES, lineage])
        others = [
            other
            for other in np.flatnonzero(zones == zones[lineage]).tolist()
            if entered.get(other, np.inf) < at <= retired.get(other, np.inf)
            and other != lineage
            and not population.multi_tenant[other]
        ]
        if others and dice.random() < share:
            merges[others[int(dice.integers(len(others)))]].append((at, lineage))
    return merges


def _times(frame: pd.DataFrame) -> dict[int, Any]:
    return dict(zip(frame["lineage"].tolist(), frame["at"].tolist(), strict=True))


def _first_names(
    population: Population, tenants: _Tenants, rng: Generator
) -> tuple[dict[int, list[str]], dict[int, int]]:
    wildcard = rng.random(len(population)) < _WILDCARD_SHARE
    in_zone: dict[int, int] = {}
    names: dict[int, list[str]] = {}
    order = rng.permutation(len(SERVICES))
    for lineage, zone in enumerate(population.traits.zone.tolist()):
        if population.parent[lineage] >= 0:
            continue
        place = in_zone.get(zone, 0)
        in_zone[zone] = place + 1
        service = numbered([SERVICES[i] for i in np.roll(order, zone)], place)
        first = f"{service}.{zone_name(zone)}"
        more = [extra_name(i, first) for i in range(population.traits.names[lineage] - 1)]
        if wildcard[lineage] and more:
            more[0] = f"*.{first}"
        if population.multi_tenant[lineage]:
            more = tenants.first(lineage, zone_name(zone))
        names[lineage] = [first, *more]
    return names, {lineage: len(held) for lineage, held in names.items()} | dict.fromkeys(
        np.flatnonzero(population.parent >= 0).tolist(), 100
    )
