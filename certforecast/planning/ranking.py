"""From forecasts to ranked actions: what to do, in which order, and what it is worth."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from certforecast.clock import Clock, as_utc, system_clock
from certforecast.loss import expected_loss
from certforecast.planning.asking import asked, heeded
from certforecast.planning.effects import learned
from certforecast.planning.holdout import hold_out
from certforecast.planning.options import options
from certforecast.planning.places import endpoints, hosts, tools
from certforecast.planning.plan import Action, Endpoint, Plan, Probabilities, action_id, plan_id
from certforecast.planning.reasons import explained, reasons
from certforecast.planning.scheduling import Draft, schedule
from certforecast.planning.windows import Slots
from certforecast.renewals import HasTables, renewals
from certforecast.settings import EffectSettings, Settings

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool

__all__ = ["make_plan"]

#: What is asked of certificates.
_CERTIFICATE: Final = (
    *("fingerprint", "names", "name_set_id", "registered_domains", "issuer_org"),
    *("not_before", "not_after"),
)


def make_plan(
    history: HasTables,
    forecasts: "pd.DataFrame",
    as_of: datetime,
    settings: Settings,
    *,
    model: str | None = None,
    explainer: "OutcomePool | OutcomeClassifier | None" = None,
    clock: Clock = system_clock,
) -> Plan:
    """Choose for each renewal the action that averts most, and rank the actions.

    A renewal that is not due is left alone, unless looking into it is worth its cost. What has
    expired and is still served counts as failed with certainty and is planned for too.

    Parameters
    ----------
    history : History
        The store the forecasts were made from.
    forecasts : DataFrame
        As given by :func:`certforecast.models.forecast`, for the same `as_of`.
    as_of : datetime
        Nothing known later is used.
    settings : Settings
        Costs, effects, which issuers and installers there are, and whether some renewals are held out
        (:mod:`certforecast.planning.holdout`).
    model : str, optional
        Which model made the forecasts, for the record.
    explainer : OutcomePool or OutcomeClassifier, optional
        That model itself: what moved its forecasts then comes first among the reasons.
    clock : callable
        Gives the present; a plan expires ``executor.plan_valid_hours`` after it was made.

    Returns
    -------
    Plan
        Ranked by expected loss averted less the action's cost; what is not worth its cost is left out. Each
        has its start within the limits of ``settings.planning``; what does not start before the plan expires
        waits, and comes last.

    Raises
    ------
    InputError
        If a maintenance window, time zone or country in the settings is not understood.
    """
    now, moment = clock(), as_utc(as_of)
    known = renewals(history, as_of, settings.policy)
    successors = known.set_index("fingerprint")["successor"].dropna()
    rows = [
        *(
            _plain(row) | {"successor": successors.get(row["fingerprint"])}
            for row in forecasts.to_dict("records")
        ),
        *_failed_rows(known, as_of, settings),
    ]
    places, described = endpoints(history, as_of, settings.installers), hosts(history, as_of)
    certificates = history.tables().at([as_of]).certificates.select(*_CERTIFICATE).to_pandas()
    by_key = {certificate.fingerprint: certificate for certificate in certificates.itertuples()}
    rehearsed, windows = _rehearsed(history, moment, settings), asked(history, as_of)
    effects = learned(history, as_of, settings.effects, settings.executor.actor)
    drafts = []
    for row in rows:
        key = row["fingerprint"]
        row["rehearsal"], row["asked"] = rehearsed.get(key), windows.get(key)
        row = heeded(row, moment, settings.policy)
        draft = _draft(row, by_key[key], places[key], _plain(described.get(key, {})), settings, effects)
        if draft is not None:
            drafts.append(draft)
    kept, held_out = hold_out([draft.action for draft in drafts], moment, settings.planning, settings.costs)
    spared = {left.fingerprint for left in held_out}
    drafts = [draft for draft in drafts if draft.action.fingerprint not in spared]
    if explainer is not None:
        told = explained(kept, known, explainer, forecasts)
        drafts = [replace(draft, action=action) for draft, action in zip(drafts, told, strict=True)]
    slots = Slots(moment, settings.planning)
    still_open = _still_open(explainer, forecasts, slots)
    actions, timetable = schedule(drafts, certificates, slots, settings, still_open)
    actions.sort(key=_order)
    ranked = tuple(action.model_copy(update={"rank": rank}) for rank, action in enumerate(actions, start=1))
    return Plan(
        id=plan_id(as_of, ranked),
        created_at=now,
        as_of=moment,
        expires_at=now + timedelta(hours=settings.executor.plan_valid_hours),
        model=model,
        actions=ranked,
        timetable=timetable,
        held_out=tuple(sorted(held_out, key=lambda left: (-left.expected_loss_averted, left.fingerprint))),
    )


def _order(action: Action) -> tuple[bool, float, datetime, str]:
    """What is worth most comes first, what waits last."""
    return (
        action.kind == "wait",
        action.cost - action.expected_loss_averted,
        action.not_after,
        action.id,
    )


def _draft(
    row: dict[str, Any],
    certificate: Any,
    served: list[Endpoint],
    host: dict[str, Any],
    settings: Settings,
    effects: EffectSettings,
) -> Draft | None:
    """Choose what averts most for one renewal; None if nothing is worth its cost."""
    issuer, installer = tools(host, settings)
    placeable = installer is not None or all(endpoint.installer is not None for endpoint in served)
    able = issuer is not None and placeable and bool(served)
    criticality = host.get("criticality")
    best = max(options(row, criticality, able, settings, effects), key=lambda option: option.net)
    if best.net <= 0:
        return None
    names = tuple(certificate.names)
    action = Action(
        id=action_id(best.kind, row["fingerprint"], row["as_of"]),
        rank=1,
        kind=best.kind,
        lineage=row["lineage"],
        name=row["name"],
        fingerprint=row["fingerprint"],
        successor=row.get("successor"),
        names=names,
        endpoints=tuple(served),
        not_after=row["not_after"],
        probabilities=Probabilities(
            on_time=row["p_on_time"],
            slipped=row["p_slipped"],
            failed=row["p_failed"],
            retired=row["p_retired"],
        ),
        expected_loss=expected_loss(row["p_slipped"], row["p_failed"], criticality, settings.costs),
        expected_loss_averted=best.failed + best.slipped,
        cost=best.cost,
        hours=best.hours,
        owner=host.get("owner"),
        check=best.check,
        criticality=criticality,
        issuer=settings.executor.fallback_issuer if best.kind == "reissue" else issuer,
        installer=installer,
        reasons=tuple(reasons(row)),
    )
    return Draft(
        action,
        best,
        environment=host.get("environment"),
        organisation=certificate.issuer_org,
        registered_domain=next(iter(certificate.registered_domains), None),
        name_set=certificate.name_set_id,
        lifetime_days=row["validity_days"],
        slip_days=row["days_to_slip"],
        asked=row["asked"],
        urgent=bool(row.get("urgent")),
    )


def _still_open(
    explainer: "OutcomePool | OutcomeClassifier | None", forecasts: "pd.DataFrame", slots: Slots
) -> dict[str, "npt.NDArray[np.float64]"] | None:
    """Say by fingerprint how likely each renewal has not come by itself by each slot; None if nobody can."""
    from certforecast.models.forecasting import inputs_of
    from certforecast.renewals import OUTCOMES

    if explainer is None or getattr(explainer, "times_", None) is None or forecasts.empty:
        return None
    incidence = explainer.predict_incidence(inputs_of(explainer, forecasts), slots.days)
    over = incidence.sum(axis=1) - incidence[:, OUTCOMES.index("failed")]
    return dict(zip(forecasts["fingerprint"], 1.0 - np.clip(over, 0.0, 1.0), strict=True))


def _failed_rows(frame: "pd.DataFrame", as_of: datetime, settings: Settings) -> list[dict[str, Any]]:
    """Give rows for what has expired and was still served at the last look."""
    moment = as_utc(as_of)
    served = frame["endpoints_still"] > 0
    recent = frame["not_after"] >= moment - timedelta(days=settings.policy.grace_days)
    failed = frame[(frame["outcome"] == "failed") & served & recent & (frame["not_after"] <= moment)]
    rows = []
    for row in map(_plain, failed.to_dict("records")):
        issued = row["successor_not_before"]
        rows.append(
            row
            | {
                "p_on_time": 0.0,
                "p_slipped": 0.0,
                "p_failed": 1.0,
                "p_retired": 0.0,
                "days_left": (row["not_after"] - moment) / timedelta(days=1),
                "days_past_due": (moment - row["due"]) / timedelta(days=1),
                "days_to_slip": (row["slip_point"] - moment) / timedelta(days=1),
                "validity_days": (row["not_after"] - row["not_before"]) / timedelta(days=1),
                "unserved": 1.0 if row["successor"] else 0.0,
                "unserved_days": (moment - issued) / timedelta(days=1) if issued else None,
            }
        )
    return rows


def _rehearsed(history: HasTables, as_of: datetime, settings: Settings) -> dict[str, str]:
    """Give what the last rehearsal of each certificate found, while it can be taken to stand."""
    events = history.tables().at([as_of]).events
    told = events.filter((events.kind == "rehearsed") & events.fingerprint.notnull())
    rows = told.select("fingerprint", "at", "code", "detail").to_pandas().sort_values(["at", "code"])
    rows = rows[rows["at"] > as_of - timedelta(days=settings.rehearsal.lasting_days)]
    last = rows[rows["at"] == rows.groupby("fingerprint")["at"].transform("max")]
    return dict(last[last["code"].notna()].groupby("fingerprint")["detail"].agg("; ".join))


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    """Make nulls None and moments datetimes."""
    import pandas as pd

    return {
        name: None
        if not isinstance(value, list) and pd.api.types.is_scalar(value) and pd.isna(value)
        else value.to_pydatetime()
        if isinstance(value, pd.Timestamp)
        else value
        for name, value in row.items()
    }
