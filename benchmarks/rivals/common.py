"""What both rivals need that is neither pandas nor polars: thresholds, the calendar, groups of links."""

from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd

from certforecast.policy import RenewalPolicy

__all__ = [
    "DAY",
    "FAILURES",
    "POLICY",
    "PROFILES",
    "REHEARSALS",
    "SUCCESSES",
    "WINDOWS",
    "calendar",
    "components",
    "limit",
]

DAY = 86_400
POLICY = RenewalPolicy()
WINDOWS = (7, 30, 90)
PROFILES = (("short-lived", 10), ("47 days", 47), ("90 days", 100), ("200 days", 200), ("398 days", 398))
FAILURES = ["order_failed", "challenge_failed", "install_failed", "reload_failed", "verify_failed"]
SUCCESSES = ["issued", "installed", "reloaded", "verified"]
REHEARSALS = ["rehearsed"]
_LIMITS = ((date(2018, 3, 1), 825), (date(2020, 9, 1), 398), (date(2026, 3, 15), 200))


def limit(as_of: datetime) -> float:
    """Give the longest validity of public certificates, in days."""
    return float([days for begins, days in _LIMITS if as_of.date() >= begins][-1])


def calendar(first: int, last: int) -> pd.DataFrame:
    """List days, counted from 1970, with the holidays in the 14 days before and whether they are frozen."""
    import holidays

    dates = pd.to_datetime(np.arange(first - 13, last + 1), unit="D")
    found: Any = holidays.country_holidays("US", years=sorted(set(dates.year)))
    free = pd.Series(dates.isin(pd.to_datetime(sorted(found)))).rolling(14).sum()
    month_day = dates.month * 100 + dates.day
    frozen = ((month_day >= 1215) | (month_day <= 105)).astype(float)
    days = pd.DataFrame({"day": np.arange(first - 13, last + 1), "free": free, "frozen": frozen})
    return days.iloc[13:]


def components(rows: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Label the connected components of a graph, given by its edges as row numbers."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=(rows, rows))
    labels: np.ndarray = connected_components(edges, directed=False)[1]
    return labels
