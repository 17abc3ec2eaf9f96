"""What another version of certforecast began: whether it can go on here.

It can where today's order of steps leads the same way through all that is done already, as it must for a
killed action of this version.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from certforecast.errors import CertForecastError
from certforecast.execution.tickets import open_ticket
from certforecast.execution.workflow import carry_out, step_of
from certforecast.planning.plan import Action
from certforecast.settings import Settings

__all__ = ["VERSION", "left_over", "obstacle"]

#: Version of the order of steps and of what they give.
VERSION: Final = "2"

#: Versions whose results mean what they mean today; the first one did not sign its actions. A new order
#: of steps leaves the version before in here, a new meaning of what they give takes it out.
_UNDERSTOOD: Final = frozenset({VERSION})


class _OverError(Exception):
    """All that is done was read."""


def obstacle(
    version: str | None, ticket: dict[str, Any], steps: Sequence[Mapping[str, Any]], settings: Settings
) -> str | None:
    """Say why a run that another version began cannot go on here; None if it can.

    Parameters
    ----------
    version : str or None
        Which began it.
    ticket : dict
        What it is to do.
    steps : sequence of dict
        What is done, as DBOS lists it: each with `function_name` and `output`.
    settings : Settings
        Whose home folder has the key that the ticket's seal is checked with.
    """
    if version not in _UNDERSTOOD:
        return "what it noted is not understood here"
    try:
        action = open_ticket(ticket, settings)
    except CertForecastError as error:
        return str(error)
    if not _replays(action, [(str(step["function_name"]), step["output"]) for step in steps]):
        return "its steps come in another order here"
    return None


def left_over(version: str | None, steps: Sequence[Mapping[str, Any]], why: str) -> str:
    """Say of a run that cannot go on here in what state it is, and what to do."""
    done = str(steps[-1]["function_name"]) if steps else None
    state = f"its last step was {done}" if done else "no step of it was done"
    touched = any(step_of(str(step["function_name"]))[0] in ("check", "install", "verify") for step in steps)
    look = "look what its server serves, then " if touched else ""
    return (
        f"begun by version {version} of the executor, {state}, and {why}: end it with the certforecast that "
        f"began it, or {look}make a new plan"
    )


def _replays(action: Action, steps: list[tuple[str, Any]]) -> bool:
    """Say whether an action takes all the steps that are done, in their order."""
    left = list(steps)

    def step(name: str, _: object) -> Any:
        if not left:
            raise _OverError
        noted, output = left.pop(0)
        if noted != name:
            raise LookupError(noted)
        return output

    try:
        carry_out(action, step)
    except _OverError:
        return True
    except Exception:  # what a step gave was something else then
        return False
    return not left
