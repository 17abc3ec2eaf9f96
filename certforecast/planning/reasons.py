"""Why an action is proposed, in words a person can check."""

from collections.abc import Iterator
from typing import Any

from certforecast.features import wording
from certforecast.features.wording import known, span

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
    return list(_reasons(row)) or [f"{span(row['days_left'])} left of {span(row['validity_days'])}"]


def _reasons(row: dict[str, Any]) -> Iterator[str]:
    left = row["days_left"]
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
