"""Facts about one renewal in words that a person can check."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "Row",
    "attempts",
    "came",
    "due",
    "known",
    "last_renewal",
    "last_renewals",
    "listed",
    "rate",
    "share",
    "span",
    "unserved",
]

#: A row of features by name; what is absent or null is not known.
Row = Mapping[str, Any]


def known(row: Row, name: str) -> float:
    """Give a number of the row; unknown is NaN, which no comparison holds for."""
    value = row.get(name)
    return math.nan if value is None else float(value)


def span(days: float) -> str:
    """Say a time: ``"3 days"``, ``"5 hours"``."""
    if days < 1:
        hours = round(days * 24)
        return f"{hours} hour{'s' if hours != 1 else ''}" if hours else "less than an hour"
    return f"{days:.0f} day{'s' if round(days) != 1 else ''}"


def share(value: float) -> str:
    """Say a share: whole percents, or tenths below ten."""
    return f"{value:.0%}" if value >= 0.095 or value == 0 else f"{value:.1%}"


def listed(words: Sequence[str]) -> str:
    """Join as in a sentence: ``"2, 1 and 0"``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def due(row: Row) -> str:
    """Say how late it is."""
    past, left, lifetime = row["days_past_due"], span(row["days_left"]), span(row["validity_days"])
    when = f"due {span(past)} ago" if past >= 0 else f"due in {span(-past)}"
    return f"{when}, {left} left of {lifetime}"


def unserved(row: Row) -> str:
    """Say that a successor is issued but not in service."""
    since = span(row.get("unserved_days") or 0.0)
    return f"a successor was issued {since} ago but the old certificate is still served"


def attempts(row: Row) -> str:
    """Count the failed attempts of a month, with the last cause."""
    count = round(known(row, "attempts_failed_month") * 30)
    code = row.get("attempt_failed_code")
    cause = f", last cause: {code}" if isinstance(code, str) else ""
    return f"{count} failed attempt{'s' if count != 1 else ''} in the last 30 days{cause}"


def last_renewal(row: Row) -> str:
    """Say when the last renewal came."""
    # The margin is a share of the lifetime before this one, which may have been another.
    margin = row["margin_last"] * row["validity_days"] / (row.get("validity_ratio") or 1.0)
    return f"the last renewal came {came(margin)}"


def came(margin: float) -> str:
    """Say a margin in days."""
    return f"{span(abs(margin))} {'after' if margin < 0 else 'before'} expiry"


def last_renewals(margins: Sequence[float]) -> str:
    """Say when the last renewals came, the latest last.

    Parameters
    ----------
    margins : sequence of float
        In days, one at least.
    """
    if len(margins) == 1:
        return f"its last renewal came {came(margins[0])}"
    if all(margin >= 0 for margin in margins):
        times = f"{listed([f'{margin:.0f}' for margin in margins])} days before expiry"
    else:
        times = listed([came(margin) for margin in margins])
    return f"its last {len(margins)} renewals came {times}"


def rate(whose: str, fate: str, value: float) -> str:
    """Say how often renewals end badly: ``"its own renewals come late about 25% of the time"``."""
    return f"{whose} {fate} about {share(value)} of the time"
