"""Runs and models in MLflow: a SQLite file in the home folder unless a server is named."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool
    from certforecast.settings import Settings

__all__ = ["EXPERIMENT", "REGISTERED", "log_metrics", "log_training"]

EXPERIMENT = "certforecast"

#: Name in the model registry.
REGISTERED = "certforecast-outcome"


def log_training(
    settings: "Settings",
    model: "OutcomePool | OutcomeClassifier",
    path: Path,
    *,
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> str:
    """Log a training run with its parameters and model file, and register the model as ``champion``.

    Returns
    -------
    str
        The run's id.
    """
    client, experiment = _client(settings)
    run = client.create_run(experiment, run_name="train", tags=dict(tags))
    for name, value in model.get_params().items():
        client.log_param(run.info.run_id, name, value)
    for name, number in metrics.items():
        client.log_metric(run.info.run_id, name, number)
    client.log_artifact(run.info.run_id, str(path), artifact_path="model")
    _register(client, run)
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def log_metrics(
    settings: "Settings", name: str, metrics: Mapping[str, float], params: Mapping[str, Any]
) -> str:
    """Log a run that only measures, such as a backtest; give its id."""
    client, experiment = _client(settings)
    run = client.create_run(experiment, run_name=name)
    for key, value in params.items():
        client.log_param(run.info.run_id, key, value)
    for key, number in metrics.items():
        if number == number:
            client.log_metric(run.info.run_id, key, number)
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def _client(settings: "Settings") -> tuple[Any, str]:
    # MLflow and alembic would print the migrations of a new database.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    for noisy in ("alembic", "mlflow.store.db.utils", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    from mlflow import MlflowClient

    home = settings.home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    uri = settings.tracking_uri or f"sqlite:///{home / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return client, found.experiment_id
    artifacts = None if settings.tracking_uri else (home / "mlartifacts").as_uri()
    return client, client.create_experiment(EXPERIMENT, artifact_location=artifacts)


def _register(client: Any, run: Any) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(REGISTERED)
    except MlflowException:
        client.create_registered_model(REGISTERED)
    version = client.create_model_version(
        REGISTERED, source=f"{run.info.artifact_uri}/model", run_id=run.info.run_id
    )
    client.set_registered_model_alias(REGISTERED, "champion", version.version)
