"""Host churn: how the hosts behind a certificate, and the certificates on its hosts, change."""

from typing import TYPE_CHECKING

from certforecast.features.catalogue import flag, number
from certforecast.features.context import KEY, Context, in_days, joined
from certforecast.renewals.service import ENDPOINT
from certforecast.renewals.times import DAY, seconds

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["FEATURES", "WINDOWS", "churn"]

#: Windows, in days, over which hosts are said to have joined or left.
WINDOWS = (7, 30, 90)

FEATURES = (
    number(
        "churn", "endpoints", "endpoints", "On which the certificate was seen; 0 if never scanned.", "looks"
    ),
    *(
        number(
            "churn",
            f"joined_{days}",
            "share",
            f"Of its endpoints, first seen in the last {days} days; null if none.",
            "looks",
        )
        for days in WINDOWS
    ),
    *(
        number(
            "churn",
            f"left_{days}",
            "share",
            f"Of its endpoints, gone or turned to other names within {days} days of it; null if none.",
            "looks",
        )
        for days in WINDOWS
    ),
    number(
        "churn",
        "gone_share",
        "share",
        "Of its endpoints, gone or turned to other names; null if none.",
        "looks",
    ),
    number(
        "churn", "moved_share", "share", "Of its endpoints, already on the successor; null if none.", "looks"
    ),
    number(
        "churn",
        "error_share",
        "share",
        "Of the looks at its endpoints in 14 days, without a certificate.",
        "looks",
    ),
    number(
        "churn",
        "silent_days",
        "days",
        "Since the last look that saw the certificate; null if never scanned.",
        "looks",
    ),
    flag("churn", "unserved", "Whether a successor is issued but not in service.", "successor"),
    number(
        "churn",
        "unserved_days",
        "days",
        "Since that successor was issued; null if there is none.",
        "successor",
    ),
    number(
        "churn",
        "host_certificates",
        "certificates",
        "Different ones on its endpoints in 90 days, a mean.",
        "looks",
    ),
    number("churn", "names", "names", "Names in the certificate."),
    flag(
        "churn",
        "names_changed",
        "Whether its names differ from the one before; null if there is none.",
        "lineage",
    ),
    number(
        "churn",
        "endpoint_ratio",
        "ratio",
        "Endpoints over those of the one before; null if there were none.",
        "looks",
    ),
)


def churn(context: Context) -> "ir.Table":
    """Compute the churn features for every target; ``as_of, fingerprint`` and `FEATURES`."""
    rows = context.known.sightings
    rows = rows.mutate(now=seconds(rows.as_of), failed=rows.fingerprint.isnull())
    endpoints = rows.group_by(list(ENDPOINT)).aggregate(
        born=rows.first_seen.min(),
        looks=rows.recent.sum(),
        errors=rows.recent.sum(where=rows.failed),
        certificates=rows.fingerprint.nunique(where=rows.now - rows.last_seen <= 90 * DAY),
    )
    served = rows.filter(~rows.failed).group_by([*ENDPOINT, "fingerprint"])
    served = served.aggregate(seen=lambda t: t.last_seen.max(), now=lambda t: t.now.max())
    served = served.inner_join(endpoints, list(ENDPOINT))
    condensed = served.group_by(list(KEY)).aggregate(
        errors=served.errors.sum(),
        looks=served.looks.sum(),
        silent=in_days((served.now - served.seen).min()),
        certificates=served.certificates.cast("float64").mean(),
        **{
            f"joined_{days}": (served.now - served.born <= days * DAY).cast("float64").mean()
            for days in WINDOWS
        },
    )
    moves = context.known.moves
    age = seconds(moves.as_of) - moves.last_seen
    left = moves.group_by(list(KEY)).aggregate(
        **{f"left_{days}": (moves.gone & (age <= days * DAY)).cast("float64").mean() for days in WINDOWS}
    )
    previous = context.previous.select(*KEY, "previous_name_set", "previous_endpoints")
    rows = joined(context.targets, (condensed, KEY), (left, KEY), (previous, KEY))
    return rows.select(
        *KEY,
        *(f"{kind}_{days}" for kind in ("joined", "left") for days in WINDOWS),
        "names",
        endpoints=rows.endpoints.cast("float64"),
        gone_share=rows.endpoints_gone / rows.endpoints.nullif(0),
        moved_share=rows.endpoints_moved / rows.endpoints.nullif(0),
        error_share=rows.errors.fill_null(0) / rows.looks.nullif(0),
        silent_days=rows.silent,
        unserved=rows.successor.notnull().cast("float64"),
        unserved_days=rows.now - rows.successor_issued,
        host_certificates=rows.certificates,
        names_changed=(rows.previous_name_set != rows.name_set_id).cast("float64"),
        endpoint_ratio=rows.endpoints / rows.previous_endpoints.nullif(0),
    )
