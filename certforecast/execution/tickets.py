"""Tickets: an action as a worker gets it, signed by who made the plan.

Whoever can write to the executor's database must not be able to have anything done by that.
"""

import json
from datetime import datetime
from typing import Any, Final

from certforecast.errors import ExecutionError, SignatureError
from certforecast.planning.plan import Action, Plan
from certforecast.settings import Settings
from certforecast.signing import check_seal, seal, signing_key, verifying_key

__all__ = ["check_in_time", "open_ticket", "run_id", "tickets"]

_PURPOSE: Final = "action"


def run_id(plan: Plan, action_id: str) -> str:
    """Name the run of an action: the same action of the same plan is never carried out twice."""
    return f"{plan.id}-{action_id}"


def tickets(plan: Plan, settings: Settings) -> dict[str, dict[str, Any]]:
    """Give the tickets of a plan's actions, by the actions' ids.

    Raises
    ------
    SignatureError
        If the home folder's key cannot be used.
    """
    key, made = signing_key(settings.home), {}
    for action in plan.actions:
        ticket = {
            "plan": plan.id,
            "expires_at": plan.expires_at.isoformat(),
            "action": action.model_dump(mode="json"),
        }
        made[action.id] = {**ticket, "seal": seal(_bytes(ticket), _PURPOSE, key).decode()}
    return made


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
        check_seal(_bytes(signed), str(ticket.get("seal")).encode(), _PURPOSE, verifying_key(settings.home))
    except SignatureError as error:
        raise SignatureError(f"action {action.id} in the executor's database {error}") from error
    return action


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


def _bytes(ticket: dict[str, Any]) -> bytes:
    return json.dumps(ticket, sort_keys=True, separators=(",", ":")).encode()
