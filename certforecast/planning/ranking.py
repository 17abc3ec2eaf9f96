"""From forecasts to ranked actions: what to do, in which order, and what it is worth."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from certforecast.clock import Clock, as_utc, system_clock
from certforecast.loss import expected_loss
from certforecast.planning.holdout import hold_out
from certforecast.planning.plan import Action, ActionKind, Endpoint, Plan, Probabilities, action_id, plan_id
from certforecast.planning.reasons import explained, reasons
from certforecast.policy import RenewalPolicy
from certforecast.renewals import HasTables, renewals
from certforecast.renewals.known import Known
from certforecast.renewals.places import inventory, serving
from certforecast.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool

__all__ = ["make_plan"]

#: From which probability on a certificate is proposed for retirement.
RETIRE_FROM = 0.5


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
        Ranked by expected loss averted less the action's cost; actions not worth their cost are left out.
    """
    now = clock()
    known = renewals(history, as_of, settings.policy)
    successors = known.set_index("fingerprint")["successor"].dropna()
    rows = [
        *(
            _plain(row) | {"successor": successors.get(row["fingerprint"])}
            for row in forecasts.to_dict("records")
        ),
        *_failed_rows(known, as_of, settings),
    ]
    places = _places(history, as_of)
    described = _inventory(history, as_of)
    names = _names(history, as_of)
    actions = []
    for row in rows:
        key = row["fingerprint"]
        action = _best(row, names[key], places[key], described.get(key, {}), settings)
        if action is not None:
            actions.append(action)
    actions, held_out = hold_out(actions, as_utc(as_of), settings.planning, settings.costs)
    actions.sort(key=lambda action: (action.cost - action.expected_loss_averted, action.not_after, action.id))
    if explainer is not None:
        actions = explained(actions, history, explainer, forecasts, settings.policy)
    ranked = tuple(action.model_copy(update={"rank": rank}) for rank, action in enumerate(actions, start=1))
    return Plan(
        id=plan_id(as_of, ranked),
        created_at=now,
        as_of=as_utc(as_of),
        expires_at=now + timedelta(hours=settings.executor.plan_valid_hours),
        model=model,
        actions=ranked,
        held_out=tuple(sorted(held_out, key=lambda left: (-left.expected_loss_averted, left.fingerprint))),
    )


def _best(
    row: dict[str, Any],
    names: list[str],
    endpoints: list[Endpoint],
    host: dict[str, Any],
    settings: Settings,
) -> Action | None:
    loss = expected_loss(row["p_slipped"], row["p_failed"], host.get("criticality"), settings.costs)
    issuer = (
        host.get("host_issuer") if host.get("host_issuer") in settings.issuers else settings.executor.issuer
    )
    installer = (
        host.get("host_installer")
        if host.get("host_installer") in settings.installers
        else settings.executor.installer
    )
    able = issuer is not None and installer is not None and bool(endpoints)
    costs: dict[ActionKind, float] = {
        "renew": settings.costs.renew,
        "install": settings.costs.install,
        "investigate": settings.costs.investigate,
        "retire": settings.costs.retire,
    }
    options = _options(row, loss, able, settings)
    kind, averted = max(options, key=lambda option: option[1] - costs[option[0]])
    cost = costs[kind]
    if averted <= cost:
        return None
    return Action(
        id=action_id(kind, row["fingerprint"], row["as_of"]),
        rank=1,
        kind=kind,
        lineage=row["lineage"],
        name=row["name"],
        fingerprint=row["fingerprint"],
        successor=row.get("successor"),
        names=tuple(names),
        endpoints=tuple(endpoints),
        not_after=row["not_after"],
        probabilities=Probabilities(
            on_time=row["p_on_time"],
            slipped=row["p_slipped"],
            failed=row["p_failed"],
            retired=row["p_retired"],
        ),
        expected_loss=loss,
        expected_loss_averted=averted,
        cost=cost,
        criticality=host.get("criticality"),
        issuer=issuer,
        installer=installer,
        reasons=tuple(reasons(row)),
    )


def _options(
    row: dict[str, Any], loss: float, able: bool, settings: Settings
) -> Iterator[tuple[ActionKind, float]]:
    """Yield the actions that make sense, each with the loss it averts."""
    effects = settings.effects
    if row["p_retired"] >= RETIRE_FROM:
        # What it saves is the look that somebody would otherwise take at an alarm about nothing.
        yield "retire", row["p_retired"] * settings.costs.investigate
    if able and row.get("unserved") == 1.0:
        yield "install", effects.install * loss
    elif able and row["days_past_due"] >= 0:
        yield "renew", effects.renew * loss
    yield "investigate", effects.investigate * loss


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
                "validity_days": (row["not_after"] - row["not_before"]) / timedelta(days=1),
                "unserved": 1.0 if row["successor"] else 0.0,
                "unserved_days": (moment - issued) / timedelta(days=1) if issued else None,
            }
        )
    return rows


def _places(history: HasTables, as_of: datetime) -> dict[str, list[Endpoint]]:
    places = defaultdict(list)
    served = serving(history.tables().at([as_of])).to_pandas().sort_values(["host", "port", "server_name"])
    for row in served.itertuples():
        places[row.fingerprint].append(Endpoint(host=row.host, port=row.port, server_name=row.server_name))
    return places


def _inventory(history: HasTables, as_of: datetime) -> dict[str, dict[str, Any]]:
    rows = inventory(Known(history.tables(), [as_of], RenewalPolicy())).to_pandas().to_dict("records")
    return {row["fingerprint"]: _plain(row) for row in rows}


def _names(history: HasTables, as_of: datetime) -> dict[str, list[str]]:
    known = history.tables().at([as_of]).certificates.select("fingerprint", "names").to_pandas()
    return {row.fingerprint: list(row.names) for row in known.itertuples()}


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
