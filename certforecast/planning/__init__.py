"""Expected loss, ranked actions, and the plan that carries them to the executor."""

from typing import TYPE_CHECKING

from certforecast.lazy import lazy

if TYPE_CHECKING:
    from certforecast.planning.plan import Action, ActionKind, Endpoint, HeldOut, Plan, Probabilities
    from certforecast.planning.ranking import make_plan

__all__ = ["Action", "ActionKind", "Endpoint", "HeldOut", "Plan", "Probabilities", "make_plan"]

__getattr__ = lazy(
    __name__,
    {
        "plan": ["Action", "ActionKind", "Endpoint", "HeldOut", "Plan", "Probabilities"],
        "ranking": ["make_plan"],
    },
)
