"""Runs in MLflow: kept in the home folder, champion and challenger, and not a word printed."""

import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from certforecast.errors import ModelError
from certforecast.models import OutcomeClassifier, load_model, save_model
from certforecast.models.record import Record
from certforecast.models.tracking import REGISTERED, log_backtest, log_training, promote
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
    record = Record({"as_of": "2026"}, {"rows": 300, "unknown": math.nan}, {"data_fingerprint": "abc"}, "abc")
    return log_training(settings, model, path, record)


def test_a_run_keeps_what_the_model_was_made_of(fitted: Any, settings: Settings) -> None:
    model, frame = fitted
    run = client(settings).get_run(log(settings, model, "kept.skops"))
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"rows": 300}
    assert run.data.tags["data_fingerprint"] == "abc"
    assert run.data.params == {
        "as_of": "2026",
        **{name: str(value) for name, value in model.get_params().items()},
    }
    (rows,) = run.inputs.dataset_inputs
    assert (rows.dataset.name, rows.dataset.digest) == ("landmark rows", "abc")
    artifact = Path(run.info.artifact_uri.removeprefix("file://")) / "model" / "artifacts" / "kept.skops"
    assert artifact.is_relative_to(settings.home.resolve())
    assert (load_model(artifact, key=settings.home).predict_proba(frame) == model.predict_proba(frame)).all()


def alias(settings: Settings, role: str) -> str | None:
    from mlflow.exceptions import MlflowException

    try:
        return str(client(settings).get_model_version_by_alias(REGISTERED, role).run_id)
    except MlflowException:
        return None


def test_the_first_is_the_champion_and_the_others_challenge_it_until_promoted(
    fitted: Any, settings: Settings
) -> None:
    first = alias(settings, "champion") or log(settings, fitted[0], "1.skops")
    second, third = (log(settings, fitted[0], f"{number}.skops") for number in (2, 3))
    versions = client(settings).search_model_versions(f"name = '{REGISTERED}'")
    assert {first, second, third} <= {version.run_id for version in versions}
    assert all(version.tags == {"data_fingerprint": "abc"} for version in versions)
    assert (alias(settings, "champion"), alias(settings, "challenger")) == (first, third)
    settings.challenger_path.write_bytes(b"the one that train wrote")
    promote(settings)
    assert (alias(settings, "champion"), alias(settings, "challenger")) == (third, None)
    assert settings.champion_path.read_bytes() == (settings.models_path / "3.skops").read_bytes()
    assert not settings.challenger_path.exists()
    with pytest.raises(ModelError, match="there is no challenger in the registry"):
        promote(settings)


def test_a_challenger_that_was_changed_or_is_gone_is_not_promoted(fitted: Any, settings: Settings) -> None:
    log(settings, fitted[0], "4.skops")
    run = client(settings).get_run(log(settings, fitted[0], "5.skops"))
    file = Path(run.info.artifact_uri.removeprefix("file://")) / "model" / "artifacts" / "5.skops"
    settings.champion_path.write_bytes(b"in use")
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(ModelError, match="is not signed"):
        promote(settings)
    file.unlink()
    with pytest.raises(ModelError, match=r"the challenger, is gone: train it again"):
        promote(settings)
    assert settings.champion_path.read_bytes() == b"in use"
    assert alias(settings, "challenger") == run.info.run_id


def test_an_mlflow_server_scores_with_the_signed_model(
    fitted: Any, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow.pyfunc

    model, frame = fitted
    run = client(settings).get_run(log(settings, model, "served.skops"))
    folder = Path(run.info.artifact_uri.removeprefix("file://")) / "model"
    assert not list(folder.rglob("*.pkl"))
    monkeypatch.setenv("CERTFORECAST_HOME", str(settings.home))
    served = mlflow.pyfunc.load_model(str(folder))
    rows = frame.iloc[:5].copy()
    rows.loc[rows.index[0], :] = None  # nothing is known of the first
    asked = rows[list(reversed(rows.columns))]
    assert served.predict(asked).equals(model.proba_frame(rows))
    monkeypatch.setenv("CERTFORECAST_HOME", str(tmp_path / "without a key"))
    with pytest.raises(ModelError, match="there is no key at"):
        mlflow.pyfunc.load_model(str(folder))


def test_a_server_goes_on_with_a_model_of_before_a_feature_was_added(
    fitted: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from certforecast.models.serving import Scorer

    frame = fitted[1]
    before = frame.drop(columns="rehearsal_failed")
    model = OutcomeClassifier(max_iter=3).fit(before, ["failed", "on_time"] * (len(frame) // 2))
    path = settings.models_path / "before.skops"
    save_model(model, path, key=settings.home)
    monkeypatch.setenv("CERTFORECAST_HOME", str(settings.home))
    scorer = Scorer()
    scorer.load_context(SimpleNamespace(artifacts={"model": str(path)}))
    assert scorer.predict(frame).equals(model.proba_frame(before))


def test_a_backtest_is_logged_with_its_files(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "summary.csv").write_text("model,auprc")
    record = Record({"k": 10}, {"a": 0.5, "b": math.nan}, {"plots": "drawn"}, "abc")
    run = client(settings).get_run(log_backtest(settings, record, tmp_path))
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"a": 0.5}
    assert run.data.params == {"k": "10"}
    assert run.data.tags["plots"] == "drawn"
    (file,) = client(settings).list_artifacts(run.info.run_id)
    assert (file.path, file.file_size) == ("summary.csv", 11)


def test_a_new_database_is_made_and_a_model_logged_without_a_word(fitted: Any, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from certforecast.settings import Settings;"
        "from certforecast.models import load_model; from certforecast.models.tracking import *;"
        "settings = Settings(home=Path(sys.argv[1])); path = settings.models_path / 'quiet.skops';"
        "from certforecast.models.record import Record; nothing = Record({}, {}, {}, 'abc');"
        "model = load_model(path, key=settings.home); log_training(settings, model, path, nothing);"
        "folder = settings.home / 'files'; folder.mkdir(); (folder / 'a.txt').write_text('a');"
        "log_backtest(settings, nothing, folder);"
        "fetch_model(settings, 'champion', settings.home)"
    )
    save_model(fitted[0], tmp_path / "home" / "models" / "quiet.skops", key=tmp_path / "home")
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
