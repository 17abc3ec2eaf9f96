"""A backtest as files: the tables are those of the result, the plots are there or it is said why not."""

import importlib.util
import json
from pathlib import Path

import pandas as pd
import pytest

from certforecast.evaluation import backtest, default_cutoffs
from certforecast.evaluation.artifacts import write_artifacts
from tests.evaluation.conftest import Constant

PLOTS = {
    f"{name}_{outcome}.png"
    for name in ("precision_recall", "reliability", "caught")
    for outcome in ("failed", "late")
}
TABLES = {"backtest.json"} | {
    f"{name}_{outcome}.csv" for name in ("summary", "by_cutoff") for outcome in ("failed", "late")
}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_tables_and_plots_are_written(result, tmp_path: Path):
    assert write_artifacts(result, tmp_path) == "drawn"
    assert names(tmp_path) == PLOTS | TABLES
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in PLOTS)
    for outcome in ("failed", "late"):
        table = pd.read_csv(tmp_path / f"summary_{outcome}.csv")
        pd.testing.assert_frame_equal(table, result.summary(outcome))
        by_cutoff = pd.read_csv(tmp_path / f"by_cutoff_{outcome}.csv")
        assert by_cutoff["auprc"].tolist() == pytest.approx(
            result.by_cutoff(outcome)["auprc"].tolist(), nan_ok=True
        )
    about = json.loads((tmp_path / "backtest.json").read_text())
    assert (about["what"], about["k"], len(about["cutoffs"])) == (result.describe(), result.k, 3)
    assert about["summary"]["failed"][0]["auprc"] == pytest.approx(result.auprc("danger"))


def test_without_matplotlib_there_are_the_tables(result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'certforecast[plots]'" in write_artifacts(result, tmp_path)
    assert names(tmp_path) == TABLES


def test_what_never_came_about_is_not_drawn(frame, tmp_path: Path):
    quiet = frame[frame["outcome"] != "failed"].reset_index(drop=True)
    without = backtest(quiet, {"constant": Constant}, default_cutoffs(quiet, 1))
    assert write_artifacts(without, tmp_path) == "drawn, but for failed, which never came about"
    assert names(tmp_path) == {name for name in PLOTS if "late" in name} | TABLES
    json.loads((tmp_path / "backtest.json").read_text(), parse_constant=pytest.fail)
