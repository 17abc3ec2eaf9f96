"""Renewals as a frame, for people: with names, times as times, and lag and margin in days."""

from typing import TYPE_CHECKING

from certforecast.renewals.namesets import called

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

    from certforecast.renewals.known import Known

__all__ = ["frame_of", "framed", "listed"]

_COUNTS = ["endpoints", "endpoints_moved", "endpoints_still", "endpoints_gone"]
_TIMES = {
    "issued": "not_before",
    "expires": "not_after",
    "due": "due",
    "slip_point": "slip_point",
    "successor_issued": "successor_not_before",
    "in_service": "in_service_at",
    "resolved": "resolved_at",
    "intervened": "intervened_at",
    "held_out": "held_out_at",
}


def frame_of(known: "Known", rows: "ir.Table | None" = None) -> "pd.DataFrame":
    """Bring renewals to the caller: the columns of :func:`certforecast.renewals.renewals`.

    Parameters
    ----------
    known : Known
        What is known at some moments.
    rows : ibis table, optional
        Some of ``known.renewals`` (default all).
    """
    return framed(listed(known, rows).to_pandas())


def listed(known: "Known", rows: "ir.Table | None" = None) -> "ir.Table":
    """Give renewals as a table on the engine, with names: what :func:`framed` makes readable.

    Parameters
    ----------
    known, rows
        As for :func:`frame_of`.

    Returns
    -------
    ibis table
        One row a certificate and moment; times in seconds since 1970-01-01 UTC.
    """
    named = known.tables.certificates
    named = named.select("as_of", "fingerprint", "names", name=called(named))
    rows = known.renewals if rows is None else rows
    rows = rows.inner_join(named, ["as_of", "fingerprint"])
    return rows.select(
        "as_of",
        "lineage",
        "fingerprint",
        "name",
        "names",
        "name_set_id",
        "successor",
        "why",
        *_TIMES,
        "outcome",
        "evidence",
        "intervention",
        "holdout_share",
        *_COUNTS,
    )


def framed(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Make what :func:`listed` gave readable.

    Parameters
    ----------
    frame : DataFrame of shape (n_renewals, n_columns)
        Changed in place; what else it has stays as it is.

    Returns
    -------
    DataFrame of shape (n_renewals, n_columns + 2)
        With times in UTC, and lag and margin in days; by lineage and issue.
    """
    import pandas as pd

    day = 86_400.0
    frame["renewal_lag_days"] = ((frame["in_service"] - frame["due"]) / day).astype("float64")
    frame["margin_days"] = ((frame["expires"] - frame["in_service"]) / day).astype("float64")
    for column, name in _TIMES.items():
        frame[column] = pd.to_datetime(frame[column], unit="s", utc=True).dt.as_unit("us")
        frame = frame.rename(columns={column: name})
    frame["as_of"] = frame["as_of"].dt.tz_convert("UTC").dt.as_unit("us")
    return frame.sort_values(["as_of", "lineage", "not_before", "fingerprint"], ignore_index=True)
