"""Runs and models in MLflow: a SQLite file in the home folder unless a server is named."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from certforecast.atomic import write_file
from certforecast.errors import ModelError
from certforecast.models.record import Record

if TYPE_CHECKING:
    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool
    from certforecast.settings import Settings

__all__ = ["EXPERIMENT", "REGISTERED", "Role", "fetch_model", "log_backtest", "log_training", "promote"]

EXPERIMENT = "certforecast"

#: Name in the model registry.
REGISTERED = "certforecast-outcome"

#: The champion is what forecasts; a challenger has to beat it first. Each is an alias in the registry.
Role = Literal["champion", "challenger"]


def log_training(
    settings: "Settings",
    model: "OutcomePool | OutcomeClassifier",
    path: Path,
    record: Record,
    role: Role | None = None,
) -> str:
    """Log a training run with its parameters and signed model file, and register the model.

    The file is logged as an MLflow model (:mod:`certforecast.models.flavour`), so a server can score with it.

    Parameters
    ----------
    settings : Settings
        Where runs are kept.
    model : OutcomePool or OutcomeClassifier
        Fitted.
    path : Path
        Its file.
    record : Record
        As given by :func:`certforecast.models.record.training_record`. Its tags are the registered version's,
        too.
    role : {"champion", "challenger"}, optional
        Default: challenger if there is a champion, else champion.

    Returns
    -------
    str
        The run's id.
    """
    from certforecast.models.flavour import write_flavour

    client, experiment = _client(settings)
    run = client.create_run(experiment, run_name="train")
    made = {**model.get_params(), **record.params}
    _log(client, run, Record(made, record.metrics, record.tags, record.data_fingerprint))
    with TemporaryDirectory() as folder:
        flavour = Path(folder) / "model"
        write_flavour(path, flavour)
        client.log_artifacts(run.info.run_id, str(flavour), artifact_path="model")
    _register(client, run, record.tags, role)
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def log_backtest(settings: "Settings", record: Record, artifacts: Path) -> str:
    """Log a backtest with the files of a folder, such as tables and plots; give the run's id."""
    client, experiment = _client(settings)
    run = client.create_run(experiment, run_name="backtest")
    _log(client, run, record)
    client.log_artifacts(run.info.run_id, str(artifacts))
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def fetch_model(settings: "Settings", role: Role, folder: Path) -> Path:
    """Copy the registered model file of a role into a folder; give its path there.

    Raises
    ------
    ModelError
        If no model has that role, or its file is gone.
    """
    client, _ = _client(settings)
    version = _version(client, role)
    if version is None:
        raise ModelError(f"there is no {role} in the registry: train one with 'certforecast train'")
    from mlflow.exceptions import MlflowException

    try:
        copied = client.download_artifacts(version.run_id, "model/artifacts", str(folder))
        (file,) = Path(copied).glob("*.skops")
    except (MlflowException, OSError, ValueError) as error:
        raise ModelError(
            f"the model file of run {version.run_id}, the {role}, is gone: train it again with "
            "'certforecast train'"
        ) from error
    return file


def promote(settings: "Settings") -> str:
    """Make the challenger the champion: its file replaces ``settings.champion_path``, and the alias moves.

    To be used when a backtest says that it wins beyond noise; :func:`certforecast.evaluation.challenge` asks
    one first.

    Returns
    -------
    str
        The version in the registry.

    Raises
    ------
    ModelError
        If there is no challenger, or its file is not signed by our key or not for our features.
    """
    from certforecast.models.saved import load_model

    client, _ = _client(settings)
    with TemporaryDirectory() as folder:
        file = fetch_model(settings, "challenger", Path(folder))
        load_model(file, key=settings.home)
        settings.models_path.mkdir(parents=True, exist_ok=True)
        write_file(settings.champion_path, file.read_bytes())
    version = str(_version(client, "challenger").version)
    client.set_registered_model_alias(REGISTERED, "champion", version)
    client.delete_registered_model_alias(REGISTERED, "challenger")
    settings.challenger_path.unlink(missing_ok=True)
    return version


def _client(settings: "Settings") -> tuple[Any, str]:
    # MLflow and alembic would print the migrations of a new database.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
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


def _log(client: Any, run: Any, record: Record) -> None:
    """Log all of a record in one go; a figure that is not known is left out."""
    from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag

    now = run.info.start_time
    client.log_batch(
        run.info.run_id,
        [Metric(name, number, now, 0) for name, number in record.metrics.items() if number == number],
        [Param(name, str(value)) for name, value in record.params.items()],
        [RunTag(name, value) for name, value in record.tags.items()],
    )
    rows = Dataset("landmark rows", record.data_fingerprint, "certforecast", "{}")
    client.log_inputs(run.info.run_id, [DatasetInput(rows)])


def _register(client: Any, run: Any, tags: Mapping[str, str], role: Role | None) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(REGISTERED)
    except MlflowException:
        client.create_registered_model(REGISTERED)
    version = client.create_model_version(
        REGISTERED, source=f"{run.info.artifact_uri}/model", run_id=run.info.run_id, tags=dict(tags)
    )
    role = role or ("challenger" if _version(client, "champion") else "champion")
    client.set_registered_model_alias(REGISTERED, role, version.version)


def _version(client: Any, role: Role) -> Any:
    """Give the registered version of a role; None if there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(REGISTERED, role)
    except MlflowException as error:
        # An alias that is not there is told apart from a server that cannot be asked.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
