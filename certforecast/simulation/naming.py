"""Names for everything, all under top-level domains that RFC 2606 reserves."""

import hashlib
from typing import Final

import numpy as np
import pandas as pd
from numpy.random import Generator

from certforecast.simulation.population import HOSTS_PER_OWNER, Population

__all__ = ["digest", "fingerprint", "host_name", "name_sets", "owner_name"]

_FIRST: Final = (
    "amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor", "indigo", "juniper",
    "kestrel", "lumen", "maple", "nimbus", "ochre", "pine", "quartz", "river", "slate", "tundra",
    "umber", "violet", "willow", "zephyr",
)  # fmt: skip
_SECOND: Final = (
    "bank", "cargo", "data", "energy", "foods", "games", "health", "labs", "media", "press", "shop",
    "works",
)  # fmt: skip
_SERVICES: Final = (
    "api", "app", "auth", "blog", "cdn", "chat", "ci", "crm", "docs", "edge", "files", "git", "grafana",
    "id", "intra", "ldap", "login", "mail", "mq", "pay", "portal", "proxy", "search", "shop", "sso",
    "static", "status", "vpn", "web", "wiki",
)  # fmt: skip
_EXTRAS: Final = ("www", "m", "beta", "eu", "us", "old", "v2", "img", "dev", "secure")
_TEAMS: Final = (
    "billing", "catalog", "checkout", "data", "design", "edge", "finance", "fleet", "growth",
    "identity", "infra", "legal", "mail", "mobile", "network", "operations", "partners", "platform",
    "portal", "research", "sales", "search", "support", "web",
)  # fmt: skip
_SITES: Final = ("east", "north", "south", "west")
_WILDCARD_SHARE: Final = 0.06


def digest(*parts: object) -> str:
    """Give 64 hex digits that depend on the parts only."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def fingerprint(seed: int, lineage: int, number: int) -> str:
    """Give the fingerprint of the certificate with this number in its lineage."""
    return digest("certificate", seed, lineage, number)


def owner_name(owner: int) -> str:
    """Give a team's name."""
    return _numbered(_TEAMS, owner)


def host_name(host: int) -> str:
    """Give a machine's name; `host` is the owner's number times the slots, plus the slot."""
    owner, slot = divmod(host, HOSTS_PER_OWNER)
    return f"{owner_name(owner)}-{slot + 1}.{_SITES[owner % len(_SITES)]}.test"


def name_sets(
    population: Population, issued: pd.DataFrame, rng: Generator
) -> dict[tuple[int, int], list[str]]:
    """Follow each lineage's names through its certificates.

    Parameters
    ----------
    issued : pandas.DataFrame
        The journal's issuances in order, with `lineage`, `number` and the flags `grew`, `shrank`, `split`.

    Returns
    -------
    dict
        (lineage, number) to the names, the lineage's own name first.
    """
    current, spare = _first_names(population, rng)
    child = {parent: one for one, parent in enumerate(population.parent) if parent >= 0}
    sets = {(lineage, 0): names for lineage, names in current.items()}
    columns = (issued[column].tolist() for column in ("lineage", "number", "grew", "shrank", "split"))
    for lineage, number, grew, shrank, split in zip(*columns, strict=True):
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
            names = [*names, _extra(spare[lineage], names[0])]
        current[lineage] = sets[lineage, number] = names
    return sets


def _first_names(population: Population, rng: Generator) -> tuple[dict[int, list[str]], dict[int, int]]:
    wildcard = rng.random(len(population)) < _WILDCARD_SHARE
    in_zone: dict[int, int] = {}
    names: dict[int, list[str]] = {}
    order = rng.permutation(len(_SERVICES))
    for lineage, zone in enumerate(population.traits.zone.tolist()):
        if population.parent[lineage] >= 0:
            continue
        place = in_zone.get(zone, 0)
        in_zone[zone] = place + 1
        service = _numbered([_SERVICES[i] for i in np.roll(order, zone)], place)
        first = f"{service}.{_zone_name(zone)}"
        more = [_extra(i, first) for i in range(population.traits.names[lineage] - 1)]
        if wildcard[lineage] and more:
            more[0] = f"*.{first}"
        names[lineage] = [first, *more]
    return names, {lineage: len(held) for lineage, held in names.items()} | dict.fromkeys(
        np.flatnonzero(population.parent >= 0).tolist(), 100
    )


def _zone_name(zone: int) -> str:
    place, first = divmod(zone, len(_FIRST))
    again = place // len(_SECOND)
    second = (place * 5 + zone) % len(_SECOND) + len(_SECOND) * again
    return f"{_FIRST[first]}{_numbered(_SECOND, second)}.example"


def _extra(place: int, first: str) -> str:
    return f"{_numbered(_EXTRAS, place)}.{first}"


def _numbered(words: "tuple[str, ...] | list[str]", place: int) -> str:
    again, index = divmod(place, len(words))
    return words[index] if again == 0 else f"{words[index]}{again + 1}"
