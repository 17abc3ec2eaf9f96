"""Expected loss, ranked actions, and the plan that carries them to the executor."""

from typing import TYPE_CHECKING

from certforecast.lazy import lazy

if TYPE_CHECKING:
    from certforecast.planning.changes import Change, compare
    from certforecast.planning.plan import (
        Action,
        ActionKind,
        Endpoint,
        HeldOut,
        Plan,
        Probabilities,
        Timetable,
    )
    from certforecast.planning.ranking import make_plan
    from certforecast.planning.rehearsing import Candidate, choose_rehearsals, named_rehearsals

__all__ = [
    "Action",
    "ActionKind",
    "Candidate",
    "Change",
    "Endpoint",
    "HeldOut",
    "Plan",
    "Probabilities",
    "Timetable",
    "choose_rehearsals",
    "compare",
    "make_plan",
    "named_rehearsals",
]

__getattr__ = lazy(
    __name__,
    {
        "changes": ["Change", "compare"],
        "plan": ["Action", "ActionKind", "Endpoint", "HeldOut", "Plan", "Probabilities", "Timetable"],
        "ranking": ["make_plan"],
        "rehearsing": ["Candidate", "choose_rehearsals", "named_rehearsals"],
    },
)
