"""What takes part in an action and may fail by itself: its issuer, its installer, its failure domain."""

from certforecast.execution.breakers import Outcome, Part
from certforecast.execution.results import ActionResult, Cause
from certforecast.history.names import registered_domains
from certforecast.planning.plan import Action
from certforecast.settings import Settings

__all__ = ["installers_of", "outcome_of", "parts_of"]

#: Which kinds of parts a failure is blamed on.
_BLAMED: dict[Cause | None, tuple[str, ...]] = {
    "issuer": ("issuer",),
    "challenge": ("domain",),
    "installer": ("installer", "domain"),
    "wire": ("installer", "domain"),
}


def installers_of(action: Action) -> set[str]:
    """Give the names of the installers that an action uses: an endpoint may have its own."""
    named = {endpoint.installer or action.installer for endpoint in action.endpoints} or {action.installer}
    return {name for name in named if name is not None}


def parts_of(action: Action, settings: Settings) -> tuple[Part, ...]:
    """Give what takes part in an action.

    Parameters
    ----------
    action : Action
        For the executor.
    settings : Settings
        Says what is a failure domain: a registered domain, an owner, or an issuer.
    """
    parts: list[Part] = []
    if action.issuer is not None:
        parts.append(("issuer", action.issuer))
    parts += [("installer", name) for name in sorted(installers_of(action))]
    domain = {
        "registered_domain": next(iter(registered_domains([action.host])), None),
        "owner": action.owner,
        "issuer": action.issuer,
    }[settings.planning.failure_domain]
    parts.append(("domain", domain or action.name))
    return tuple(parts)


def outcome_of(action: Action, result: ActionResult, settings: Settings) -> Outcome | None:
    """Say how an action ended, and what it failed by; None if that tells nothing about its parts."""
    if result.ended_at is None or result.status not in ("verified", "rolled_back", "failed"):
        return None
    parts = parts_of(action, settings)
    if result.status == "verified":
        return Outcome(parts, result.ended_at, None)
    kinds = _BLAMED.get(result.cause, ("issuer", "installer", "domain"))
    return Outcome(parts, result.ended_at, frozenset(part for part in parts if part[0] in kinds))
