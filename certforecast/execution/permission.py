"""Whether a plan may be carried out at all. Nothing is touched before all of this holds."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from certforecast.errors import ExecutionError, InputError, PlanError
from certforecast.execution.parts import installers_of
from certforecast.planning.approvals import Approval, approvers_of
from certforecast.planning.options import FOR_EXECUTOR
from certforecast.planning.plan import Action, Plan
from certforecast.planning.windows import closed, place_of
from certforecast.settings import Settings
from certforecast.signing import verifying_key

__all__ = ["check_allowed", "check_approved", "check_permitted"]

_HARMLESS: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")


def check_permitted(plan: Plan, settings: Settings) -> None:
    """Refuse a plan that is not ours, or names what may not be used.

    Raises
    ------
    SignatureError
        If it is not signed by the key of the home folder, or was changed since.
    PlanError
        If an action's id is not one that planning gives, it acts on what it holds out, or names an issuer
        or installer that may not be used.
    """
    plan.check_signed(verifying_key(settings.home))
    held_out = {left.fingerprint for left in plan.held_out}
    ids = set[str]()
    for action in plan.actions:
        if not _HARMLESS.fullmatch(action.id) or action.id in ids:  # it names the staging folder
            raise PlanError(f"plan {plan.id}: {action.id!r} is no action's id; make the plan again")
        ids.add(action.id)
        if action.fingerprint in held_out:
            raise PlanError(
                f"plan {plan.id} both acts on {action.name} and holds it out; make the plan again"
            )
        if action.kind in FOR_EXECUTOR and (why := _forbidden(action, settings)) is not None:
            raise PlanError(f"plan {plan.id}: {why}")


def check_allowed(action: Action, settings: Settings, now: datetime) -> None:
    """Refuse to change anything that the settings do not allow now, whatever they did when it was planned.

    What has expired, and what a CA asks for before it is due, may be changed at any time.

    Raises
    ------
    ExecutionError
        If an issuer or installer may not be used, or its place not be changed now.
    """
    why = _forbidden(action, settings)
    if why is None and now < action.not_after and not action.urgent:
        try:
            why = closed(place_of(action), settings.planning, now)
        except InputError as error:
            why = str(error)
        why = why and f"{action.name}: {why}; plan again"
    if why is not None:
        raise ExecutionError(why, code="not_allowed")


def check_approved(plan: Plan, approvals: Sequence[Approval], settings: Settings, now: datetime) -> None:
    """Refuse a plan that has expired, or changes much and was approved by too few.

    Raises
    ------
    PlanError
        If so.
    SignatureError
        If an approval does not hold.
    """
    plan.check_fresh(now)
    policy, radius = settings.approvals, blast_radius(plan)
    if policy.above is None or radius <= policy.above:
        return
    people = approvers_of(plan, approvals, policy.approvers)
    if len(people) < policy.needed:
        by = f", {', '.join(people)} did" if people else ""
        raise PlanError(
            f"plan {plan.id} changes {radius} endpoints: above {policy.above}, {policy.needed} people must "
            f"approve it{by}: 'certforecast plan approve'"
        )


def blast_radius(plan: Plan) -> int:
    """Count the endpoints that a plan has the executor change."""
    changed = {
        (endpoint.host, endpoint.port, endpoint.server_name)
        for action in plan.actions
        if action.kind in FOR_EXECUTOR
        for endpoint in action.endpoints
    }
    return len(changed)


def _forbidden(action: Action, settings: Settings) -> str | None:
    """Say which issuer or installer of an action may not be used, or is not there."""
    executor = settings.executor
    issuers = [action.issuer, *getattr(settings.issuers.get(action.issuer or ""), "issuers", ())]
    checked: list[tuple[str, str | None, Any, list[str] | None]] = [
        ("issuer", name, settings.issuers, executor.allowed_issuers) for name in issuers
    ]
    for used in sorted(installers_of(action)):
        checked.append(("installer", used, settings.installers, executor.allowed_installers))
    for what, name, sections, allowed in checked:
        if allowed is not None and name is not None and name not in allowed:
            return f"{action.name} names the {what} {name}, which executor.allowed_{what}s does not allow"
        if name is not None and name not in sections:
            known = ", ".join(sorted(sections)) or "none"
            return (
                f"{action.name} names the {what} {name}, and the settings have no section [{what}s.{name}] "
                f"(there are: {known})"
            )
    return None
