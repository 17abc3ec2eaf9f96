"""What a play leaves behind: one table for each kind of happening."""

from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from certforecast.simulation.columns import Flags, Floats
from certforecast.simulation.mechanisms import Happenings, State
from certforecast.simulation.population import HOSTS_PER_OWNER, Traits

__all__ = ["Journal"]


class Journal:
    """Happenings by kind, in the order of days, then of lineages. Times are days since 1970."""

    def __init__(self) -> None:
        self._parts: dict[str, list[dict[str, NDArray[Any]]]] = defaultdict(list)

    def frame(self, kind: str) -> pd.DataFrame:
        """Give all happenings of a kind, one row each."""
        parts = self._parts[kind]
        return pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})

    def copied(self) -> "Journal":
        """Give a journal that can be written on without touching this one."""
        copy = Journal()
        for kind, parts in self._parts.items():
            copy._parts[kind] = list(parts)
        return copy

    def enter(self, state: State, traits: Traits, rows: Flags, not_before: Floats) -> None:
        """Write down lineages that enter the fleet."""
        self._note(
            "entered",
            rows,
            at=not_before,
            not_before=not_before,
            not_after=state.not_after,
            issuer=state.issuer,
            host=traits.owner * HOSTS_PER_OWNER + state.slot,
            automation=state.automation,
        )

    def write(self, state: State, traits: Traits, today: Happenings, *, ours: bool = False) -> None:
        """Write down a day, `state` being that of its end; `ours` if others than the fleet acted."""
        place = {
            "host": traits.owner * HOSTS_PER_OWNER + state.slot,
            "automation": state.automation,
            "ours": np.full(len(state), ours),
        }
        blocked = today.attempted & (today.blocked > 0)
        self._note(
            "resolved", today.resolved, number=today.number, outcome=today.outcome, at=today.resolved_at
        )
        self._note("retired", today.retired, at=today.now, **place)
        self._note("moved", today.moved, at=today.now, **place)
        self._note("migrated", today.migrated, at=today.now, **place)
        self._note("blocked", blocked, at=today.now, code=today.blocked, **place)
        self._note("issued", today.issued, at=today.now, number=today.number + 1, not_before=today.not_before,
                   not_after=today.not_after, issuer=state.issuer, grew=today.grew, shrank=today.shrank,
                   split=today.split, **place)  # fmt: skip
        self._note("installed", today.installed, at=today.served_at, number=today.number + 1, **place)
        self._note("hook_failed", today.hook_failed, at=today.served_at, **place)
        self._note("mended", today.mended, at=today.now, **place)

    def _note(self, kind: str, rows: Flags, **columns: NDArray[Any]) -> None:
        lineage = np.flatnonzero(rows)
        if len(lineage) or kind not in self._parts:  # the first day's entry sets the columns, even if empty
            self._parts[kind].append({"lineage": lineage} | {name: c[lineage] for name, c in columns.items()})
