"""Runs in MLflow: kept in the home folder, the newest model champion, and not a word printed."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from certforecast.models import OutcomeClassifier, load_model, save_model
from certforecast.models.tracking import REGISTERED, log_metrics, log_training
from certforecast.settings import Settings
from tests.models.test_saved import fitted

__all__ = ["fitted"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """One home for the module: making MLflow's database is what takes time."""
    return Settings(home=tmp_path_factory.mktemp("home"))


def client(settings: Settings) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{settings.home.resolve() / 'mlflow.db'}")


def log(settings: Settings, model: OutcomeClassifier, name: str) -> str:
    path = settings.models_path / name
    save_model(model, path, key=settings.home)
    return log_training(settings, model, path, metrics={"rows": 300}, tags={"data_fingerprint": "abc"})


def test_a_run_keeps_what_the_model_was_made_of(fitted: Any, settings: Settings) -> None:
    model, frame = fitted
    run = client(settings).get_run(log(settings, model, "kept.skops"))
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"rows": 300}
    assert run.data.tags["data_fingerprint"] == "abc"
    assert run.data.params == {name: str(value) for name, value in model.get_params().items()}
    artifact = Path(run.info.artifact_uri.removeprefix("file://")) / "model" / "kept.skops"
    assert artifact.is_relative_to(settings.home.resolve())
    assert (load_model(artifact, key=settings.home).predict_proba(frame) == model.predict_proba(frame)).all()


def test_the_model_logged_last_is_the_champion(fitted: Any, settings: Settings) -> None:
    first, second = (log(settings, fitted[0], f"{number}.skops") for number in (1, 2))
    versions = client(settings).search_model_versions(f"name = '{REGISTERED}'")
    assert {first, second} <= {version.run_id for version in versions}
    assert client(settings).get_model_version_by_alias(REGISTERED, "champion").run_id == second


def test_a_figure_that_is_not_known_is_left_out(settings: Settings) -> None:
    run = client(settings).get_run(log_metrics(settings, "backtest", {"a": 0.5, "b": math.nan}, {"k": 10}))
    assert run.data.metrics == {"a": 0.5}
    assert run.data.params == {"k": "10"}


def test_a_new_database_is_made_without_a_word(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from certforecast.settings import Settings;"
        "from certforecast.models.tracking import log_metrics;"
        "log_metrics(Settings(home=Path(sys.argv[1])), 'quiet', {}, {})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "home")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert [entry.name for entry in tmp_path.iterdir()] == ["home"]  # no mlruns beside it
