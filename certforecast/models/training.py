"""From a store to a trained model: landmarks, which rows may be learned from, and the run."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certforecast.clock import as_utc
from certforecast.errors import ModelError
from certforecast.features import FEATURES, training_frame
from certforecast.models.interventions import intervention_weights, settling
from certforecast.models.weighing import landmark_weights
from certforecast.policy import RenewalPolicy
from certforecast.renewals import HasTables
from certforecast.settings import ModelSettings, Settings

if TYPE_CHECKING:
    import pandas as pd

    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool
    from certforecast.models.tracking import Role

__all__ = [
    "Trained",
    "data_fingerprint",
    "fit_forecaster",
    "fit_rows",
    "landmarks",
    "new_model",
    "settling",
    "train",
    "trainable",
]


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model and how it came about."""

    model: "OutcomePool | OutcomeClassifier"
    method: str
    path: Path
    as_of: datetime
    rows: int
    renewals: int
    outcomes: dict[str, int]
    data_fingerprint: str
    run_id: str

    def summary(self) -> dict[str, Any]:
        """Give what a person wants to know, without the model."""
        return {
            "model": str(self.path),
            "method": self.method,
            "weights": {
                name: round(weight, 3) for name, weight in getattr(self.model, "weights_", {}).items()
            },
            "as_of": self.as_of.isoformat(),
            "rows": self.rows,
            "renewals": self.renewals,
            "outcomes": self.outcomes,
            "data_fingerprint": self.data_fingerprint,
            "run": self.run_id,
        }


def landmarks(history: HasTables, as_of: datetime, every_days: float) -> list[datetime]:
    """Give the moments at which open renewals are looked at for training.

    They lie on a grid that stands still, so that features once computed serve again the next day.

    Parameters
    ----------
    history : History
        The store.
    as_of : datetime
        All landmarks lie before it.
    every_days : float
        Their distance, counted from 1970-01-01 UTC.

    Returns
    -------
    list of datetime
        Oldest first, from when the first certificate was known.
    """
    known = history.tables().certificates.known_at.min().execute()
    if known is None or known != known:
        return []
    start, step = datetime(1970, 1, 1, tzinfo=UTC), timedelta(days=every_days)
    first, end = -((start - known) // step), -((start - as_utc(as_of)) // step)
    return [start + number * step for number in range(first, end)]


def trainable(frame: "pd.DataFrame", cutoff: datetime, policy: RenewalPolicy) -> "pd.Series[bool]":
    """Say which landmark rows may be learned from at a cutoff.

    A row counts only if its renewal would be resolved by the cutoff whatever its outcome: expired, and
    the grace period over. To take every row that happens to be resolved would favour quick outcomes,
    and on-time renewals are the quickest. What we acted upon is censored; those left
    alone are weighted for it, see :func:`certforecast.models.interventions.intervention_weights`.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        As given by :func:`certforecast.features.training_frame`.
    cutoff : datetime
        Nothing known later is used.
    policy : RenewalPolicy
        Gives the grace period.

    Returns
    -------
    Series of bool, shape (n_rows,)
    """
    known = (frame["outcome"] != "open") & (settling(frame, policy)["settled"] <= cutoff)
    mask: pd.Series[bool] = known & ~frame["intervention"] & (frame["as_of"] < cutoff)
    return mask


def new_model(settings: ModelSettings, *, timed: bool = False) -> "OutcomePool | OutcomeClassifier":
    """Make the unfitted model that the settings name; `timed` if it is to say when, too, and can."""
    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool
    from certforecast.models.timing import RenewalTimes

    if settings.method == "pooled":
        return OutcomePool(random_state=settings.seed, times=RenewalTimes() if timed else None)
    return OutcomeClassifier(method=settings.method, random_state=settings.seed)


def fit_rows(model: Any, rows: "pd.DataFrame", policy: RenewalPolicy) -> Any:
    """Fit a model to rows that may be learned from; tell it what else its `fit` wants to know.

    That is ``landmarks``, when each row was settled, and ``durations``, when and how it ended.

    Parameters
    ----------
    model : Forecaster
        Unfitted.
    rows : DataFrame
        As given by :func:`certforecast.features.training_frame`, and :func:`trainable`.
    policy : RenewalPolicy
        Gives the grace period.

    Returns
    -------
    Forecaster
        The model, fitted.
    """
    from sklearn.utils.validation import has_fit_parameter

    from certforecast.models.durations import durations

    def ended() -> "pd.DataFrame":
        # All are settled: nothing was heard of any after its expiry that counts.
        return durations(rows, rows["not_after"].max() if len(rows) else datetime(1970, 1, 1, tzinfo=UTC))

    # Those left alone stand for those acted upon; the mean is 1, so that a renewal stays a renewal.
    weight = intervention_weights(rows, policy)
    weight = weight / weight.mean()
    known = {}
    if has_fit_parameter(model, "landmarks"):
        known["landmarks"] = settling(rows, policy).assign(weight=weight)
        if getattr(model, "times", None) is not None:
            known["landmarks"] = known["landmarks"].assign(**ended())
    if has_fit_parameter(model, "durations"):
        known["durations"] = ended()
    inputs = rows[[name for name in FEATURES if name in rows]]
    y = rows["outcome"].to_numpy(dtype=object).astype(str)
    return model.fit(inputs, y, sample_weight=(landmark_weights(rows) * weight).to_numpy(), **known)


def fit_forecaster(frame: "pd.DataFrame", cutoff: datetime, policy: RenewalPolicy, model: Any) -> Any:
    """Fit a model to the rows that may be learned from at a cutoff, and give it.

    Raises
    ------
    ModelError
        If there are no such rows, or all have the same outcome; an `OutcomePool` has its prior then.
    """
    from certforecast.models.pool import OutcomePool

    rows = frame[trainable(frame, cutoff, policy)]
    if rows["outcome"].nunique() < 2 and not isinstance(model, OutcomePool):
        raise ModelError(
            f"too little history to train on as of {cutoff:%Y-%m-%d}: {rows['fingerprint'].nunique()} "
            "renewals are resolved with their grace period over, and two different outcomes are needed; "
            "import older history (certforecast ingest), wait until more renewals are resolved, or set "
            "[model] method to pooled, which starts with the shipped model"
        )
    return fit_rows(model, rows, policy)


def data_fingerprint(frame: "pd.DataFrame") -> str:
    """Hash the rows of a frame, whatever their order; 16 hex digits."""
    import pandas as pd

    hashes = pd.util.hash_pandas_object(frame, index=False).sort_values().to_numpy()
    return hashlib.sha256(hashes.tobytes()).hexdigest()[:16]


def train(
    history: HasTables,
    as_of: datetime,
    settings: Settings,
    *,
    frame: "pd.DataFrame | None" = None,
    path: Path | None = None,
) -> Trained:
    """Train a model on what is known, save it, and log the run with MLflow.

    Parameters
    ----------
    history : History
        The store.
    as_of : datetime
        Nothing known later is used.
    settings : Settings
        ``[model]`` and ``[policy]``, and where models and runs are kept.
    frame : DataFrame, optional
        Landmark rows, if they are at hand; else they are computed.
    path : Path, optional
        Where to save the model; default ``settings.champion_path``, or ``settings.challenger_path`` while a
        champion that can be used is there.

    Raises
    ------
    ModelError
        If there is too little history.
    """
    from certforecast.models.origin import origin
    from certforecast.models.record import training_record
    from certforecast.models.saved import save_model
    from certforecast.models.tracking import log_training

    as_of = as_utc(as_of)
    if frame is None:
        # On the first day nothing is known of the past; the shipped model needs no more than that.
        moments = landmarks(history, as_of, settings.model.landmark_every_days) or [as_of]
        frame = training_frame(history, moments, as_of, settings.policy, cache=settings.landmarks_path)
    if frame.empty:
        raise ModelError(
            f"the store knows no open renewal as of {as_of:%Y-%m-%d} or before: import history first "
            "(certforecast ingest), or check --as-of"
        )
    rows = frame[trainable(frame, as_of, settings.policy)]
    model = fit_forecaster(frame, as_of, settings.policy, new_model(settings.model, timed=True))
    target, role = _place(settings, path)
    fingerprint = data_fingerprint(rows[["as_of", "fingerprint", *FEATURES, "outcome"]])
    outcomes = rows.drop_duplicates("fingerprint")["outcome"].value_counts()
    counts = {str(name): int(count) for name, count in outcomes.items()}
    save_model(model, target, origin(settings, as_of, fingerprint, model, rows), key=settings.home)
    record = training_record(settings, as_of, fingerprint, model, rows)
    run_id = log_training(settings, model, target, record, role)
    return Trained(
        model,
        settings.model.method,
        target,
        as_of,
        len(rows),
        rows["fingerprint"].nunique(),
        counts,
        fingerprint,
        run_id,
    )


def _place(settings: Settings, path: Path | None) -> "tuple[Path, Role | None]":
    """Say where a new model goes, and as what: a champion in use is not pushed aside unasked."""
    from certforecast.models.saved import can_be_used

    if path is not None and path.absolute() != settings.champion_path.absolute():
        return path, None
    if path is not None or not can_be_used(settings.champion_path, key=settings.home):
        return settings.champion_path, "champion"
    return settings.challenger_path, "challenger"
