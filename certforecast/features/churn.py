"""Host churn: how the hosts behind a certificate, and the certificates on its hosts, change."""

from typing import TYPE_CHECKING

from certforecast.features.catalogue import flag, number
from certforecast.features.context import KEY, Context, days

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["FEATURES", "churn"]

FEATURES = (
    number(
        "churn", "endpoints", "endpoints", "Endpoints on which the certificate was seen; 0 if never scanned."
    ),
    number(
        "churn", "joined_share", "share", "Of its endpoints, first seen in the last 30 days; null if none."
    ),
    number("churn", "gone_share", "share", "Of its endpoints, gone or turned to other names; null if none."),
    number("churn", "moved_share", "share", "Of its endpoints, already on the successor; null if none."),
    number(
        "churn", "error_share", "share", "Of the looks at its endpoints in 14 days, without a certificate."
    ),
    number(
        "churn", "silent_days", "days", "Since the last look that saw the certificate; null if never scanned."
    ),
    flag("churn", "unserved", "Whether a successor is issued but not in service."),
    number("churn", "unserved_days", "days", "Since that successor was issued; null if there is none."),
    number(
        "churn", "host_certificates", "certificates", "Different ones on its endpoints in 90 days, a mean."
    ),
    number("churn", "names", "names", "Names in the certificate."),
    flag("churn", "names_changed", "Whether its names differ from the one before; null if there is none."),
    number(
        "churn", "endpoint_ratio", "ratio", "Endpoints over those of the one before; null if there were none."
    ),
)


def churn(context: Context) -> "ir.Table":
    """Compute the churn features for every target; ``as_of, fingerprint`` and `FEATURES`."""
    place = ["as_of", "host", "port", "server_name"]
    looks = context.tables.observations
    looks = looks.select(*place, "fingerprint", seen=days(looks.observed_at), now=days(looks.as_of))
    age = looks.now - looks.seen
    endpoints = looks.group_by(place).aggregate(
        born=looks.seen.min(),
        recent=(age <= 14.0).cast("float64").sum(),
        errors=((age <= 14.0) & looks.fingerprint.isnull()).cast("float64").sum(),
        certificates=looks.fingerprint.nunique(where=age <= 90.0),
    )
    served = (
        looks.filter(looks.fingerprint.notnull())
        .group_by([*place, "fingerprint"])
        .aggregate(seen=lambda t: t.seen.max(), now=lambda t: t.now.max())
        .inner_join(endpoints, place)
    )
    condensed = served.group_by(list(KEY)).aggregate(
        joined=((served.now - served.born) <= 30.0).cast("float64").mean(),
        errors=served.errors.sum(),
        recent=served.recent.sum(),
        seen=served.seen.max(),
        certificates=served.certificates.cast("float64").mean(),
    )
    rows = context.targets
    for table in (condensed, context.previous):
        rows = rows.left_join(table, list(KEY)).drop("as_of_right", "fingerprint_right")
    return rows.select(
        *KEY,
        endpoints=rows.endpoints.cast("float64"),
        joined_share=rows.joined,
        gone_share=rows.endpoints_gone / rows.endpoints.nullif(0),
        moved_share=rows.endpoints_moved / rows.endpoints.nullif(0),
        error_share=rows.errors / rows.recent.nullif(0.0),
        silent_days=rows.now - rows.seen,
        unserved=rows.successor.notnull().cast("float64"),
        unserved_days=rows.now - rows.successor_issued,
        host_certificates=rows.certificates,
        names=rows.names.length().cast("float64"),
        names_changed=(rows.previous_name_set != rows.name_set_id).cast("float64"),
        endpoint_ratio=rows.endpoints / rows.previous_endpoints.nullif(0),
    )
