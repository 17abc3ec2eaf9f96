"""The line: which action may begin next. Pure bookkeeping; others carry the actions out."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from certforecast.execution.breakers import EVERYTHING, Breakers, Outcome, Part
from certforecast.planning.plan import Action

__all__ = ["Line"]

#: Of these one action goes ahead, the canary, until one went well.
_WITH_CANARY = ("installer", "domain")


class Line:
    """Actions by rank, begun as limits and breakers allow.

    Parameters
    ----------
    actions : sequence of Action
        Most worthwhile first.
    parts_of : callable
        What takes part in an action: its issuer, installer and failure domain.
    breakers : Breakers
        Knows how earlier actions ended.
    room : int
        Actions under way at the same time.
    per_domain : int
        The same, within one failure domain.
    """

    def __init__(
        self,
        actions: Sequence[Action],
        parts_of: Callable[[Action], tuple[Part, ...]],
        breakers: Breakers,
        *,
        room: int,
        per_domain: int,
    ) -> None:
        self._waiting = {action.id: action for action in actions}
        self._parts = {action.id: parts_of(action) for action in actions}
        self._breakers = breakers
        self._running: set[str] = set()
        self._busy: Counter[Part] = Counter()
        self._per_domain = per_domain
        self.room = room

    @property
    def over(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._waiting and not self._running

    @property
    def running(self) -> frozenset[str]:
        """The ids of what is under way."""
        return frozenset(self._running)

    def begin(self) -> list[Action]:
        """Give what may begin now; from here on it is under way."""
        begun = []
        for action in list(self._waiting.values()):
            if len(self._running) >= self.room:
                break
            if self._fits(self._parts[action.id]):
                self._set_running(action.id)
                begun.append(action)
        return begun

    def resume(self, action_id: str) -> None:
        """Take an action that is under way already for begun."""
        self._set_running(action_id)

    def stopped(self, now: datetime) -> list[tuple[Action, str]]:
        """Give what must not begin any more because a breaker is open, and why; it waits no longer."""
        found = []
        for action in list(self._waiting.values()):
            if (why := self._breakers.opened(self._parts[action.id], now)) is not None:
                del self._waiting[action.id]
                found.append((action, why))
        return found

    def ended(self, action_id: str, outcome: Outcome | None) -> None:
        """Note that an action ended, and how; None if that tells nothing about its parts."""
        self._running.remove(action_id)
        self._busy.subtract((*self._parts[action_id], EVERYTHING))
        if outcome is not None:
            self._breakers.note(outcome)

    def _set_running(self, action_id: str) -> None:
        del self._waiting[action_id]
        self._running.add(action_id)
        self._busy.update((*self._parts[action_id], EVERYTHING))

    def _fits(self, parts: tuple[Part, ...]) -> bool:
        for part in (*parts, EVERYTHING):
            kind, _ = part
            if kind == "domain" and self._busy[part] >= self._per_domain:
                return False
            untried = kind in _WITH_CANARY and not self._breakers.proven(part)
            if (untried or self._breakers.on_trial(part)) and self._busy[part]:
                return False
        return True
