"""The order of an action's steps, and what became of it."""

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from certforecast.errors import ExecutionError
from certforecast.execution.issuers import ChallengeError
from certforecast.execution.results import ActionResult, Status, StepTime
from certforecast.execution.steps import Done, Steps
from certforecast.planning.plan import Action

__all__ = ["carry_out", "run_step"]

_LOG = logging.getLogger(__name__)

#: These change nothing where the server looks, so there is nothing to roll back.
_PREPARING: Final = ("issue", "stage", "check")
_CHANGING: Final = ("install", "verify")


def carry_out(action: Action, step: Callable[[str, Done], dict[str, Any]]) -> ActionResult:
    """Take an action through its steps.

    The same answers from `step` lead the same way: that is what lets a killed action go on where it was.

    Parameters
    ----------
    action : Action
        Of kind ``renew`` or ``install``.
    step : callable
        Carries out the step of a name, or gives what it gave before it was checkpointed.
    """
    done: Done = {}

    def go(*names: str) -> bool:
        for name in names:
            done[name] = step(name, done)
            if "error" in done[name]:
                return False
        return True

    ready = go("order") and ("present" in done["order"] or go(*_PREPARING))
    if ready and not go(*_CHANGING) and "present" not in done["order"]:
        go("rollback")
    go("record")
    return _result(action, done)


def run_step(steps: Steps, name: str, action: Action, done: Done) -> dict[str, Any]:
    """Carry out a step. An error becomes part of what is checkpointed: no step raises."""
    started = time.perf_counter()
    try:
        result = getattr(steps, name)(action, done)
    except ExecutionError as error:
        result = {"error": {"message": str(error), "code": error.code}}
        if isinstance(error, ChallengeError):
            result["error"]["challenge"] = True
    except Exception as error:  # whatever it is, what was changed must be put back
        _LOG.exception("%s: step %s", action.name, name)
        result = {"error": {"message": f"{type(error).__name__}: {error}", "code": "unexpected"}}
    seconds = round(time.perf_counter() - started, 4)
    return {"at": steps.clock().isoformat(), "seconds": seconds, **result}


def _result(action: Action, done: Done) -> ActionResult:
    status, detail = _status(action, done)
    if complaint := done["record"].get("error"):
        detail += f"; not recorded in the store: {complaint['message']}"
    served = done["order"].get("served") or [None]
    looks = (done.get("rollback") or {}).get("looks") or (done.get("verify") or {}).get("looks")
    return ActionResult(
        action_id=action.id,
        name=action.name,
        kind=action.kind,
        status=status,
        fingerprint_before=served[0],
        fingerprint_after=looks[0]["fingerprint"] if looks else served[0],
        detail=detail,
        steps=tuple(StepTime(name=name, seconds=result["seconds"]) for name, result in done.items()),
    )


def _status(action: Action, done: Done) -> tuple[Status, str]:
    failed = [name for name, result in done.items() if "error" in result and name != "record"]
    if not failed:
        return "verified", _proven(action, done)
    reason = f"{failed[0]}: {done[failed[0]]['error']['message']}"
    if complaints := done.get("install", {}).get("complaints"):
        reason += f" ({'; '.join(complaints)})"
    if "rollback" not in done:
        return "failed", f"{reason}; no file was changed"
    if "rollback" not in failed:
        return "rolled_back", f"{reason}; the old certificate is back and proven"
    return "failed", f"{reason}; rollback: {done['rollback']['error']['message']}"


def _proven(action: Action, done: Done) -> str:
    where = ", ".join(map(str, action.endpoints))
    if "present" in done["order"]:
        return f"was in place, is served at {where} now"
    if action.kind == "install":
        return f"the successor was not in place, so a new one was ordered; served at {where}"
    return f"served at {where}"
