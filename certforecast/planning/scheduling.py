"""Give actions their start: within the limits, and where the whole averts most."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from certforecast.limits import limits_at
from certforecast.planning.options import FOR_EXECUTOR, ORDERS, Option
from certforecast.planning.plan import Action, Timetable
from certforecast.planning.schedule import solve
from certforecast.planning.schedule.filling import Rooms
from certforecast.planning.timetable import levels, problem
from certforecast.planning.windows import Place, Slots, place_of
from certforecast.renewals.ari import Asked
from certforecast.settings import PlanningSettings, Settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Draft", "schedule"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Draft:
    """An action without its start, and what scheduling needs to know of it.

    Attributes
    ----------
    action : Action
    option : Option
        What it was made from.
    environment : str or None
    organisation : str or None
        Of the issuer of the certificate in place.
    registered_domain, name_set : str or None
    lifetime_days : float
    slip_days : float
        Until the slip point.
    asked : Asked or None
        When its CA asks for it to be renewed.
    urgent : bool
        Whether that is early, as before a revocation.
    """

    action: Action
    option: Option
    environment: str | None
    organisation: str | None
    registered_domain: str | None
    name_set: str
    lifetime_days: float
    slip_days: float
    asked: Asked | None = None
    urgent: bool = False

    @property
    def window(self) -> Asked | None:
        """What its CA asks for, if a certificate is to be ordered."""
        return self.asked if self.option.kind in ORDERS else None

    @property
    def deadline(self) -> datetime:
        """When the loss begins if nothing is done."""
        not_after = self.action.not_after
        return min(not_after, self.asked.end) if self.asked is not None and self.urgent else not_after


def schedule(
    drafts: Sequence[Draft],
    certificates: "pd.DataFrame",
    slots: Slots,
    settings: Settings,
    still_open: "Mapping[str, Floats] | None" = None,
) -> tuple[list[Action], Timetable]:
    """Schedule what is to be done.

    Parameters
    ----------
    drafts : sequence of Draft
    certificates : DataFrame of shape (n_certificates, n_columns)
        All that are known: ``not_before, not_after, issuer_org, name_set_id, registered_domains``.
    slots : Slots
        The time ahead; the first begins now.
    settings : Settings
        Limits, windows, costs.
    still_open : mapping of str to ndarray of shape (n_slots,), optional
        By fingerprint: the probability that the renewal has not come by itself by each slot. Default 1.

    Returns
    -------
    list of Action
        In the order given. What the executor would start after the plan expires, and what finds no room, is
        a ``wait``.
    Timetable
    """
    now = slots.starts[0]
    if not drafts:
        end = Timetable(horizon_ends=slots.end, value=0.0, bound=0.0, gap=0.0, method="exact")
        return [], end
    moments = [
        # A look is no change: people keep to working hours, not to windows.
        _moments(draft, slots, settings) if draft.action.kind in FOR_EXECUTOR else slots.starts
        for draft in drafts
    ]
    jobs = _jobs(drafts, moments, slots, settings)
    allowed = np.array([[moment is not None for moment in row] for row in moments])
    open_ = None
    if still_open is not None:
        certain = np.ones(len(slots.starts))
        open_ = np.array([still_open.get(draft.action.fingerprint, certain) for draft in drafts])
    asked = problem(
        jobs,
        slots,
        settings.planning,
        settings.costs.outage_days,
        allowed=allowed,
        still_open=open_,
        tokens=_tokens(certificates, now),
        expiring=_expiring(certificates, now),
    )
    found = solve(asked)
    rooms = Rooms(asked)
    for number in np.flatnonzero(found.slots >= 0).tolist():
        rooms.take(number, int(found.slots[number]))
    actions = []
    for number, (draft, slot) in enumerate(zip(drafts, found.slots.tolist(), strict=True)):
        if slot < 0 and not (asked.values[number] > 0).any():
            continue  # at no time is it worth its cost
        start = moments[number][slot] if slot >= 0 else None
        full = rooms.full(number, int(asked.values[number].argmax())) if slot < 0 else []
        actions.append(_placed(draft, start, now, settings, full))
    table = Timetable(
        horizon_ends=slots.end,
        value=found.value,
        bound=found.bound,
        gap=found.gap,
        method=found.method,
    )
    return actions, table


def _placed(
    draft: Draft,
    start: datetime | None,
    now: datetime,
    settings: Settings,
    full: list[str],
) -> Action:
    action, planning = draft.action, settings.planning
    machine = action.kind in FOR_EXECUTOR
    changes: dict[str, Any] = {
        "start": start,
        "deadline": max(draft.deadline, now),
        "environment": draft.environment,
        "urgent": draft.urgent,
        "latest_start": max(_latest(draft, planning), now),
    }
    until = now + timedelta(hours=settings.executor.plan_valid_hours)
    # People are told at once, and when to begin; the executor begins what its plan is still valid for.
    if start is None or (machine and start >= until):
        changes |= {"kind": "wait", "then": action.kind}
        room = f"no room within the horizon; at its best time full: {', '.join(full)}"
        why = f"waits until {start:%Y-%m-%d %H:%M} UTC" if start else room
        changes["reasons"] = (*action.reasons, why)
    return action.model_copy(update=changes)


def _latest(draft: Draft, planning: PlanningSettings) -> datetime:
    """Give the last start that is in time for certain: also for the CA, if it asks for one."""
    machine = draft.option.kind in FOR_EXECUTOR
    lead = timedelta(days=planning.safe_lead_days if machine else planning.people_lead_days)
    latest = draft.deadline - (timedelta(0) if draft.urgent else lead)
    return min(latest, draft.window.end) if draft.window is not None else latest


def _moments(draft: Draft, slots: Slots, settings: Settings) -> Sequence[datetime | None]:
    """Give for each slot when the executor may begin; None where it may not."""
    place, window, now = _place(draft, settings), draft.window, slots.starts[0]
    if draft.action.not_after <= now or window is None:
        return slots.moments(place, expired=draft.action.not_after <= now or draft.urgent)
    chosen = now + timedelta(days=draft.option.earliest_days)
    return slots.moments_within(place, window.start, chosen, window.end, urgent=draft.urgent)


def _earliest(draft: Draft, moments: Sequence[datetime | None], slots: Slots) -> float:
    """Give from when on there is something to do: where the CA asks, the slot in which its moment lies."""
    if draft.window is None or draft.option.kind not in FOR_EXECUTOR:
        return draft.option.earliest_days
    return next((day for day, moment in zip(slots.days, moments, strict=True) if moment is not None), 0.0)


def _jobs(
    drafts: Sequence[Draft],
    moments: Sequence[Sequence[datetime | None]],
    slots: Slots,
    settings: Settings,
) -> "pd.DataFrame":
    """Give the columns of :data:`certforecast.planning.timetable.COLUMNS`."""
    import pandas as pd

    planning, now = settings.planning, slots.starts[0]
    rows = []
    for draft, possible in zip(drafts, moments, strict=True):
        action, option = draft.action, draft.option
        machine = option.kind in FOR_EXECUTOR
        left = (draft.deadline - now) / timedelta(days=1)
        authority, account = _authority(action, settings)
        domains = {
            "owner": action.owner,
            "issuer": draft.organisation,
            "registered_domain": draft.registered_domain,
        }
        rows.append(
            {
                "worth_failed": option.failed,
                "worth_slipped": option.slipped,
                "cost": option.cost,
                "machine": machine,
                "orders": option.kind in ORDERS,
                "hours": option.hours,
                "owner": action.owner,
                "domain": domains[planning.failure_domain] if machine else None,
                "earliest_days": _earliest(draft, possible, slots),
                "safe_days": (_latest(draft, planning) - now) / timedelta(days=1),
                "left_days": left,
                "slip_days": draft.slip_days,
                "lifetime_days": draft.lifetime_days,
                "authority": authority,
                "account": account,
                "registered_domain": draft.registered_domain,
                "name_set": draft.name_set,
                "ari": option.kind == "renew" and draft.window is not None and _speaks_acme(action, settings),
                "same_names": option.kind == "renew",
            }
        )
    return pd.DataFrame(rows)


def _speaks_acme(action: Action, settings: Settings) -> bool:
    section = settings.issuers.get(_account(action, settings) or "")
    return section is not None and section.authority_url is not None


def _account(action: Action, settings: Settings) -> str | None:
    """Give the issuer that will be asked first."""
    section = settings.issuers.get(action.issuer or "")
    return action.issuer if section is None else section.stands_for or action.issuer


def _authority(action: Action, settings: Settings) -> tuple[str | None, str | None]:
    account = _account(action, settings)
    section = settings.issuers.get(account or "")
    if section is None or section.authority_url is None:
        return None, None
    known = limits_at(section.authority_url)
    return (known[0], account) if known else (None, None)


def _place(draft: Draft, settings: Settings) -> Place:
    planning = settings.planning
    by_host = any(each.host is not None for each in (*planning.windows, *planning.freezes))
    owner, _, names = place_of(draft.action)
    return owner, draft.environment, names if by_host else ()


def _tokens(certificates: "pd.DataFrame", now: datetime) -> dict[tuple[str, str, str], float]:
    """Say what is left in buckets by the certificates that were issued lately."""
    from certforecast.limits import authorities

    found = {}
    for short, authority in authorities().items():
        theirs = certificates[certificates["issuer_org"].isin(authority.organisations)]
        first = theirs.groupby("name_set_id")["not_before"].transform("min")
        for bucket in authority.buckets:
            if bucket.counts != "orders" or bucket.per == "account":
                continue
            since = now - timedelta(seconds=bucket.capacity * bucket.refill_s)
            recent = theirs["not_before"] > since
            if "same names" in bucket.exempt:
                recent &= theirs["not_before"] == first
            rows: Any = theirs[recent].itertuples()
            taken: dict[str, list[datetime]] = defaultdict(list)
            for row in rows:
                keys = row.registered_domains if bucket.per == "registered domain" else [row.name_set_id]
                for key in keys:
                    taken[str(key)].append(row.not_before.to_pydatetime())
            for key, times in taken.items():
                found[short, bucket.name, key] = levels(times, bucket, now)
    return found


def _expiring(certificates: "pd.DataFrame", now: datetime) -> dict[int, int]:
    """Count by day ahead what expires already."""
    ahead = (certificates["not_after"] - now) / timedelta(days=1)
    return dict(Counter(np.floor(ahead[ahead >= 0]).astype(int).tolist()))
