"""Expected loss, ranked actions, and the plan that carries them to the executor."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from certforecast.planning.plan import Action, ActionKind, Endpoint, Plan, Probabilities
    from certforecast.planning.ranking import make_plan

_HOMES = {
    "Action": "plan",
    "ActionKind": "plan",
    "Endpoint": "plan",
    "Plan": "plan",
    "Probabilities": "plan",
    "make_plan": "ranking",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"certforecast.planning.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
