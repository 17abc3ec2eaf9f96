"""The order of an action's steps, and what became of it."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any, Final

from certforecast.errors import ExecutionError, InstallationError, IssuanceError, VerificationError
from certforecast.execution.issuers import ChallengeError
from certforecast.execution.results import ActionResult, Cause, Status, StepTime
from certforecast.execution.steps import Done, Steps
from certforecast.planning.plan import Action

__all__ = ["carry_out", "run_step", "step_of"]

_LOG = logging.getLogger(__name__)

#: These change nothing where the server looks, so there is nothing to roll back.
_PREPARING: Final = ("issue", "stage", "check")
_CHANGING: Final = ("install", "verify")

#: Where the key of an action is gone, as when another machine had it, the action begins anew so many times.
_ANEW: Final = 2

#: What an error is blamed on, the most special first.
_CAUSES: Final[tuple[tuple[type[Exception], Cause], ...]] = (
    (ChallengeError, "challenge"),
    (IssuanceError, "issuer"),
    (InstallationError, "installer"),
    (VerificationError, "wire"),
)


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
    rounds = 1

    def go(*names: str) -> bool:
        for name in names:
            done[name] = step(name if rounds == 1 else f"{name}#{rounds}", done)
            if "error" in done[name]:
                return False
        return True

    ready = go("order") and ("present" in done["order"] or go(*_PREPARING))
    while not ready and rounds < _ANEW and _key_lost(done):
        rounds += 1
        done.clear()
        ready = go("order") and ("present" in done["order"] or go(*_PREPARING))
    if (
        ready
        and not go(*_CHANGING)
        and "present" not in done["order"]
        and done["install"].get("touched") != 0
    ):
        go("rollback")
    go("clear")
    return _result(action, done)


def _key_lost(done: Done) -> bool:
    return any(result.get("error", {}).get("code") == "key_lost" for result in done.values())


def step_of(name: str) -> tuple[str, str]:
    """Take the name of a checkpoint apart: the step, and the round, empty for the first."""
    step, _, number = name.partition("#")
    return step, number


def run_step(
    steps: Steps,
    name: str,
    action: Action,
    done: Done,
    *,
    alone: AbstractContextManager[None] | None = None,
    check: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Carry out a step under a lock, if a check before it raises nothing.

    An error becomes part of what is checkpointed: no step raises.
    """
    started, begun = time.perf_counter(), check is None
    try:
        with alone or nullcontext():
            if check is not None:
                check()
            begun = True
            result = getattr(steps, step_of(name)[0])(action, done)
    except ExecutionError as error:
        cause = next((cause for kind, cause in _CAUSES if isinstance(error, kind)), "unexpected")
        result = {"error": {"message": str(error), "code": error.code, "cause": cause}}
        if not begun:
            result["touched"] = 0  # there is nothing to put back
    except Exception as error:  # whatever it is, what was changed must be put back
        _LOG.exception("%s: step %s", action.name, name)
        result = {
            "error": {
                "message": f"{type(error).__name__}: {error}",
                "code": "unexpected",
                "cause": "unexpected",
            }
        }
    seconds = round(time.perf_counter() - started, 4)
    return {"at": steps.clock().isoformat(), "seconds": seconds, **result}


def _result(action: Action, done: Done) -> ActionResult:
    status, detail = _status(action, done)
    errors = [result["error"] for name, result in done.items() if "error" in result and name != "clear"]
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
        cause=errors[0].get("cause", "unexpected") if errors else None,
        ended_at=datetime.fromisoformat(done["clear"]["at"]),
        steps=tuple(StepTime(name=name, seconds=result["seconds"]) for name, result in done.items()),
    )


def _status(action: Action, done: Done) -> tuple[Status, str]:
    failed = [name for name, result in done.items() if "error" in result and name != "clear"]
    if not failed:
        return "verified", _proven(action, done)
    reason = f"{failed[0]}: {done[failed[0]]['error']['message']}"
    if complaints := done.get("install", {}).get("complaints"):
        reason += f" ({'; '.join(complaints)})"
    if done[failed[0]]["error"]["code"] in ("expired", "not_allowed", "superseded"):
        return "skipped", done[failed[0]]["error"]["message"]
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
