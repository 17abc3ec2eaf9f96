"""Why an action is proposed, in words a person can check."""

import math
from collections.abc import Iterator
from typing import Any

__all__ = ["reasons"]


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
    return list(_reasons(row)) or [f"{_span(row['days_left'])} left of {_span(row['validity_days'])}"]


def _reasons(row: dict[str, Any]) -> Iterator[str]:
    left, lifetime = row["days_left"], row["validity_days"]
    if left < 0:
        yield f"expired {_span(-left)} ago and still served"
    if row.get("unserved") == 1.0:
        since = row.get("unserved_days") or 0.0
        yield f"a successor was issued {_span(since)} ago but the old certificate is still served"
    if row.get("gone_share") == 1.0:
        yield "all of its endpoints are gone or serve other names now"
    if _number(row, "attempts_failed_month") > 0:
        count = round(row["attempts_failed_month"] * 30)
        code = row.get("attempt_failed_code")
        cause = f", last cause: {code}" if isinstance(code, str) else ""
        yield f"{count} failed attempt{'s' if count != 1 else ''} in the last 30 days{cause}"
    if row.get("reload_failed") == 1.0:
        yield "a reload or an installation has failed since it was issued"
    if row["days_past_due"] > 0 and left >= 0:
        yield f"due {_span(row['days_past_due'])} ago, {_span(left)} left of {_span(lifetime)}"
    margin = _number(row, "margin_last")
    if margin < 0.1:
        # The margin is a share of the lifetime before this one, which may have been another.
        span = _span(abs(margin) * lifetime / (row.get("validity_ratio") or 1.0))
        yield f"the last renewal came {span} {'after' if margin < 0 else 'before'} expiry"
    late, usual = _number(row, "lineage_late_rate"), _number(row, "domain_late_rate")
    if late >= 0.25:
        yield f"its own renewals come late about {late:.0%} of the time"
    elif usual >= 0.25:
        yield f"renewals in its domain come late about {usual:.0%} of the time"
    trouble = _number(row, "domain_trouble_share")
    if trouble >= 0.3:
        yield f"attempts failed in the last 7 days for {trouble:.0%} of the services in its domain"
    if _number(row, "owner_overdue_share") >= 0.5:
        yield f"{row['owner_overdue_share']:.0%} of its owner's open renewals are past due"
    if row.get("expires_in_freeze") == 1.0:
        yield "it expires in the year-end freeze (15 December to 5 January)"


def _number(row: dict[str, Any], name: str) -> float:
    """Give a number of the row; unknown is NaN, which no comparison holds for."""
    value = row.get(name)
    return math.nan if value is None else float(value)


def _span(days: float) -> str:
    if days < 1:
        hours = round(days * 24)
        return f"{hours} hour{'s' if hours != 1 else ''}" if hours else "less than an hour"
    return f"{days:.0f} day{'s' if round(days) != 1 else ''}"
