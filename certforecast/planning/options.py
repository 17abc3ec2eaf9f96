"""What could be done about one renewal, what it would avert, and what it would take."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from certforecast.loss import expected_loss
from certforecast.planning.plan import ActionKind
from certforecast.planning.rehearsing import gain
from certforecast.settings import EffectSettings, Settings

__all__ = ["FOR_EXECUTOR", "ORDERS", "Option", "options"]

#: What the executor does; all else is for people.
FOR_EXECUTOR: Final = ("renew", "install", "reissue")
#: What orders a certificate.
ORDERS: Final = ("renew", "reissue")

#: From which probability on a certificate is proposed for retirement.
_RETIRE_FROM: Final = 0.5
#: A failed attempt says something about the next one for so many days.
_RECENT_DAYS: Final = 7.0
#: Causes that lie with the authority or the account there: elsewhere they do not matter.
_THEIRS: Final = frozenset({"serverInternal", "rateLimited", "accountDoesNotExist", "unreachable"})
#: Causes that pass by themselves.
_PASSING: Final = frozenset({"badNonce", "timeout", "locked"})


@dataclass(frozen=True, slots=True)
class Option:
    """One thing that could be done.

    Attributes
    ----------
    failed, slipped : float
        What it averts of the expected loss by failure and by slipping, if it is in time.
    cost : float
    hours : float
        Of a person.
    earliest_days : float
        Until there is something to do; 0: now.
    check : str or None
        For `fix`: what failed.
    """

    kind: ActionKind
    failed: float
    slipped: float
    cost: float
    hours: float = 0.0
    earliest_days: float = 0.0
    check: str | None = None

    @property
    def net(self) -> float:
        """What it averts less what it costs, if it is in time."""
        return self.failed + self.slipped - self.cost


def options(
    row: dict[str, Any], criticality: float | None, able: bool, settings: Settings, effects: EffectSettings
) -> Iterator[Option]:
    """Yield what makes sense for one renewal.

    Parameters
    ----------
    row : dict
        A forecast's row with its features, and ``rehearsal``: what its last rehearsal found, if lately.
    criticality : float, optional
        Of its host.
    able : bool
        Whether the executor has an issuer, an installer and an endpoint for it.
    settings : Settings
    effects : EffectSettings
        The settings', or what the record has made of them.
    """
    costs, planning = settings.costs, settings.planning
    failed = expected_loss(0.0, row["p_failed"], criticality, costs)
    slipped = expected_loss(row["p_slipped"], 0.0, criticality, costs)

    def option(kind: ActionKind, share: float, cost: float, **more: Any) -> Option:
        return Option(kind, share * failed, share * slipped, cost, **more)

    if row["p_retired"] >= _RETIRE_FROM:
        # What it saves is the look that somebody would otherwise take at an alarm about nothing.
        saved = row["p_retired"] * costs.escalate
        yield Option("retire", saved, 0.0, costs.retire, hours=planning.hours_retire)
    cause, reload_failed = _cause(row), row.get("reload_failed") == 1.0
    rehearsed = row.get("rehearsal")
    wait = max(-row["days_past_due"], 0.0)
    if able and row.get("unserved") == 1.0:
        yield option("install", effects.install * (effects.blocked if reload_failed else 1.0), costs.install)
    elif able and wait <= planning.horizon_days:
        share = effects.renew * (effects.blocked if cause or rehearsed else 1.0)
        yield option("renew", share, costs.renew, earliest_days=wait)
        if cause in _THEIRS and settings.executor.fallback_issuer in settings.issuers:
            yield option("reissue", effects.reissue, costs.reissue, earliest_days=wait)
    if rehearsed or (cause and cause not in _THEIRS) or reload_failed:
        failing = f"rehearsal: {rehearsed}" if rehearsed else f"attempt: {cause}" if cause else "reload"
        yield option("fix", effects.fix, costs.fix, hours=planning.hours_fix, check=failing)
    elif able and row["days_left"] > 0:
        found = gain(
            failed + slipped,
            days_to_due=-row["days_past_due"],
            days_to_slip=row["days_to_slip"],
            since_rehearsal=row.get("days_since_rehearsal"),
            settings=settings,
        )
        yield Option("rehearse", found, 0.0, costs.rehearse)
    yield option("escalate", effects.escalate, costs.escalate, hours=planning.hours_escalate)


def _cause(row: dict[str, Any]) -> str | None:
    """Give why its last attempt failed, if that was lately and does not pass by itself."""
    code, age = row.get("attempt_failed_code"), row.get("attempt_failed_age")
    if not code or age is None or age > _RECENT_DAYS or code in _PASSING:
        return None
    return str(code)
