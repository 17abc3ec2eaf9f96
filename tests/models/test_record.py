"""What a training run says of itself: what it was made of, and whether something is wrong."""

from types import SimpleNamespace

import numpy as np
import pytest
import sklearn
from sklearn.dummy import DummyClassifier

from certforecast.features import FEATURES
from certforecast.models import OutcomePool, PriorRate
from certforecast.models.record import metric_name, run_record, training_record
from certforecast.models.training import fit_rows
from certforecast.policy import RenewalPolicy
from certforecast.settings import Settings
from tests.models.test_training import landmark_frame
from tests.timeline import day


def test_a_run_says_its_settings_data_and_versions() -> None:
    settings = Settings(policy=RenewalPolicy(grace_days=12))
    record = run_record(settings, day(100), "abc")
    assert record.params["policy.grace_days"] == 12
    assert record.params["data_fingerprint"] == record.tags["data_fingerprint"] == "abc"
    assert record.params["as_of"] == record.tags["as_of"] == day(100).isoformat()
    assert record.params["method"] == "pooled"
    assert record.tags["version.scikit-learn"] == sklearn.__version__


def test_a_training_says_weights_renewals_and_fit() -> None:
    rows = landmark_frame(200)
    members = {"issuer's rate": PriorRate(), "guess": DummyClassifier()}
    pool = fit_rows(OutcomePool(members, prior=None), rows, RenewalPolicy())
    metrics = training_record(Settings(), day(600), "abc", pool, rows).metrics
    failed = rows["outcome"] == "failed"
    assert (metrics["rows"], metrics["renewals"]) == (400, 200)
    assert metrics["renewals_failed"] == failed.sum() / 2
    assert metrics["weight/issuers rate"] == pool.weights_["issuer's rate"]
    assert metrics["judged_renewals"] == pool.judged_ > 0
    given = pool.proba_frame(rows[list(FEATURES)])
    assert metrics["fit/failed/observed"] == failed.mean()
    assert metrics["fit/failed/forecast"] == pytest.approx(given["p_failed"].mean())
    told = np.where(failed, given["p_failed"], given["p_on_time"])
    # What is past its slip point cannot be on time, but here some are.
    assert metrics["fit/log_loss"] == pytest.approx(-np.log(np.maximum(told, np.finfo(float).eps)).mean())
    assert not any(name.startswith("times/") for name in metrics)


def test_the_coverage_before_correction_is_read_off_the_corrected_levels() -> None:
    rows = landmark_frame(20)
    pool = fit_rows(OutcomePool({"guess": DummyClassifier()}, prior=None), rows, RenewalPolicy())
    even = np.linspace(0.0, 1.0, 401)
    for levels, share in ((even, 0.9), (0.25 + even / 2, 1.0), (np.clip(2 * even - 0.5, 0, 1), 0.45)):
        pool.times_ = SimpleNamespace(levels_=levels, renewals_=50)
        metrics = training_record(Settings(), day(600), "abc", pool, rows).metrics
        assert metrics["times/coverage_90_uncorrected"] == pytest.approx(share, abs=0.01)
        assert metrics["times/renewals"] == 50


def test_without_rows_there_is_nothing_to_fit() -> None:
    rows = landmark_frame(20).iloc[:0]
    metrics = training_record(Settings(), day(600), "abc", SimpleNamespace(), rows).metrics
    assert metrics == {"rows": 0, "renewals": 0}


def test_names_are_such_as_mlflow_takes() -> None:
    assert metric_name("issuer's rate/auprc") == "issuers rate/auprc"
