"""What our own actions hide: weights under which the renewals left alone stand for those acted upon."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from certforecast.policy import RenewalPolicy

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["WEIGHT_LIMIT", "at_risk", "estimated_weights", "intervention_weights", "settling"]

#: No renewal stands for more than so many: a little bias, for much less variance.
WEIGHT_LIMIT: Final = 50.0


def settling(frame: "pd.DataFrame", policy: RenewalPolicy) -> "pd.DataFrame":
    """Say from when on the outcome of each landmark row is known whatever it is.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        As given by :func:`certforecast.features.training_frame`.
    policy : RenewalPolicy
        Gives the grace period.

    Returns
    -------
    DataFrame of shape (n_rows, 3 or 4)
        ``as_of``, ``settled`` (null while the outcome is open), ``fingerprint``, and ``validity_days`` if the
        frame tells.
    """
    over = frame["not_after"] + timedelta(days=policy.grace_days)
    settled = over.where(over > frame["resolved_at"], frame["resolved_at"])
    told = [name for name in ("as_of", "fingerprint", "validity_days") if name in frame]
    return frame[told].assign(settled=settled)


def intervention_weights(frame: "pd.DataFrame", policy: RenewalPolicy) -> "pd.Series[float]":
    """Weigh renewals that were left alone by how unlikely that was: inverse-probability weights.

    We act on the renewals that look worst. Those that are left, and that alone can be learned from, look too
    safe. But some that we would have acted on were held out, by lot, with a probability that was logged: each
    stands for itself and for those that the lot did not spare [1]_ [2]_. Nobody would have acted on the
    others, and each stands for itself.

    Without a hold-out, the probability of being left alone is 0 where we always act, and no weight can stand
    for what was never seen: all weights are 1 then.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        As given by :func:`certforecast.features.training_frame`. A hold-out counts if it was known by the
        time at which its renewal was settled, so nothing later than a training's cutoff moves a weight.
    policy : RenewalPolicy
        Gives the grace period.

    Returns
    -------
    Series of float, shape (n_rows,)
        From 1 to `WEIGHT_LIMIT`; meant for rows without an ``intervention``.

    References
    ----------
    .. [1] J. Robins, D. Finkelstein (2000), Correcting for noncompliance and dependent censoring in an AIDS
       clinical trial with inverse probability of censoring weighted (IPCW) log-rank tests, Biometrics 56(3).
    .. [2] S. Cole, M. Hernán (2008), Constructing inverse probability weights for marginal structural models,
       American Journal of Epidemiology 168(6).
    """
    import pandas as pd

    if "holdout_share" not in frame:
        return pd.Series(1.0, index=frame.index)
    known = frame["held_out_at"] <= settling(frame, policy)["settled"]
    share = frame["holdout_share"].astype("float64").where(known, 1.0).fillna(1.0)
    return (1.0 / share.clip(lower=1e-9)).clip(upper=WEIGHT_LIMIT)


def at_risk(frame: "pd.DataFrame", until: datetime) -> "pd.DataFrame":
    """Give the time for which each renewal was open and left alone, for a model of hazards.

    A renewal counts up to our action, and is censored there. One that was held out counts once up to the
    day on which we would have acted, and from then on for all that were like it: weights change with time,
    as in [1]_, and nothing that was seen is thrown away.

    Parameters
    ----------
    frame : DataFrame
        As given by :func:`certforecast.features.training_frame`, with what is known at `until`.
    until : datetime
        That moment.

    Returns
    -------
    DataFrame of shape (n_spells, 4)
        ``event`` and ``duration`` as given by :func:`certforecast.models.durations.durations`; ``entry``, the
        day ahead from which the spell is seen; ``weight``. On the index of `frame`, of which a held-out row
        comes twice and one from after our action not at all. ``RenewalHazard().fit(frame.loc[spells.index,
        features], spells, spells["weight"])`` learns from it.

    References
    ----------
    .. [1] J. Robins, D. Finkelstein (2000), Biometrics 56(3).
    """
    import pandas as pd

    from certforecast.models.durations import CENSORED, durations

    spells = durations(frame, until).assign(entry=0.0, weight=1.0)
    if "holdout_share" not in frame:
        return spells[~frame["intervention"].astype(bool)]
    acted = frame["intervened_at"] <= frame["as_of"]
    spells, frame = spells[~acted], frame[~acted]
    share = frame["holdout_share"].astype("float64").where(frame["held_out_at"] <= until).clip(lower=1e-9)
    after = ((frame["held_out_at"] - frame["as_of"]).dt.total_seconds() / 86_400).clip(lower=0.0)
    held = share.notna() & (after < spells["duration"])
    whole = spells[~held]
    before = spells[held].assign(event=CENSORED, duration=after[held])
    since = spells[held].assign(entry=after[held], weight=(1.0 / share[held]).clip(upper=WEIGHT_LIMIT))
    return pd.concat([whole, before[before["duration"] > 0], since]).sort_index(kind="stable")


def estimated_weights(
    frame: "pd.DataFrame", inputs: "list[str]", *, limit: float = 10.0
) -> "pd.Series[float]":
    """Estimate from the features how unlikely it was that a renewal was left alone, where nothing was logged.

    For actions that were no certain matter: a line that often stopped, a plan that was not always carried
    out. A logistic regression gives, for each landmark row, the probability that we acted before the next;
    a second one, on the days left only, stabilises [1]_. Where we always acted, positivity fails, and these
    weights cannot help: prefer a hold-out, whose probabilities are known.

    Parameters
    ----------
    frame : DataFrame
        As given by :func:`certforecast.features.training_frame`, all rows: those acted upon, too.
    inputs : list of str
        Columns that decided, with ``days_left``.
    limit : float
        Weights are kept between its inverse and itself.

    Returns
    -------
    Series of float, shape (n_rows,)
        For the rows without an ``intervention``; null for the others.

    References
    ----------
    .. [1] S. Cole, M. Hernán (2008), American Journal of Epidemiology 168(6).
    """
    import numpy as np
    import pandas as pd

    from certforecast.models.classifier import OutcomeClassifier

    ordered = frame.sort_values(["fingerprint", "as_of"])
    ordered = ordered[~(ordered["intervened_at"] <= ordered["as_of"])]
    upcoming = ordered.groupby("fingerprint")["as_of"].shift(-1)
    acted = ordered["intervened_at"].notna() & ~(ordered["intervened_at"] > upcoming)
    if acted.nunique() < 2:
        return pd.Series(1.0, index=frame.index).where(~frame["intervention"])
    left = np.zeros(len(ordered))
    for columns, sign in ((["days_left"], 1.0), (inputs, -1.0)):
        model = OutcomeClassifier("logistic", lean=False).fit(ordered[columns], acted.to_numpy())
        left += sign * np.log(np.clip(model.predict_proba(ordered[columns])[:, 0], 1e-6, 1.0))
    # What lies ahead of a row counts: the product over this landmark and the later ones.
    logs = pd.Series(left, index=ordered.index)[::-1].groupby(ordered["fingerprint"][::-1]).cumsum()
    weights: pd.Series[float] = logs.map(np.exp).clip(1.0 / limit, limit).reindex(frame.index)
    return weights.where(~frame["intervention"])
