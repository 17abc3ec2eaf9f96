"""Forecasts: the outcome probabilities of every open renewal at one moment."""

from datetime import datetime
from typing import TYPE_CHECKING

from certforecast.features import FEATURES, features
from certforecast.policy import RenewalPolicy
from certforecast.renewals import HasTables

if TYPE_CHECKING:
    import pandas as pd

    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool

__all__ = ["forecast"]


def forecast(
    history: HasTables,
    model: "OutcomePool | OutcomeClassifier",
    as_of: datetime,
    policy: RenewalPolicy | None = None,
) -> "pd.DataFrame":
    """Forecast every open renewal.

    Parameters
    ----------
    history : History
        The store.
    model : OutcomePool or OutcomeClassifier
        Fitted to features of the same names.
    as_of : datetime
        Nothing known later is used.
    policy : RenewalPolicy, optional
        Thresholds.

    Returns
    -------
    DataFrame of shape (n_open, n_identifiers + n_features + 4)
        As :func:`certforecast.features.features` gives it, and ``p_on_time, p_slipped, p_failed, p_retired``.
    """
    import pandas as pd

    frame = features(history, as_of, policy)
    if frame.empty:
        return frame.assign(p_on_time=0.0, p_slipped=0.0, p_failed=0.0, p_retired=0.0)
    return pd.concat([frame, model.proba_frame(frame[list(FEATURES)])], axis=1)
