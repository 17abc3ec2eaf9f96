"""The backtest a user asks for: the model of the settings beside the rules, on a whole store."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from certforecast.errors import ModelError
from certforecast.evaluation.artifacts import write_artifacts
from certforecast.evaluation.backtesting import Forecaster, backtest, default_cutoffs
from certforecast.evaluation.result import BacktestResult
from certforecast.features import FEATURES, training_frame
from certforecast.models.record import Record, metric_name, run_record
from certforecast.models.tracking import log_backtest
from certforecast.models.training import data_fingerprint, landmarks, new_model
from certforecast.renewals import HasTables
from certforecast.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MODEL", "backtest_history", "history_frame"]

#: The name under which the model of the settings is compared.
MODEL = "certforecast"

#: The name of the reference for forecasts of when.
SHARES = "shares by day"


def backtest_history(
    history: HasTables,
    as_of: datetime,
    settings: Settings,
    *,
    cutoffs: int | None = None,
    k: int = 10,
    times: bool = False,
    progress: Callable[[float], None] | None = None,
) -> BacktestResult:
    """Backtest the model of the settings and the rules it must beat on what a store knows, and log the run.

    Parameters
    ----------
    history : History
        The store.
    as_of : datetime
        Outcomes are taken as they were known then.
    settings : Settings
        ``[model]`` and ``[policy]``.
    cutoffs : int, optional
        How many times to train and look ahead; see :func:`~certforecast.evaluation.default_cutoffs`.
    k : int
        Renewals that can be looked into at each moment.
    times : bool
        Score when renewals come, too, beside how past ones were spread over the days. Training takes two or
        three times as long.
    progress : callable, optional
        Called with the share that is done so far, 1 at the end.

    Raises
    ------
    ModelError
        If there is too little history.
    """
    from certforecast.models import RULES
    from certforecast.models.daily import DailyShares

    frame = history_frame(history, as_of, settings)

    def model() -> Forecaster:
        return new_model(settings.model, timed=times)

    models: dict[str, Callable[[], Forecaster]] = {MODEL: model, **RULES}
    if times:
        models[SHARES] = DailyShares
    chosen = default_cutoffs(frame, cutoffs, settings.policy)
    result = backtest(frame, models, chosen, policy=settings.policy, k=k, progress=progress)
    _log(result, settings, as_of, data_fingerprint(frame[["as_of", "fingerprint", *FEATURES, "outcome"]]))
    return result


def history_frame(history: HasTables, as_of: datetime, settings: Settings) -> "pd.DataFrame":
    """Give the landmark rows of a whole store, as :func:`certforecast.features.training_frame` does.

    Raises
    ------
    ModelError
        If it knows of nothing before the first landmark.
    """
    moments = landmarks(history, as_of, settings.model.landmark_every_days)
    if not moments:
        raise ModelError(
            f"the store knows no certificate {settings.model.landmark_every_days:g} days before "
            f"{as_of:%Y-%m-%d}: import history first (certforecast ingest), or check --as-of"
        )
    return training_frame(history, moments, as_of, settings.policy, cache=settings.landmarks_path)


def _log(result: BacktestResult, settings: Settings, as_of: datetime, data_fingerprint: str) -> None:
    """Log the scores for the outcome that matters most, with tables, plots, and what they are of."""
    summary = result.summary("failed")
    scores = {
        metric_name(f"{row['model']}/{name}"): row[name]
        for row in summary.to_dict("records")
        for name in ("auprc", "auroc", "brier", "log_loss", "calibration_error", "caught")
    }
    record = run_record(settings, as_of, data_fingerprint)
    params = {**record.params, "outcome": "failed", "k": result.k, "rows": result.describe()}
    with TemporaryDirectory() as folder:
        tags = {**record.tags, "plots": write_artifacts(result, Path(folder), summary)}
        log_backtest(settings, Record(params, scores, tags, data_fingerprint), Path(folder))
