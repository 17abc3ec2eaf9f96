"""The cron scripts: train, predict, act, one after another, with one settings file."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from certforecast.clock import system_clock
from certforecast.history import History
from certforecast.history.sources.tables import TablesSource
from certforecast.planning import Plan
from certforecast.simulation import Fleet

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a settings file whose store holds a small fleet that ended just now."""
    home = tmp_path_factory.mktemp("service")
    Fleet(seed=3, lineages=60, years=2.0, end=system_clock()).write(home / "tables")
    with History(home / "history.duckdb") as history:
        history.ingest(TablesSource(home / "tables"))
    path = home / "certforecast.toml"
    path.write_text(f'home = "{home}"\n[model]\nlandmark_every_days = 28\n')
    return path


def run(script: str, *arguments: str, expected: int = 0) -> Any:
    done = subprocess.run(
        [sys.executable, f"pipelines/{script}.py", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == expected, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_train_predict_and_act_follow_one_another(config: Path) -> None:
    home = config.parent
    trained = run("train", str(config))
    assert trained["rows"] > 0
    assert (trained["in_use"], trained["reason"]) == (True, "there was no champion")
    assert (home / "models" / "champion.skops").is_file()
    assert (home / "mlflow.db").is_file()
    assert run("ari", str(config)) == {"asked": 0, "windows": 0, "early": []}
    predicted = run("predict", str(config))
    assert predicted["renewals"] > 0
    plan = Plan.read(home / "plan.json")
    assert len(plan.actions) == predicted["actions"]
    # Nothing is configured to issue or install: every action is for people, and a dry run says so.
    assert run("act", str(config)) == ({"for_people": len(plan.actions)} if plan.actions else {})
