"""Circuit breakers: what fails again and again is left alone for a while (Nygard, "Release It!", 2007).

There is one for each issuer, installer and failure domain, and one for everything. So many failures in a row
open it; after a rest one action tries again, and what becomes of that one decides.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

__all__ = ["EVERYTHING", "Breakers", "Outcome", "Part"]

#: What may fail by itself: its kind and its name.
Part = tuple[Literal["issuer", "installer", "domain", "all"], str]

EVERYTHING: Final[Part] = ("all", "")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an action ended.

    Attributes
    ----------
    parts : tuple of Part
        What took part.
    at : datetime
        When it ended.
    blamed : frozenset of Part, or None
        What it failed by; None if it went well.
    """

    parts: tuple[Part, ...]
    at: datetime
    blamed: frozenset[Part] | None


@dataclass(slots=True)
class _State:
    failures: int = 0
    last: datetime | None = None
    proven: bool = False


class Breakers:
    """What may be tried, as the outcomes so far tell.

    Parameters
    ----------
    limit : int
        Failures in a row that open the breaker of a part.
    limit_in_all : int
        Failures in a row, whatever they are blamed on, that open the one of everything.
    rest : timedelta
        How long an open breaker stays so.
    """

    def __init__(self, limit: int, limit_in_all: int, rest: timedelta) -> None:
        self._limit = limit
        self._limit_in_all = limit_in_all
        self._rest = rest
        self._states: dict[Part, _State] = {}

    def note(self, outcome: Outcome, *, proves: bool = True) -> None:
        """Take an outcome into account; they come in the order in which they happened.

        Parameters
        ----------
        outcome : Outcome
            How an action ended.
        proves : bool
            Whether one that went well spares the next a canary.
        """
        for part in (*outcome.parts, EVERYTHING):
            state = self._states.setdefault(part, _State())
            if outcome.blamed is None:
                state.failures, state.proven = 0, state.proven or proves
            elif part == EVERYTHING or part in outcome.blamed:
                state.failures += 1
                state.last = outcome.at

    def opened(self, parts: Iterable[Part], now: datetime) -> str | None:
        """Say why an action that these take part in must not begin; None if it may."""
        for part in (EVERYTHING, *parts):
            state = self._states.get(part)
            if state is None or state.last is None or state.failures < self._allowed(part):
                continue
            until = state.last + self._rest
            if now < until:
                return (
                    f"{_named(part)} rests until {until:%Y-%m-%d %H:%M} UTC after {state.failures} failures "
                    "in a row"
                )
        return None

    def on_trial(self, part: Part) -> bool:
        """Tell whether a part that failed has rested: then one action at a time may try it."""
        state = self._states.get(part)
        return state is not None and state.failures >= self._allowed(part)

    def proven(self, part: Part) -> bool:
        """Tell whether something went well that a part took part in."""
        state = self._states.get(part)
        return state is not None and state.proven

    def _allowed(self, part: Part) -> int:
        return self._limit_in_all if part == EVERYTHING else self._limit


def _named(part: Part) -> str:
    kind, name = part
    return {"all": "everything", "domain": f"the failure domain {name}"}.get(kind, f"the {kind} {name}")
