"""Names for everything, all under top-level domains that RFC 2606 reserves."""

import hashlib
from typing import Final

from certforecast.simulation.population import HOSTS_PER_OWNER

__all__ = [
    "SERVICES",
    "digest",
    "extra_name",
    "fingerprint",
    "host_name",
    "numbered",
    "owner_name",
    "zone_name",
]

_FIRST: Final = (
    "amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor", "indigo", "juniper",
    "kestrel", "lumen", "maple", "nimbus", "ochre", "pine", "quartz", "river", "slate", "tundra",
    "umber", "violet", "willow", "zephyr",
)  # fmt: skip
_SECOND: Final = (
    "bank", "cargo", "data", "energy", "foods", "games", "health", "labs", "media", "press", "shop",
    "works",
)  # fmt: skip
SERVICES: Final = (
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


def digest(*parts: object) -> str:
    """Give 64 hex digits that depend on the parts only."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def fingerprint(seed: int, lineage: int, number: int) -> str:
    """Give the fingerprint of the certificate with this number in its lineage."""
    return digest("certificate", seed, lineage, number)


def owner_name(owner: int) -> str:
    """Give a team's name."""
    return numbered(_TEAMS, owner)


def host_name(host: int) -> str:
    """Give a machine's name; `host` is the owner's number times the slots, plus the slot."""
    owner, slot = divmod(host, HOSTS_PER_OWNER)
    return f"{owner_name(owner)}-{slot + 1}.{_SITES[owner % len(_SITES)]}.test"


def zone_name(zone: int) -> str:
    """Give a zone's name."""
    place, first = divmod(zone, len(_FIRST))
    again = place // len(_SECOND)
    second = (place * 5 + zone) % len(_SECOND) + len(_SECOND) * again
    return f"{_FIRST[first]}{numbered(_SECOND, second)}.example"


def extra_name(place: int, first: str) -> str:
    """Give a further name of the service whose own name is `first`."""
    return f"{numbered(_EXTRAS, place)}.{first}"


def numbered(words: "tuple[str, ...] | list[str]", place: int) -> str:
    """Give the word in a place; beyond the last they begin anew, with a number."""
    again, index = divmod(place, len(words))
    return words[index] if again == 0 else f"{words[index]}{again + 1}"
