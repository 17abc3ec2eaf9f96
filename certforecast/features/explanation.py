"""The features of one certificate, with the rows each was computed from."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from certforecast.errors import InputError
from certforecast.features import FEATURES, feature_table
from certforecast.features.catalogue import READS
from certforecast.features.context import KEY, Context
from certforecast.policy import RenewalPolicy
from certforecast.renewals import HasTables
from certforecast.renewals.frames import frame_of
from certforecast.renewals.known import Known
from certforecast.renewals.service import ENDPOINT
from certforecast.renewals.times import DAY

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

__all__ = ["Explanation", "Origin", "explain"]

_DIGEST = re.compile(r"~?[0-9a-f]{8,64}")


@dataclass(frozen=True)
class Origin:
    """Rows that features were computed from.

    Attributes
    ----------
    reads : str
        One of :data:`certforecast.features.catalogue.READS`.
    doc : str
        What these rows are.
    count : int
        How many there are.
    rows : DataFrame
        The first of them, those that matter most first.
    """

    reads: str
    doc: str
    count: int
    rows: "pd.DataFrame"


@dataclass(frozen=True)
class Explanation:
    """The features of one open renewal at one moment.

    Attributes
    ----------
    fingerprint, name : str
        The certificate.
    as_of : datetime
        The moment.
    features : DataFrame
        ``group, feature, value, unit, reads, doc``, a row for each of `FEATURES`.
    origins : dict of str to Origin
        By ``reads``.
    """

    fingerprint: str
    name: str
    as_of: datetime
    features: "pd.DataFrame"
    origins: dict[str, Origin]


def explain(
    history: HasTables,
    fingerprint: str,
    as_of: datetime,
    policy: RenewalPolicy | None = None,
    *,
    country: str = "US",
    limit: int = 20,
) -> Explanation:
    """Show the features of one certificate and where they come from.

    Parameters
    ----------
    history : History
        The store.
    fingerprint : str
        Of the certificate, whole or its first 8 digits or more.
    as_of : datetime
        Nothing known later is used.
    policy : RenewalPolicy, optional
        Thresholds.
    country : str
        ISO code of the country whose public holidays count.
    limit : int
        Rows to give of each origin at most.

    Raises
    ------
    InputError
        If no certificate, or more than one, has that fingerprint, or its renewal is not open at `as_of`.
    """
    import pandas as pd

    known = Known(history.tables(), [as_of], policy or RenewalPolicy())
    digest = _found(known, fingerprint.strip().lower(), as_of)
    table = feature_table(known, country)
    values = table.filter(table.fingerprint == digest).to_pandas().iloc[0]
    context = Context(known, country)
    target = context.targets.filter(context.targets.fingerprint == digest)
    told = [
        (feature.group, feature.name, _plain(values[feature.name]), feature.unit, feature.reads, feature.doc)
        for feature in FEATURES.values()
    ]
    return Explanation(
        fingerprint=digest,
        name=str(values["name"]),
        as_of=as_of,
        features=pd.DataFrame(told, columns=["group", "feature", "value", "unit", "reads", "doc"]),
        origins={origin.reads: origin for origin in _origins(context, target, limit)},
    )


def _found(known: Known, digest: str, as_of: datetime) -> str:
    """Complete a fingerprint, and make sure that there are features for it."""
    import pandas as pd

    if not _DIGEST.fullmatch(digest):
        raise InputError(f"{digest!r} is no fingerprint: give 8 or more of its hexadecimal digits")
    rows = known.renewals
    rows = rows.filter(rows.fingerprint.startswith(digest))
    found = rows.select("fingerprint", "outcome", expires=rows.expires.as_timestamp("s")).to_pandas()
    moment = f"as of {as_of:%Y-%m-%d %H:%M} UTC"
    if not len(found):
        raise InputError(f"no certificate whose fingerprint begins with {digest} is known {moment}")
    if len(found) > 1:
        raise InputError(f"{len(found)} fingerprints begin with {digest}: give more digits")
    one = found.iloc[0]
    expired = pd.Timestamp(one["expires"]).tz_localize("UTC") <= as_of
    if one["outcome"] != "open" or expired:
        state = "expired" if one["outcome"] == "open" else one["outcome"].replace("_", " ")
        raise InputError(
            f"{digest} has no features {moment}, as they are those of open renewals and its own is {state}: "
            "give an earlier --as-of"
        )
    return str(one["fingerprint"])


def _origins(context: Context, target: "ir.Table", limit: int) -> "list[Origin]":
    """Collect the rows behind each kind of feature; `target` is the one row of the certificate."""
    renewals = context.known.renewals
    origins = {}
    for reads, (keys, order) in _renewals(context, target).items():
        rows = renewals.semi_join(keys, list(KEY))
        latest = rows.order_by(rows[order].desc(), rows.fingerprint).limit(limit)
        frame = frame_of(context.known, latest).sort_values("not_after", ascending=False, ignore_index=True)
        origins[reads] = Origin(reads, READS[reads], int(rows.count().execute()), frame)
    for reads, (rows, order) in _facts(context, target).items():
        others = [column for column in rows.columns[:5] if column != order]
        first = rows.order_by(rows[order].desc(nulls_first=False), *others).limit(limit)
        origins[reads] = Origin(reads, READS[reads], int(rows.count().execute()), _utc(first.to_pandas()))
    return [origins[reads] for reads in READS]


def _renewals(context: Context, target: "ir.Table") -> "dict[str, tuple[ir.Table, str]]":
    """Choose renewals, by ``as_of, fingerprint``, and the column by which the latest come first."""
    renewals, past = context.known.renewals, context.past
    own = renewals.semi_join(target, list(KEY)).select("as_of", "lineage", begun="issued")
    line = renewals.inner_join(own, ["as_of", "lineage"])
    owned = past.inner_join(context.places.select(*KEY, "owner"), list(KEY))
    return {
        "lineage": (line.filter(line.issued < line.begun), "issued"),
        "successor": (target.select("as_of", fingerprint="successor"), "issued"),
        "issuer": (past.semi_join(target, ["as_of", "issuer"]), "resolved"),
        "domain": (renewals.semi_join(target, ["as_of", "domain"]).anti_join(target, list(KEY)), "expires"),
        "owner": (owned.semi_join(target, ["as_of", "owner"]), "resolved"),
        "live": (context.targets.anti_join(target, list(KEY)), "expires"),
    }


def _facts(context: Context, target: "ir.Table") -> "dict[str, tuple[ir.Table, str]]":
    """Choose rows of the tables, and the column by which the latest come first."""
    tables, attempts, rehearsals = context.known.tables, context.attempts, context.rehearsals
    served = context.known.sightings.semi_join(target, list(KEY))
    certificate = tables.certificates.semi_join(target, list(KEY))
    hosts = certificate.select("as_of", host=certificate.names.unnest())
    hosts = hosts.union(served.select("as_of", "host"))
    inventory = tables.hosts.semi_join(hosts, ["as_of", "host"])
    ended = inventory.valid_to.notnull() & (inventory.valid_to <= inventory.as_of)
    happened = {
        name: rows.semi_join(target, list(KEY)).select("kind", "code", at=_moment(rows["at"]))
        for name, rows in (
            ("attempts", attempts.filter(attempts["at"] >= attempts.issued)),
            ("successes", context.successes),
            ("rehearsals", rehearsals.filter(rehearsals["at"] >= rehearsals.issued)),
        )
    }
    return {
        "certificate": (certificate.drop("as_of"), "known_at"),
        "looks": (tables.observations.semi_join(served, list(ENDPOINT)).drop("as_of"), "observed_at"),
        "attempts": (happened["attempts"], "at"),
        "successes": (happened["successes"], "at"),
        "rehearsals": (happened["rehearsals"], "at"),
        "inventory": (
            inventory.filter(inventory.valid_from <= inventory.as_of, ~ended).drop("as_of"),
            "criticality",
        ),
        "calendar": (target.select(due=_moment(target.due), expires=_moment(target.expires)), "due"),
    }


def _moment(days: "ir.FloatingValue") -> "ir.TimestampValue":
    return (days * DAY).round().cast("int64").as_timestamp("s")


def _utc(frame: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    times = frame.select_dtypes(["datetime", "datetimetz"]).columns
    return frame.assign(**{name: pd.to_datetime(frame[name], utc=True).dt.as_unit("us") for name in times})


def _plain(value: Any) -> Any:
    """Give a value as Python's own; None where it is unknown."""
    return None if value is None or value != value else value if isinstance(value, str) else float(value)
