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

__all__ = [
    "Action",
    "ActionKind",
    "Change",
    "Endpoint",
    "HeldOut",
    "Plan",
    "Probabilities",
    "Timetable",
    "compare",
    "make_plan",
]

__getattr__ = lazy(
    __name__,
    {
        "changes": ["Change", "compare"],
        "plan": ["Action", "ActionKind", "Endpoint", "HeldOut", "Plan", "Probabilities", "Timetable"],
        "ranking": ["make_plan"],
    },
)
