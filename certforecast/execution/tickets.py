"""Tickets: an action as a worker gets it, signed by who made the plan.

Whoever can write to the executor's database must not be able to have anything done by that.
"""

from datetime import datetime
from typing import Any

from certforecast.errors import ExecutionError, SignatureError
from certforecast.planning.plan import ACTION_PURPOSE, Action, Plan, ticket_bytes
from certforecast.settings import Settings
from certforecast.signing import check_seal, verifying_key

__all__ = ["check_in_time", "open_ticket", "run_id", "ticket_in", "tickets"]


def run_id(plan: Plan, action_id: str) -> str:
    """Name the run of an action: the same action of the same plan is never carried out twice."""
    return f"{plan.id}-{action_id}"


def tickets(plan: Plan) -> dict[str, dict[str, Any]]:
    """Give the tickets of a signed plan's actions, by the actions' ids."""
    return {action.id: {**plan.ticket(action), "seal": action.seal} for action in plan.actions}


def open_ticket(ticket: dict[str, Any], settings: Settings) -> Action:
    """Give the action of a ticket.

    Parameters
    ----------
    ticket : dict
        As :func:`tickets` made it.
    settings : Settings
        Whose home folder has the key of who made the plan.

    Raises
    ------
    SignatureError
        If it was changed, or is signed by another key.
    ExecutionError
        If it is not understood here.
    """
    try:
        signed = {name: ticket[name] for name in ("plan", "expires_at", "action")}
        action = Action.model_validate(signed["action"])
    except (KeyError, TypeError, ValueError) as error:
        raise ExecutionError(
            f"the executor's database holds an action that is not understood here: {error}"
        ) from error
    try:
        mark = str(ticket.get("seal")).encode()
        check_seal(ticket_bytes(signed), mark, ACTION_PURPOSE, verifying_key(settings.home))
    except SignatureError as error:
        raise SignatureError(f"action {action.id} in the executor's database {error}") from error
    return action


def ticket_in(given: Any) -> dict[str, Any]:
    """Give the ticket in what a run was given, as DBOS lists it; an empty one if that is something else."""
    args = given.get("args") if isinstance(given, dict) else None
    ticket = args[0] if isinstance(args, list | tuple) and args else None
    return ticket if isinstance(ticket, dict) else {}


def check_in_time(ticket: dict[str, Any], now: datetime) -> None:
    """Refuse to begin an action of an expired plan.

    Raises
    ------
    ExecutionError
        If so.
    """
    expires_at = datetime.fromisoformat(ticket["expires_at"])
    if now > expires_at:
        raise ExecutionError(
            f"plan {ticket['plan']} expired at {expires_at:%Y-%m-%d %H:%M} UTC before this action began: "
            "make a new one",
            code="expired",
        )
