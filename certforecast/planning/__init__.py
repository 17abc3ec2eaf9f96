"""Expected loss, ranked actions, and the plan that carries them to the executor."""

from typing import TYPE_CHECKING

from certforecast.lazy import lazy

if TYPE_CHECKING:
    from certforecast.planning.approvals import Approval, approve, read_approvals, write_approval
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
    "Approval",
    "Candidate",
    "Change",
    "Endpoint",
    "HeldOut",
    "Plan",
    "Probabilities",
    "Timetable",
    "approve",
    "choose_rehearsals",
    "compare",
    "make_plan",
    "named_rehearsals",
    "read_approvals",
    "write_approval",
]

__getattr__ = lazy(
    __name__,
    {
        "approvals": ["Approval", "approve", "read_approvals", "write_approval"],
        "changes": ["Change", "compare"],
        "plan": ["Action", "ActionKind", "Endpoint", "HeldOut", "Plan", "Probabilities", "Timetable"],
        "ranking": ["make_plan"],
        "rehearsing": ["Candidate", "choose_rehearsals", "named_rehearsals"],
    },
)
