"""The sites of the sandbox: how each has renewed so far, and what is wrong with it now."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

__all__ = ["LIFETIME", "Kind", "Site", "sites"]

#: Of every certificate in the sandbox.
LIFETIME: Final = timedelta(days=90)

#: ``healthy``: renewed lately. ``due``: hours or days left. ``expired``: since yesterday, and still served.
#: ``unserved``: the newer certificate is in place and the server was never told. ``deaf``: hours or days
#: left, and the server takes a reload without a word and does nothing.
Kind = Literal["healthy", "due", "expired", "unserved", "deaf"]

Automation = Literal["timer", "ticket"]


@dataclass(frozen=True, slots=True)
class Site:
    """One site.

    Attributes
    ----------
    name : str
        Its server name.
    kind : str
        What is wrong with it.
    automation : str
        ``"timer"`` renews after two thirds of the lifetime; ``"ticket"`` waits for a person.
    owner, environment : str
        As in the inventory.
    criticality : float
        From 0 to 1.
    issued : tuple of datetime
        When each certificate was issued, oldest first.
    served : int
        Which of them the server has loaded, as an index of `issued`.
    """

    name: str
    kind: Kind
    automation: Automation
    owner: str
    environment: str
    criticality: float
    issued: tuple[datetime, ...]
    served: int


def _left(**left: float) -> timedelta:
    return timedelta(**left)


#: Label, kind, automation, owner, environment, criticality, and what the served certificate has left.
_SITES: Final[tuple[tuple[str, Kind, Automation, str, str, float, timedelta], ...]] = (
    ("web1", "healthy", "timer", "web", "production", 0.8, _left(days=62)),
    ("web2", "healthy", "timer", "web", "production", 0.8, _left(days=71)),
    ("wiki1", "healthy", "ticket", "office", "internal", 0.2, _left(days=84)),
    ("build1", "healthy", "timer", "platform", "internal", 0.3, _left(days=57)),
    ("api1", "due", "ticket", "platform", "production", 1.0, _left(hours=6)),
    ("mail1", "due", "ticket", "office", "production", 0.7, _left(hours=20)),
    ("shop1", "due", "timer", "web", "production", 0.9, _left(days=2, hours=4)),
    ("test1", "due", "ticket", "platform", "staging", 0.1, _left(days=3)),
    ("legacy1", "expired", "ticket", "office", "internal", 0.3, _left(days=-1)),
    ("files1", "expired", "ticket", "office", "production", 0.5, _left(days=-1, hours=-3)),
    ("cdn1", "unserved", "timer", "web", "production", 0.6, _left(days=1)),
    ("cdn2", "unserved", "timer", "web", "production", 0.6, _left(days=2, hours=20)),
    ("login1", "unserved", "timer", "platform", "production", 1.0, _left(hours=-2)),
    ("pay1", "deaf", "ticket", "platform", "production", 0.9, _left(days=2)),
)


def sites(now: datetime, seed: int) -> Iterator[Site]:
    """Give the 14 sites as they stand at `now`.

    Parameters
    ----------
    now : datetime
        The present.
    seed : int
        Decides how late each past renewal came.
    """
    rng = random.Random(seed)
    now = now.replace(microsecond=0)
    for label, kind, automation, owner, environment, criticality, left in _SITES:
        served = now + left - LIFETIME
        issued = [served]
        for _ in range(rng.randint(4, 6)):
            issued.insert(0, issued[0] - _interval(automation, rng))
        place = len(issued) - 1
        if kind == "unserved":
            issued.append(served + _interval(automation, rng))
        yield Site(
            f"{label}.sandbox.test",
            kind,
            automation,
            owner,
            environment,
            criticality,
            tuple(issued),
            place,
        )


def _interval(automation: Automation, rng: random.Random) -> timedelta:
    """Give the time between two renewals of a site, in whole seconds."""
    if automation == "timer":  # due after 60 days, and tried twice a day
        days = 60 + rng.uniform(0, 0.5) + (rng.random() < 0.1) * rng.uniform(0, 5)
    else:  # somebody gets round to it, now and then only after users complain
        days = rng.triangular(70, 92, 86)
    return timedelta(seconds=round(days * 86400))
