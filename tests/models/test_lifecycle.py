"""The page docs/lifecycle.md does what it says: its lines are run, in Spark and against a real server."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

import certforecast as cf
from certforecast.features import FEATURES
from certforecast.models import OutcomeClassifier, save_model
from certforecast.models.record import Record
from certforecast.models.tracking import log_training
from certforecast.settings import Settings
from tests.models.test_saved import fitted, landmark_rows

__all__ = ["fitted"]

PAGE = Path(__file__).parents[2] / "docs" / "lifecycle.md"
PLACE, PORT = "/srv/certforecast", "5001"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, fitted: Any) -> Path:
    """A home folder whose champion is logged and registered."""
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    save_model(fitted[0], settings.champion_path, key=settings.home)
    log_training(settings, fitted[0], settings.champion_path, Record({}, {"rows": 300}, {}, "abc"))
    return settings.home


@pytest.fixture(scope="module")
def now() -> pd.DataFrame:
    """Rows, of which some know little."""
    rows = landmark_rows()[0].head(40)
    rows.loc[3, :] = None
    rows.loc[4, ["issuer_org", "days_left"]] = None
    return rows.assign(fingerprint=[f"{number:02}" for number in range(len(rows))])


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Leave MLflow's global settings as they were."""
    before = mlflow.get_tracking_uri()
    yield
    mlflow.set_tracking_uri(before)


def lines(word: str, home: Path, port: int = 0) -> str:
    """Give the code block of the page that has a word in it, with a place and a port of the test."""
    blocks = re.findall(r"```(?:python|bash)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = (block for block in blocks if word in block)
    return str(found).replace(PLACE, str(home)).replace(PORT, str(port))


def forecasts(table: pd.DataFrame) -> pd.DataFrame:
    return table[["p_on_time", "p_slipped", "p_failed", "p_retired"]].reset_index(drop=True)


def test_a_run_tells_its_figures(home: Path) -> None:
    names: dict[str, Any] = {}
    exec(lines("get_model_version_by_alias", home), names)
    assert names["client"].get_run(names["version"].run_id).data.metrics == {"rows": 300}


def test_a_model_is_loaded_with_a_key(home: Path, now: pd.DataFrame) -> None:
    exec(lines("champion.skops", home), {"cf": cf, "now": now})


def test_estimators_give_columns(now: pd.DataFrame) -> None:
    y = np.where(np.arange(len(now)) % 2, "failed", "on_time")
    event = np.where(np.arange(len(now)) % 2, "failed", "renewed")
    days = pd.DataFrame({"event": event, "duration": np.arange(len(now)) + 1.0})
    names: dict[str, Any] = {"cf": cf, "now": now.assign(days_left=50.0), "y": y, "days": days}
    exec(lines("get_feature_names_out", Path()), names)
    assert list(names["columns"]) == ["p_failed", "p_on_time"]
    said = "failed_by_7, failed_by_30, renewed_by_7, renewed_by_30"
    assert ", ".join(names["ends"].get_feature_names_out()) == said


def test_spark_scores_with_the_signed_model(
    home: Path, now: pd.DataFrame, fitted: tuple[OutcomeClassifier, Any], spark: Any, tmp_path: Path
) -> None:
    texts = {name: object for name, feature in FEATURES.items() if feature.kind == "category"}
    plain = now.astype(texts).where(now.notna(), None)
    session = spark._session
    table = session.createDataFrame(plain).coalesce(1)
    code = lines("spark_udf", home)
    names: dict[str, Any] = {"spark": session, "table": table}
    exec(code, names)
    scored = names["scored"].toPandas().sort_values("fingerprint")
    expected = fitted[0].proba_frame(now[list(FEATURES)])
    pd.testing.assert_frame_equal(forecasts(scored), forecasts(expected), check_exact=True)
    # With another key nothing is scored.
    (tmp_path / "other").mkdir()
    exec(code.replace(f'"CERTFORECAST_HOME": "{home}"', f'"CERTFORECAST_HOME": "{tmp_path}"'), names)
    with pytest.raises(Exception, match="there is no key at"):
        names["scored"].toPandas()


@pytest.mark.system
def test_a_server_scores_with_the_signed_model(
    home: Path, now: pd.DataFrame, fitted: tuple[OutcomeClassifier, Any], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    server = subprocess.Popen(
        ["bash", "-ec", lines("mlflow models serve", home, port)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )

    def end() -> None:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)

    too_long = threading.Timer(150, end)
    too_long.start()
    try:
        assert server.stdout is not None
        said = []
        for line in server.stdout:
            said.append(line)
            if "Uvicorn running" in line:
                break
        assert "Uvicorn running" in said[-1], "".join(said)
        names: dict[str, Any] = {"cf": cf, "now": now}
        exec(lines("invocations", home, port), names)
    finally:
        too_long.cancel()
        end()
        server.communicate(timeout=30)
    expected = fitted[0].proba_frame(now[list(FEATURES)])
    pd.testing.assert_frame_equal(forecasts(names["forecast"]), forecasts(expected), rtol=1e-12)
