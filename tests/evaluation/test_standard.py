"""The backtest a user asks for, on a whole store, logged as a run."""

from pathlib import Path

from mlflow import MlflowClient

from certforecast.evaluation import backtest_history
from certforecast.history import History
from certforecast.history.schema import TABLES
from certforecast.history.sources import Batch
from certforecast.models import RULES
from certforecast.settings import ModelSettings, Settings
from certforecast.simulation import Fleet


def test_a_store_is_backtested_beside_every_rule_and_the_run_is_logged(tmp_path: Path) -> None:
    fleet = Fleet(seed=3, lineages=60, years=2.0)
    settings = Settings(home=tmp_path, model=ModelSettings(method="logistic", landmark_every_days=28))
    with History(None) as history:
        history.append(Batch(**{name: fleet.tables()[name].to_pylist() for name in TABLES}))
        result = backtest_history(history, fleet.end, settings, cutoffs=2, times=True)
    assert set(result.models) == {"certforecast", *RULES, "shares by day"}
    assert set(result.timing) == {"shares by day"}  # a logistic regression does not say when
    assert result.facts["owner"].notna().any()
    assert result.facts["criticality"].between(0, 1).any()
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("certforecast").experiment_id])
    assert run.data.metrics["certforecast/auprc"] == result.auprc("certforecast")
    assert "issuers rate/auprc" in run.data.metrics
    assert "certforecast/log_loss" in run.data.metrics
    assert run.data.params["rows"] == result.describe()
    assert run.data.params["policy.grace_days"] == "30.0"
    assert run.data.tags["plots"] == "drawn"
    (rows,) = run.inputs.dataset_inputs
    assert rows.dataset.digest == run.data.tags["data_fingerprint"]
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"backtest.json", "summary_failed.csv", "reliability_failed.png", "caught_late.png"} <= files
