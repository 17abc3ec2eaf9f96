"""Forecasts: the outcome probabilities of every open renewal at one moment."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from certforecast.clock import as_utc
from certforecast.errors import InputError, ModelError
from certforecast.features import FEATURES, features
from certforecast.policy import RenewalPolicy
from certforecast.renewals import OUTCOMES, HasTables

if TYPE_CHECKING:
    import pandas as pd

    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool

__all__ = ["chances_by", "forecast", "inputs_of"]


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
        Fitted to features of the same names, or to some of them.
    as_of : datetime
        Nothing known later is used.
    policy : RenewalPolicy, optional
        Thresholds.

    Returns
    -------
    DataFrame of shape (n_open, n_identifiers + n_features + 4 or 7)
        As :func:`certforecast.features.features` gives it, and ``p_on_time, p_slipped, p_failed, p_retired``;
        from a model that says when, also ``renewal_low, renewal_median, renewal_high``: nine of ten renewals
        that come before the expiry come between the first and the last of them.
    """
    import pandas as pd

    frame = features(history, as_of, policy)
    times = getattr(model, "times_", None)
    if frame.empty:
        moments = ["renewal_low", "renewal_median", "renewal_high"] if times is not None else []
        nothing = dict.fromkeys(["p_on_time", "p_slipped", "p_failed", "p_retired"], 0.0)
        return frame.assign(**nothing, **dict.fromkeys(moments, frame["as_of"]))
    inputs = inputs_of(model, frame)
    parts = [frame, model.proba_frame(inputs)]
    if times is not None:
        for name, days in times.predict_interval(inputs).items():
            ahead = pd.to_timedelta(days, "D").dt.floor("s")  # what is finer is not known
            parts.append((frame["as_of"] + ahead).astype(frame["as_of"].dtype).rename(f"renewal_{name}"))
    return pd.concat(parts, axis=1)


def chances_by(
    model: "OutcomePool | OutcomeClassifier", forecasts: "pd.DataFrame", moment: datetime
) -> "pd.DataFrame":
    """Give the probabilities that renewals have come about by a moment.

    Parameters
    ----------
    model : OutcomePool or OutcomeClassifier
        The one that forecast; it has to say when.
    forecasts : DataFrame of shape (n_open, n_columns)
        As given by :func:`forecast`.
    moment : datetime
        After their ``as_of``.

    Returns
    -------
    DataFrame of shape (n_open, 3)
        ``renewed_by`` (on time or slipped), ``failed_by`` and ``retired_by``, on the index of `forecasts`;
        what is missing to 1 is that it is still open then.

    Raises
    ------
    InputError
        If the moment does not come after ``as_of``.
    ModelError
        If the model does not say when.
    """
    import pandas as pd

    if getattr(model, "times_", None) is None:
        raise ModelError(
            f"this {type(model).__name__} says what becomes of renewals, not when: train one that does with "
            "'certforecast train' and [model] method pooled, the default"
        )
    columns = {"renewed_by": ("on_time", "slipped"), "failed_by": ("failed",), "retired_by": ("retired",)}
    if forecasts.empty:
        return pd.DataFrame(columns=list(columns), index=forecasts.index, dtype="float64")
    ahead = (pd.Timestamp(as_utc(moment)) - forecasts["as_of"].iloc[0]) / pd.Timedelta(days=1)
    if not ahead > 0:
        raise InputError(
            f"{moment:%Y-%m-%d %H:%M} does not come after {forecasts['as_of'].iloc[0]:%Y-%m-%d %H:%M} UTC, "
            "the moment that is forecast from; give a later one"
        )
    found = model.predict_incidence(inputs_of(model, forecasts), [ahead])[:, :, 0]
    shares = {
        name: found[:, [OUTCOMES.index(one) for one in took]].sum(axis=1) for name, took in columns.items()
    }
    return pd.DataFrame(shares, index=forecasts.index)


def inputs_of(model: Any, rows: "pd.DataFrame") -> "pd.DataFrame":
    """Give the columns a model was fitted to: one of before a feature was added goes on without it.

    Parameters
    ----------
    model : OutcomePool, OutcomeClassifier or another that forecasts
        One that does not say its columns is given all features.
    rows : DataFrame of shape (n_rows, n_columns)
        With the features.
    """
    return rows[list(getattr(model, "feature_names_in_", FEATURES))]
