"""Measures against scikit-learn, and against values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from certforecast.evaluation import metrics

LABELS = ("on_time", "slipped", "failed", "retired")


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    p = rng.beta(0.5, 4, 3000).round(3)  # many ties
    return (rng.random(3000) < p).astype(float), p


def test_agrees_with_scikit_learn(rows):
    y, p = rows
    assert metrics.auprc(y, p) == pytest.approx(reference.average_precision_score(y, p))
    assert metrics.auroc(y, p) == pytest.approx(reference.roc_auc_score(y, p))
    assert metrics.brier(y, p) == pytest.approx(reference.brier_score_loss(y, p))


def test_multiclass_agrees_with_scikit_learn():
    rng = np.random.default_rng(4)
    probabilities = rng.dirichlet(np.ones(4), 500)
    outcome = np.array(LABELS)[rng.integers(0, 4, 500)]
    columns = np.argsort(LABELS)  # scikit-learn wants the labels sorted
    assert metrics.log_loss(outcome, probabilities, LABELS) == pytest.approx(
        reference.log_loss(outcome, probabilities[:, columns], labels=sorted(LABELS))
    )
    one_hot = outcome[:, None] == np.array(LABELS)
    assert metrics.brier_multiclass(outcome, probabilities, LABELS) == pytest.approx(
        ((probabilities - one_hot) ** 2).sum(axis=1).mean()
    )


def test_log_loss_of_a_bold_miss_is_finite():
    assert 30 < metrics.log_loss(["failed"], [[1.0, 0.0, 0.0, 0.0]], LABELS) < 40


def test_perfect_and_constant_forecasts():
    y = np.array([0, 0, 1, 0, 1, 0, 0, 0])
    assert metrics.auprc(y, y) == metrics.auroc(y, y) == 1
    assert metrics.brier(y, y) == metrics.calibration_error(y, y) == 0
    constant = np.full(8, 0.25)
    assert metrics.auprc(y, constant) == 0.25
    assert metrics.auroc(y, constant) == 0.5
    assert metrics.calibration_error(y, constant) == 0


def test_a_class_that_is_absent_gives_nan():
    p = [0.2, 0.4]
    assert np.isnan(metrics.auprc([0, 0], p))
    assert np.isnan(metrics.auroc([0, 0], p))
    assert np.isnan(metrics.auroc([1, 1], p))
    assert np.isnan(metrics.caught_at_k([0, 0], p, [1, 1], ["a", "b"], 1))
    for measure in (metrics.auprc, metrics.auroc, metrics.brier, metrics.calibration_error):
        assert np.isnan(measure([], []))
    assert np.isnan(metrics.brier_multiclass([], np.empty((0, 4)), LABELS))
    assert np.isnan(metrics.log_loss([], np.empty((0, 4)), LABELS))


def test_calibration_error_by_hand():
    p = [0.1, 0.1, 0.3, 0.3, 0.8, 0.8]
    y = [0, 0, 0, 1, 1, 1]
    assert metrics.calibration_error(y, p, bins=3) == pytest.approx((0.1 + 0.2 + 0.2) / 3)


def test_calibration_error_of_true_probabilities_is_noise(rows):
    y, p = rows
    assert metrics.calibration_error(y, p) < 0.03
    assert metrics.calibration_error(y, np.minimum(p + 0.2, 1)) == pytest.approx(0.2, abs=0.03)


@given(st.lists(st.sampled_from([0.0, 0.2, 0.5, 1.0]), min_size=1, max_size=60), st.integers(1, 20))
def test_bins_follow_the_forecasts_and_keep_ties_together(p, bins):
    labels = metrics.calibration_bins(p, bins)
    assert labels.min() >= 0
    assert labels.max() < bins
    for one, other in zip(p, np.roll(p, 1), strict=True):
        a, b = labels[p.index(one)], labels[p.index(other)]
        assert a == b if one == other else (a <= b) == (one < other) or a == b


def test_caught_by_hand():
    moments = [1, 1, 1, 2, 2, 2]
    ids = ["a", "b", "c", "a", "b", "c"]
    y = [1, 0, 1, 1, 0, 1]
    p = [0.9, 0.8, 0.1, 0.2, 0.9, 0.5]
    assert metrics.caught_at_k(y, p, moments, ids, 0) == 0
    assert metrics.caught_at_k(y, p, moments, ids, 1) == 0.5  # a at 1
    assert metrics.caught_at_k(y, p, moments, ids, 2) == 1.0  # c at 2 as well


def test_caught_breaks_ties_by_id_whatever_the_order_of_rows():
    y, p, moments, ids = [0, 1, 0], [0.5, 0.5, 0.5], [1, 1, 1], ["a", "b", "c"]
    assert metrics.caught_at_k(y, p, moments, ids, 1) == 0
    assert metrics.caught_at_k(y, p, moments, ids, 2) == 1
    assert metrics.caught_at_k(y[::-1], p, moments, ids[::-1], 2) == 1
    assert metrics.ranks_by_moment([0.1, 0.3, 0.2, 0.5], [1, 1, 1, 2], list("abcd")).tolist() == [3, 1, 2, 1]


def test_resampled_auprc_is_the_weighted_one_of_scikit_learn(rows):
    y, p = rows
    rng = np.random.default_rng(5)
    weights = rng.poisson(1.0, (5, len(y))).astype(float)
    expected = [reference.average_precision_score(y, p, sample_weight=row) for row in weights]
    assert metrics.auprc_resampled(y, p, [np.array(weights)]) == pytest.approx(expected)
    assert np.isnan(metrics.auprc_resampled(y, p, [np.zeros((1, len(y)))]))[0]
    expected = [reference.roc_auc_score(y, p, sample_weight=row) for row in weights]
    assert metrics.auroc_resampled(y, p, [weights[:2], weights[2:]]) == pytest.approx(expected)
    assert np.isnan(metrics.auroc_resampled(y, p, [np.asarray(y, float)[None]]))[0]
