"""What a fleet looks like at one moment: certificates to be renewed, and how renewals went so far.

All times are days from that moment on, so that the past is negative.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from certforecast.clock import as_utc
from certforecast.policy import RenewalPolicy
from certforecast.renewals import HasTables

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

    from certforecast.history.tables import Tables
    from certforecast.renewals.known import Known

__all__ = ["GROUPS", "UNKNOWN", "Situation", "situations"]

#: What load can be told by.
GROUPS: Final = ("issuer", "owner", "domain", "environment", "automation")

#: Stands for what the inventory does not say.
UNKNOWN: Final = "unknown"

#: Newcomers are counted over a year at most ...
_NEWCOMERS_DAYS: Final = 365.0
#: ... and not before a history had time to see what was there already.
_SETTLING_DAYS: Final = 200.0


@dataclass(frozen=True)
class Situation:
    """A fleet at one moment.

    Attributes
    ----------
    as_of : datetime
        The moment; nothing known later is in here.
    live : DataFrame
        A row for each renewal to come: ``fingerprint, lineage, name, name_set_id, names, domains``, `GROUPS`,
        ``public`` (bound by the rules of public authorities), ``begin, end`` (of validity), ``replaced``
        (the successor is issued, and has a row of its own), ``overdue`` (expired; 1 where it was still in
        use, less where nobody knows).
    past : DataFrame
        Renewals that are over: ``lineage``, `GROUPS`, ``begin, end, at`` (in service), ``margin``,
        ``issue_gap`` (from issue to service), ``outcome``, ``resolved``, ``intervention`` (ours).
    newcomers : DataFrame
        First certificates of the lineages that were new in the last ``newcomer_days``, with the columns of
        `live`.
    newcomer_days : float
        0 where history is too short to tell.
    """

    as_of: datetime
    live: "pd.DataFrame"
    past: "pd.DataFrame"
    newcomers: "pd.DataFrame"
    newcomer_days: float


def situations(
    history: HasTables, moments: Sequence[datetime], policy: RenewalPolicy | None = None
) -> list[Situation]:
    """Read the fleet at several moments, in one pass.

    Parameters
    ----------
    history : History
        The store.
    moments : sequence of datetime
        At each, nothing known later is used.
    policy : RenewalPolicy, optional
        Thresholds.
    """
    policy = policy or RenewalPolicy()
    ordered = [as_utc(moment) for moment in moments]
    tables = history.tables()
    rows, start = _rows(tables, ordered, policy), _start(tables, max(ordered))
    return [_situation(rows[rows["as_of"] == moment], moment, start, policy) for moment in ordered]


def _rows(tables: "Tables", moments: Sequence[datetime], policy: RenewalPolicy) -> "pd.DataFrame":
    """Give every renewal at every moment, with who issued it and whose it is."""
    from certforecast.renewals.computing import computed
    from certforecast.renewals.frames import framed

    rows = framed(computed(_described, tables, moments, policy).to_pandas())
    rows["domain"] = [names[0] if names is not None and len(names) else UNKNOWN for names in rows["domains"]]
    for column in GROUPS:
        rows[column] = rows[column].astype(object).where(rows[column].notna(), UNKNOWN).astype(str)
    rows["criticality"] = rows["criticality"].astype("float64")
    return rows


def _described(known: "Known") -> "ir.Table":
    """Add to every renewal who issued it and whose it is."""
    from certforecast.renewals.frames import listed
    from certforecast.renewals.places import inventory

    told = known.tables.certificates
    told = told.select(
        "as_of",
        "fingerprint",
        domains="registered_domains",
        validation="policy",
        issuer=told.issuer_org.coalesce(told.issuer_cn, told.issuer_dn),
    )
    places = inventory(known).select(
        "as_of", "fingerprint", "owner", "environment", "automation", "criticality"
    )
    rows = listed(known)
    for table in (told, places):
        rows = rows.left_join(table, ["as_of", "fingerprint"]).drop("as_of_right", "fingerprint_right")
    return rows


def _start(tables: "Tables", moment: datetime) -> datetime | None:
    """Say since when anything has been known at a moment."""
    known_at = tables.certificates.known_at
    first = known_at.min(where=known_at <= moment).execute()
    return None if first is None or first != first else as_utc(first.to_pydatetime())


def _situation(
    rows: "pd.DataFrame", as_of: datetime, start: datetime | None, policy: RenewalPolicy
) -> Situation:
    import pandas as pd

    now = pd.Timestamp(as_of)

    def days(column: str) -> "pd.Series[float]":
        return (rows[column] - now) / pd.Timedelta(days=1)

    rows = rows.assign(
        begin=days("not_before"),
        end=days("not_after"),
        at=days("in_service_at"),
        resolved=days("resolved_at"),
    )
    rows = rows.assign(
        public=_public(rows),
        margin=rows["margin_days"],
        issue_gap=(rows["at"] - days("successor_not_before")).clip(lower=0.0),
        replaced=rows["successor"].notna(),
    )
    over = rows["outcome"] != "open"
    past = rows[over & (rows["end"] > rows["begin"])]
    live = _live(rows, past, policy)
    first = rows[rows["begin"] <= 0].sort_values("begin", kind="stable").drop_duplicates("lineage")
    since = -_NEWCOMERS_DAYS
    if start is not None:
        since = max(since, (as_utc(start) - as_of).total_seconds() / 86_400 + _SETTLING_DAYS)
    enough = since < -30.0
    newcomers = first[first["begin"] > since] if enough else first.iloc[:0]
    return Situation(
        as_of,
        live.reset_index(drop=True),
        past.reset_index(drop=True),
        newcomers.assign(overdue=0.0, replaced=False).reset_index(drop=True),
        -since if enough else 0.0,
    )


def _live(rows: "pd.DataFrame", past: "pd.DataFrame", policy: RenewalPolicy) -> "pd.DataFrame":
    """Find what is to be renewed: what is valid, and what expired and may still be in use."""
    open_ = rows["outcome"] == "open"
    valid = open_ & (rows["begin"] <= 0) & (rows["end"] > 0)
    recent = (rows["end"] <= 0) & (rows["end"] > -policy.grace_days) & ~rows["replaced"]
    failed = recent & (rows["outcome"] == "failed") & (rows["endpoints_still"] > 0)
    unsure = recent & open_
    ended = past["outcome"].isin(["failed", "retired"])
    share = (past["outcome"] == "failed").sum() / max(ended.sum(), 1)
    overdue = np.where(failed, 1.0, np.where(unsure, share, 0.0))
    return rows.assign(overdue=overdue)[valid | failed | unsure]


def _public(rows: "pd.DataFrame") -> "pd.Series[bool]":
    """Tell which authorities are bound by public rules.

    One is if a certificate of it carries a policy of the CA/Browser Forum. Where none was seen as a whole,
    it is unless it issued for longer than public authorities may.
    """
    from certforecast.validity import calendars

    longest = max(step.days for step in calendars()["public"].steps)
    days = rows["end"] - rows["begin"]
    marks = rows.assign(
        forum=rows["validation"].isin(["DV", "OV", "EV"]),
        whole=rows["validation"].notna(),
        long=days > longest + 1.0,
    )
    by = marks.groupby("issuer")[["forum", "whole", "long"]].transform("any")
    return by["forum"] | (~by["whole"] & ~by["long"])
