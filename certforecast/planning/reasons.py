"""Why an action is proposed, in words a person can check."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from certforecast.features import wording
from certforecast.features.wording import known, span
from certforecast.planning.plan import Action
from certforecast.renewals.ari import Asked
from certforecast.renewals.margins import past_margins

if TYPE_CHECKING:
    import pandas as pd

    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool

__all__ = ["explained", "reasons"]


def reasons(row: dict[str, Any]) -> list[str]:
    """Say in words what stands out about one renewal.

    Parameters
    ----------
    row : dict
        A forecast's row with its features; an absent or null value gives no reason.

    Returns
    -------
    list of str
        The most pressing first; never empty.
    """
    return list(_reasons(row)) or [f"{span(row['days_left'])} left of {span(row['validity_days'])}"]


def _reasons(row: dict[str, Any]) -> Iterator[str]:
    left = row["days_left"]
    if row.get("urgent"):
        yield f"its CA wants it replaced early, as before a revocation: {_window(row['asked'])}"
    if left < 0:
        yield f"expired {span(-left)} ago and still served"
    if row.get("unserved") == 1.0:
        yield wording.unserved(row)
    if row.get("gone_share") == 1.0:
        yield "all of its endpoints are gone or serve other names now"
    if known(row, "attempts_failed_month") > 0:
        yield wording.attempts(row)
    if row.get("reload_failed") == 1.0:
        yield "a reload or an installation has failed since it was issued"
    if row["days_past_due"] > 0 and left >= 0:
        yield wording.due(row)
    if row.get("asked") is not None and not row.get("urgent"):
        yield f"its CA asks to renew it {_window(row['asked'])}"
    if known(row, "margin_last") < 0.1:
        yield wording.last_renewal(row)
    late, usual = known(row, "lineage_late_rate"), known(row, "domain_late_rate")
    if late >= 0.25:
        yield wording.rate("its own renewals", "come late", late)
    elif usual >= 0.25:
        yield wording.rate("renewals in its domain", "come late", usual)
    trouble = known(row, "domain_trouble_share")
    if trouble >= 0.3:
        yield f"attempts failed in the last 7 days for {trouble:.0%} of the services in its domain"
    if known(row, "owner_overdue_share") >= 0.5:
        yield f"{row['owner_overdue_share']:.0%} of its owner's open renewals are past due"
    if row.get("expires_in_freeze") == 1.0:
        yield "it expires in the year-end freeze (15 December to 5 January)"


def _window(asked: Asked) -> str:
    words = f"between {asked.start:%Y-%m-%d %H:%M} and {asked.end:%Y-%m-%d %H:%M} UTC"
    return f"{words} (see {asked.url})" if asked.url else words


def explained(
    actions: Sequence[Action],
    known: "pd.DataFrame",
    model: "OutcomePool | OutcomeClassifier",
    forecasts: "pd.DataFrame",
) -> list[Action]:
    """Put what moved the forecasts first among the reasons of actions.

    What raised the probability of retirement is given for ``retire``, of failure for all else. Facts that are
    said so already are not repeated. What has expired has no forecast and keeps its reasons.

    Parameters
    ----------
    actions : sequence of Action
        Made from the forecasts.
    known : DataFrame of shape (n_certificates, n_columns)
        As given by :func:`certforecast.renewals.renewals`, for the same moment.
    model : OutcomePool or OutcomeClassifier
        The one that made the forecasts.
    forecasts : DataFrame of shape (n_rows, n_columns)
        As given by :func:`certforecast.models.forecast`.
    """
    from certforecast.models.contributions import explain
    from certforecast.models.narration import reasons as narrated

    margins = past_margins(known)
    because: dict[str, list[str]] = {}
    for outcome, retiring in (("retired", True), ("failed", False)):
        wanted = {action.fingerprint for action in actions if (action.kind == "retire") == retiring}
        rows = forecasts[forecasts["fingerprint"].isin(wanted)]
        if rows.empty:
            continue
        own = [margins.get(lineage, []) for lineage in rows["lineage"]]
        found = narrated(explain(model, rows, outcome), among=forecasts, margins=own)
        for fingerprint, told in zip(rows["fingerprint"], found, strict=True):
            because[fingerprint] = [str(reason) for reason in told if reason.points > 0]
    return [
        action.model_copy(update={"reasons": _merged(because.get(action.fingerprint, []), action.reasons)})
        for action in actions
    ]


def _merged(moved: list[str], facts: Sequence[str]) -> tuple[str, ...]:
    return (*moved, *(fact for fact in facts if not any(fact in reason for reason in moved)))
