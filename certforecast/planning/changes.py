"""What changed from one plan to the next, and why."""

from collections.abc import Iterator
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from certforecast.planning.plan import Action, Plan

__all__ = ["Change", "compare"]

#: Smaller changes of a probability are not worth a word.
_NOTABLE: Final = 0.01


class Change(BaseModel):
    """One renewal that the plans treat differently.

    Attributes
    ----------
    what : {"new", "gone", "changed"}
    name, fingerprint : str
        Of the lineage, and of its certificate now in place.
    before, after : Action or None
    why : tuple of str
        What differs, in words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: Literal["new", "gone", "changed"]
    name: str
    fingerprint: str
    before: Action | None = None
    after: Action | None = None
    why: tuple[str, ...]


def compare(before: Plan, after: Plan) -> list[Change]:
    """Say how a plan differs from an earlier one.

    Parameters
    ----------
    before, after : Plan

    Returns
    -------
    list of Change
        New and changed actions by rank, then what is gone by its old rank. Where nothing is said of a
        renewal, both plans treat it alike.
    """
    old = {action.fingerprint: action for action in before.actions}
    new = {action.fingerprint: action for action in after.actions}
    renewed = {action.lineage: action for action in after.actions}
    found = []
    for action in after.actions:
        was = old.get(action.fingerprint)
        if was is None:
            found.append(_change("new", None, action, [f"{_doing(action)}: {'; '.join(action.reasons[:2])}"]))
        elif why := list(_differences(was, action)):
            found.append(_change("changed", was, action, why))
    held = {left.fingerprint for left in after.held_out}
    for action in before.actions:
        if action.fingerprint in new:
            continue
        if action.fingerprint in held:
            said = "it is held out now"
        elif (now := renewed.get(action.lineage)) is not None:
            said = f"another certificate of the lineage is in place, {now.fingerprint[:12]}"
        else:
            said = "it is renewed, retired, or no longer worth the cost"
        found.append(_change("gone", action, None, [said]))
    return found


def _change(
    what: Literal["new", "gone", "changed"], before: Action | None, after: Action | None, why: list[str]
) -> Change:
    of = after or before
    if of is None:
        raise ValueError("a change is of something")
    return Change(
        what=what, name=of.name, fingerprint=of.fingerprint, before=before, after=after, why=tuple(why)
    )


def _differences(was: Action, now: Action) -> Iterator[str]:
    if _doing(was) != _doing(now):
        yield f"{_doing(was)} became {_doing(now)}"
    elif was.start != now.start and now.kind == "wait":
        yield f"it waits until {_when(now)}, not {_when(was)}"
    for outcome in ("failed", "slipped", "retired"):
        before, after = (getattr(action.probabilities, outcome) for action in (was, now))
        if abs(after - before) >= _NOTABLE:
            yield f"P({outcome}) went from {before:.0%} to {after:.0%}"
    if was.criticality != now.criticality:
        yield f"its criticality went from {_number(was.criticality)} to {_number(now.criticality)}"
    for what in ("owner", "issuer", "installer", "check", "endpoints", "names", "successor"):
        before, after = getattr(was, what), getattr(now, what)
        if before != after:
            yield f"{what}: {_words(before)} became {_words(after)}"
    if was.cost != now.cost and was.kind == now.kind:
        yield f"its cost went from {was.cost:g} to {now.cost:g}"
    fresh = [reason for reason in now.reasons if reason not in was.reasons]
    if fresh and _doing(was) != _doing(now):
        yield fresh[-1] if now.kind == "wait" else f"now: {fresh[0]}"


def _doing(action: Action) -> str:
    return f"wait, then {action.then}" if action.kind == "wait" else action.kind


def _when(action: Action) -> str:
    return f"{action.start:%Y-%m-%d %H:%M}" if action.start else "there is room"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:g}"


def _words(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
