"""Tables of bits end where walking the trees ends: compared with scikit-learn's own predictions."""

import copy
import gc
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier

from certforecast.models import OutcomeClassifier, forest
from certforecast.models.forest import Forest, forest_of


def levels(rng: np.random.Generator, rows: int, highest: int = 20) -> Any:
    """Draw levels, some unknown, with codes of a category in the third column."""
    X = rng.integers(0, highest, (rows, 5)).astype(np.float64)
    X[:, 2] = rng.integers(0, 9, rows)
    X[rng.random(X.shape) < 0.15] = np.nan
    return X


@cache
def grown(classes: int, leaves: int, seed: int = 0) -> HistGradientBoostingClassifier:
    rng = np.random.default_rng(seed)
    X = levels(rng, 500)
    score = np.nan_to_num(X[:, 0] * (X[:, 2] % 2)) + 9 * np.isnan(X[:, 1]) + rng.normal(size=500)
    y = np.digitize(score, np.quantile(score, np.arange(1, classes) / classes))
    model = HistGradientBoostingClassifier(
        max_iter=4, max_leaf_nodes=leaves, min_samples_leaf=3, categorical_features=[2], random_state=seed
    )
    return model.fit(X, y, sample_weight=rng.uniform(0.5, 2.0, 500))


@given(
    classes=st.integers(2, 4),
    leaves=st.integers(2, 40),
    rows=st.integers(0, 60),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_forest_says_what_its_model_says(classes: int, leaves: int, rows: int, seed: int) -> None:
    model = grown(classes, leaves, seed % 5)
    # Levels and codes that were never seen, too.
    X = levels(np.random.default_rng(seed), rows, highest=256)
    expected = model.predict_proba(X) if rows else np.zeros((0, classes))
    np.testing.assert_allclose(Forest(model).predict_proba(X), expected, rtol=0, atol=1e-12)


def test_parts_of_rows_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    model, X = grown(3, 20), levels(np.random.default_rng(1), 200)
    monkeypatch.setattr(forest, "_AT_ONCE", 300)
    np.testing.assert_allclose(Forest(model).predict_proba(X), model.predict_proba(X), rtol=0, atol=1e-12)


def test_trees_without_a_split_are_their_leaf() -> None:
    X, y = levels(np.random.default_rng(2), 60), np.arange(60) % 3
    model = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=50).fit(X, y)
    assert Forest(model).tables == {}
    np.testing.assert_allclose(Forest(model).predict_proba(X), model.predict_proba(X), rtol=0, atol=1e-12)


@given(seed=st.integers(0, 2**32 - 1), moving=st.sets(st.integers(0, 4), max_size=5))
def test_changed_columns_count_and_the_others_stay(seed: int, moving: set[int]) -> None:
    rng = np.random.default_rng(seed)
    model, X = grown(3, 12), levels(rng, 30, highest=256)
    changes = []
    for size in (30, 7, 0):
        rows, new = rng.permutation(30)[:size], levels(rng, size)
        changes.append((rows, {it: new[:, it] for it in moving}))
    found = list(Forest(model).predict_changed(X, changes))
    for (rows, columns), probabilities in zip(changes, found, strict=True):
        changed = X[rows]
        for it, column in columns.items():
            changed[:, it] = column
        expected = model.predict_proba(changed) if len(rows) else np.zeros((0, 3))
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-12)


def test_a_forest_is_made_once_and_goes_with_its_model() -> None:
    model = copy.deepcopy(grown(2, 5))  # the other is kept
    assert forest_of(model) is forest_of(model)
    kept = len(forest._FORESTS)
    del model
    gc.collect()
    assert len(forest._FORESTS) < kept


@pytest.mark.parametrize("method", ["boosted", "logistic", "blended"])
def test_a_classifier_says_the_same_of_changed_rows(method: Any) -> None:
    rng = np.random.default_rng(3)
    days = rng.uniform(-20, 60, 300)
    X = pd.DataFrame(
        {
            "days_to_slip": days,
            "issuer": rng.choice(["R3", "E1", None], 300),
            "unknown": np.full(300, np.nan),
            "failures": np.where(rng.random(300) < 0.2, np.nan, rng.integers(0, 9, 300)),
        }
    )
    y = np.where(rng.random(300) < 0.3, "failed", np.where(days < 0, "slipped", "on_time"))
    model = OutcomeClassifier(method, max_iter=10).fit(X, y)
    rows = np.array([5, 3, 200])
    changes = [
        (rows, {"days_to_slip": np.array([-1.0, 5.0, 0.0]), "unknown": np.zeros(3)}),
        (rows[:1], {"days_to_slip": np.array([30.0]), "unknown": np.zeros(1)}),
    ]
    for (some, new), found in zip(changes, model.predict_changed(X, changes), strict=True):
        expected = model.predict_proba(X.iloc[some].assign(**new))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert expected[0, list(model.classes_).index("on_time")] > 0
    for wrong in ({"days_to_slp": np.zeros(1)}, {"issuer": np.zeros(1)}):
        with pytest.raises(ValueError, match=r"no column of numbers to change: '(days_to_slp|issuer)'"):
            list(model.predict_changed(X, [(rows[:1], wrong)]))
    with pytest.raises(ValueError, match="each change has to give all of: 'days_to_slip', 'unknown'"):
        list(model.predict_changed(X, [*changes, (rows[:1], {"unknown": np.zeros(1)})]))
