"""What a model was made of, told in its file: so that a refresh is told from a rival."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from certforecast.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool

__all__ = ["SAMPLE", "missing_renewals", "origin"]

#: So many renewals are named in a model file: the first by fingerprint, which is as good as a lot.
SAMPLE: Final = 64


def origin(
    settings: Settings,
    as_of: datetime,
    data_fingerprint: str,
    model: "OutcomePool | OutcomeClassifier",
    rows: "pd.DataFrame",
) -> dict[str, Any]:
    """Say how a model came about, as metadata of its file.

    Parameters
    ----------
    settings : Settings
        Of the training.
    as_of : datetime
        When it was trained.
    data_fingerprint : str
        Of the rows.
    model : OutcomePool or OutcomeClassifier
        Fitted.
    rows : DataFrame of shape (n_rows, n_columns)
        What it was fitted to.

    Returns
    -------
    dict
        Json-able. ``prior`` is the hash of the shipped models, or None if the model does not lean on them.
    """
    from certforecast.models.prior import shipped_digest

    leans = getattr(model, "prior_", None) is not None
    names = sorted(rows["fingerprint"].unique())
    return {
        "as_of": as_of.isoformat(),
        "data_fingerprint": data_fingerprint,
        "rows": len(rows),
        "renewals": len(names),
        "some_renewals": names[:SAMPLE],
        "policy": asdict(settings.policy),
        "landmark_every_days": settings.model.landmark_every_days,
        "prior": shipped_digest() if leans else None,
    }


def missing_renewals(before: Sequence[str], now: Sequence[str]) -> tuple[int, int]:
    """Look in a sample of renewals for those of an earlier sample of the same history.

    Parameters
    ----------
    before, now : sequence of str
        ``some_renewals`` of two models.

    Returns
    -------
    missing, sought : int
        A later sample must have those of the earlier one that come before its own last.
    """
    sought = {name for name in before if len(now) < SAMPLE or name <= now[-1]}
    return len(sought - set(now)), len(sought)
