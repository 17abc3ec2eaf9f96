"""Point-in-time features of open renewals: issuer, validity, lag, churn, operations, neighbours, calendar.

Every feature is an ibis expression over tables that went through :meth:`Tables.at`, so it can only see what
was known at ``as_of``, for one moment or for many.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from certforecast.clock import as_utc
from certforecast.features.calendar import FEATURES as _CALENDAR
from certforecast.features.catalogue import Feature
from certforecast.features.churn import FEATURES as _CHURN
from certforecast.features.issuer import FEATURES as _ISSUER
from certforecast.features.lag import FEATURES as _LAG
from certforecast.features.neighbours import FEATURES as _NEIGHBOURS
from certforecast.features.operations import FEATURES as _OPERATIONS
from certforecast.features.validity import FEATURES as _VALIDITY
from certforecast.policy import RenewalPolicy
from certforecast.renewals import HasTables, renewals_at

if TYPE_CHECKING:
    from pathlib import Path

    import ibis.expr.types as ir
    import pandas as pd

    from certforecast.history.tables import Tables
    from certforecast.renewals.known import Known

__all__ = ["FEATURES", "IDENTIFIERS", "Feature", "feature_table", "features", "training_frame"]

#: Every feature by name, in column order.
FEATURES: dict[str, Feature] = {
    feature.name: feature
    for feature in (*_ISSUER, *_VALIDITY, *_LAG, *_CHURN, *_OPERATIONS, *_NEIGHBOURS, *_CALENDAR)
}

#: Rows of certificates and observations, each counted once a moment, that one pass takes: some 2 GB.
_ROWS_AT_ONCE = 4_000_000

#: Columns that say which renewal a row is about, and whose it is; never given to a model.
IDENTIFIERS = (
    *("as_of", "fingerprint", "lineage", "name", "owner", "criticality"),
    *("not_before", "not_after", "due"),
)

#: What became of a renewal; never given to a model as a feature.
_LABELS = (
    *("outcome", "resolved_at", "in_service_at"),
    *("intervention", "intervened_at", "held_out_at", "holdout_share"),
)


def features(
    history: HasTables, as_of: datetime, policy: RenewalPolicy | None = None, *, country: str = "US"
) -> "pd.DataFrame":
    """Compute the features of every open renewal at one moment.

    Parameters
    ----------
    history : History
        The store.
    as_of : datetime
        Nothing known later is used.
    policy : RenewalPolicy, optional
        Thresholds.
    country : str
        ISO code of the country whose public holidays count.

    Returns
    -------
    DataFrame, shape (n_open, n_identifiers + n_features)
        `IDENTIFIERS`, then `FEATURES`: numbers and flags as float64, categories as str; null is unknown.

    Raises
    ------
    InputError
        If no public holidays are known of the country.
    """
    return _features(history, [as_of], policy or RenewalPolicy(), country)


def training_frame(
    history: HasTables,
    as_of: Sequence[datetime],
    until: datetime,
    policy: RenewalPolicy | None = None,
    *,
    country: str = "US",
    cache: "Path | None" = None,
) -> "pd.DataFrame":
    """Compute landmark rows: features at many moments, with what became of each renewal.

    Parameters
    ----------
    history : History
        The store.
    as_of : sequence of datetime
        The landmarks: moments at which every open renewal gives a row.
    until : datetime
        Outcomes are taken as they were known then.
    policy, country
        As for :func:`features`.
    cache : Path, optional
        A folder in which features of past moments are kept, so that the next run computes only what is
        new: see :mod:`certforecast.features.cache`.

    Returns
    -------
    DataFrame, shape (n_rows, n_identifiers + n_features + 7)
        As :func:`features`, with ``outcome`` (``open`` if not resolved by `until`), ``resolved_at``,
        ``in_service_at`` (of the successor), ``intervention`` (our own action changed it: censored, never
        to be trained on or scored) and ``intervened_at``; ``held_out_at`` and ``holdout_share`` for what we
        left alone on purpose.
    """
    policy = policy or RenewalPolicy()
    frame = _features(history, [moment for moment in as_of if moment <= until], policy, country, cache)
    known = renewals_at(history, [until], policy)
    return frame.merge(
        known[["fingerprint", *_LABELS]],
        on="fingerprint",
        how="left",
    )


def feature_table(known: "Known", country: str = "US") -> "ir.Table":
    """Give the features as a table on the engine: for what is too large for a frame.

    Parameters
    ----------
    known : Known
        What is known at the moments: ``Known(history.tables(), [as_of], policy)``.
    country : str
        ISO code of the country whose public holidays count.

    Returns
    -------
    ibis table
        `IDENTIFIERS`, then `FEATURES`, a row for every open renewal and moment; nothing was brought to the
        caller. Its Parquet is ``feature_table(...).to_parquet(...)``.
    """
    from certforecast.features.calendar import calendar
    from certforecast.features.churn import churn
    from certforecast.features.context import KEY, Context, joined
    from certforecast.features.issuer import issuer
    from certforecast.features.lag import lag
    from certforecast.features.neighbours import neighbours
    from certforecast.features.operations import operations
    from certforecast.features.validity import validity
    from certforecast.renewals.times import DAY

    context = Context(known, country)
    groups = (issuer, validity, lag, churn, operations, neighbours, calendar)
    rows = context.targets
    identified = rows.select(
        *("as_of", "fingerprint", "lineage", "name", "owner", "criticality"),
        # Times come as days, exact to a fraction of a second.
        **{
            column: (rows[time] * DAY).round().cast("int64").as_timestamp("s").cast("timestamp('UTC', 6)")
            for column, time in (("not_before", "issued"), ("not_after", "expires"), ("due", "due"))
        },
    )
    table = joined(identified, *((group(context), KEY) for group in groups))
    return table.select(
        *IDENTIFIERS,
        **{
            feature.name: table[feature.name].cast("string" if feature.kind == "category" else "float64")
            for feature in FEATURES.values()
        },
    )


def _features(
    history: HasTables,
    moments: Sequence[datetime],
    policy: RenewalPolicy,
    country: str,
    cache: "Path | None" = None,
) -> "pd.DataFrame":
    import pandas as pd

    from certforecast.features.cache import FeatureCache

    tables = history.tables()
    ordered = sorted({as_utc(moment) for moment in moments})

    def compute(some: Sequence[datetime]) -> "pd.DataFrame":
        return _computed(tables, some, policy, country)

    if cache is None or not ordered:
        return compute(ordered)
    return pd.concat(FeatureCache(cache).frames(tables, ordered, policy, country, compute), ignore_index=True)


def _computed(
    tables: "Tables", ordered: Sequence[datetime], policy: RenewalPolicy, country: str
) -> "pd.DataFrame":
    import pandas as pd

    from certforecast.renewals.computing import computed

    at_once = _moments_at_once(tables)
    frame: pd.DataFrame = pd.concat(
        computed(feature_table, tables, ordered[start : start + at_once], policy, country).to_pandas()
        for start in range(0, len(ordered), at_once)
    )
    times = ["as_of", "not_before", "not_after", "due"]
    frame[times] = frame[times].apply(lambda column: column.dt.tz_convert("UTC").dt.as_unit("us"))
    texts = ["owner", *(feature.name for feature in FEATURES.values() if feature.kind == "category")]
    frame[texts] = frame[texts].astype("str")
    frame["criticality"] = frame["criticality"].astype("float64")
    return frame.sort_values(["as_of", "fingerprint"], ignore_index=True)


def _moments_at_once(tables: "Tables") -> int:
    """Say how many moments go into one pass, every row being there once for each."""
    rows = tables.certificates.count().execute() + tables.observations.count().execute()
    return int(max(1, _ROWS_AT_ONCE // max(rows, 1)))
