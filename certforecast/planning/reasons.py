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
    return list(_reasons(row)) or [f"{_days(row['days_left'])} left of {row['validity_days']:.0f}"]


def _reasons(row: dict[str, Any]) -> Iterator[str]:
    left, lifetime = row["days_left"], row["validity_days"]
    if left < 0:
        yield f"expired {_days(-left)} ago and still served"
    if row.get("unserved") == 1.0:
        since = row.get("unserved_days") or 0.0
        yield f"a successor was issued {_days(since)} ago but the old certificate is still served"
    if row.get("gone_share") == 1.0:
        yield "none of its endpoints answers with it any more"
    if _number(row, "attempts_failed_month") > 0:
        count = round(row["attempts_failed_month"] * 30)
        code = row.get("attempt_failed_code")
        cause = f", last cause: {code}" if isinstance(code, str) else ""
        yield f"{count} failed attempt{'s' if count != 1 else ''} in 30 days{cause}"
    if row.get("reload_failed") == 1.0:
        yield "a reload or installation failed since it was issued"
    if row["days_past_due"] > 0 and left >= 0:
        yield f"due {_days(row['days_past_due'])} ago, {_days(left)} left of {lifetime:.0f}"
    margin = _number(row, "margin_last")
    if margin < 0.1:
        when = "after" if margin < 0 else "before"
        yield f"the last renewal came {_days(abs(margin) * lifetime)} {when} expiry"
    late, usual = _number(row, "lineage_late_rate"), _number(row, "domain_late_rate")
    if late >= 0.25:
        yield f"{late:.0%} of this lineage's recent renewals came late"
    elif usual >= 0.25:
        yield f"{usual:.0%} of the renewals of its domain came late"
    if _number(row, "domain_trouble_share") >= 0.3:
        yield "its neighbours in the domain have failed attempts this week"
    if _number(row, "owner_overdue_share") >= 0.5:
        yield f"{row['owner_overdue_share']:.0%} of its owner's open renewals are overdue"
    if row.get("expires_in_freeze") == 1.0:
        yield "it expires in the year-end freeze"


def _number(row: dict[str, Any], name: str) -> float:
    """Give a number of the row; unknown is NaN, which no comparison holds for."""
    value = row.get(name)
    return math.nan if value is None else float(value)


def _days(value: float) -> str:
    if abs(value) < 1:
        hours = round(abs(value) * 24)
        return f"{hours} hour{'s' if hours != 1 else ''}"
    return f"{value:.0f} day{'s' if round(value) != 1 else ''}"
