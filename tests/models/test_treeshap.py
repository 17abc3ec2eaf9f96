"""Contributions of trees are Shapley values: compared with the definition, coalition by coalition."""

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier

from certforecast.models.treeshap import _shapley, boosted_contributions


def grown(classes: int, leaves: int = 12, rounds: int = 4) -> tuple[HistGradientBoostingClassifier, Any]:
    """Fit to rows with missing values and a category in the middle."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 5))
    X[rng.random(X.shape) < 0.2] = np.nan
    X[:, 2] = rng.integers(0, 7, 400)
    X[rng.random(400) < 0.1, 2] = np.nan
    score = np.nan_to_num(X[:, 0]) * (X[:, 2] % 2) + np.isnan(X[:, 1]) + 0.3 * rng.normal(size=400)
    y = np.digitize(score, [0.0] if classes == 2 else [-0.2, 0.6])
    model = HistGradientBoostingClassifier(
        max_iter=rounds, max_leaf_nodes=leaves, min_samples_leaf=5, categorical_features=[2], random_state=0
    )
    return model.fit(X, y, sample_weight=rng.uniform(0.5, 2.0, 400)), X


def expected(tree: Any, row: Any, known: set[int], sets: Any, places: Any, node: int = 0) -> float:
    """Give a tree's mean if only some features are known, by the training rows in its nodes."""
    at = tree.nodes[node]
    if at["is_leaf"]:
        return float(at["value"])
    ways = {side: expected(tree, row, known, sets, places, at[side]) for side in ("left", "right")}
    feature = at["feature_idx"]
    if feature not in known:
        counts = {side: tree.nodes[at[side]]["count"] for side in ways}
        return sum(float(counts[side]) * ways[side] for side in ways) / float(at["count"])
    value = row[feature]
    if at["is_categorical"]:
        bits = tree.raw_left_cat_bitsets[at["bitset_idx"]]
        seen = not np.isnan(value) and sets[places[feature]][int(value) // 32] >> int(value) % 32 & 1
        left = bool(bits[int(value) // 32] >> int(value) % 32 & 1) if seen else at["missing_go_to_left"]
    else:
        left = at["missing_go_to_left"] if np.isnan(value) else value <= at["num_threshold"]
    return ways["left" if left else "right"]


def by_definition(model: HistGradientBoostingClassifier, X: Any) -> tuple[Any, Any]:
    """Average what each feature adds over all coalitions, tree by tree."""
    sets, places = model._bin_mapper.make_known_categories_bitsets()
    inside = model._preprocess_X(X, reset=False)
    size = X.shape[1]
    told = np.zeros((len(X), model.n_trees_per_iteration_, size))
    base = np.array(model._baseline_prediction).ravel().astype(float)
    for trees in model._predictors:
        for number, tree in enumerate(trees):
            base[number] += expected(tree, inside[0], set(), sets, places)
            for place, row in enumerate(inside):
                worth = {
                    team: expected(tree, row, set(team), sets, places)
                    for count in range(size + 1)
                    for team in combinations(range(size), count)
                }
                for feature in range(size):
                    for team, value in worth.items():
                        if feature not in team:
                            joined = tuple(sorted((*team, feature)))
                            share = math.factorial(len(team)) * math.factorial(size - len(team) - 1)
                            gain = share / math.factorial(size) * (worth[joined] - value)
                            told[place, number, feature] += gain
    order = [2, 0, 1, 3, 4]  # categories come first inside
    return base, told[:, :, np.argsort(order)]


@pytest.mark.parametrize("classes", [2, 3])
def test_they_are_shapley_values(classes: int) -> None:
    model, X = grown(classes)
    rows = X[:5].copy()
    rows[0, 2], rows[1, 2] = np.nan, 40.0  # a category that was never seen
    base, told = boosted_contributions(model, rows)
    right_base, right = by_definition(model, rows)
    if classes == 2:
        base, told = base[1:] - base[:1], told[:, 1:] - told[:, :1]
    assert base == pytest.approx(right_base, abs=1e-12)
    assert told == pytest.approx(right, abs=1e-12)
    assert np.abs(told[:, :, 2]).max() > 0.01


@pytest.mark.parametrize("classes", [2, 3])
def test_they_sum_to_the_log_odds(classes: int) -> None:
    """Of many rows, which takes the tables, as of few, which does not."""
    model, X = grown(classes, leaves=31, rounds=10)
    base, told = boosted_contributions(model, X)
    odds = np.exp(base + told.sum(axis=2))
    assert odds / odds.sum(axis=1, keepdims=True) == pytest.approx(model.predict_proba(X), abs=1e-12)
    few = np.concatenate([boosted_contributions(model, X[[row]])[1] for row in range(8)])
    assert told[:8] == pytest.approx(few, abs=1e-12)


def test_a_tree_that_never_splits_credits_nobody() -> None:
    X, y = np.zeros((60, 2)), np.arange(60) % 3
    base, told = boosted_contributions(HistGradientBoostingClassifier(max_iter=2).fit(X, y), X)
    assert not told.any()
    assert base == pytest.approx([base[0]] * 3, abs=1e-9)


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=14), st.integers(0, 2**14 - 1))
def test_a_leaf_shares_out_what_it_is_worth(shares: list[float], pattern: int) -> None:
    bits = np.array([pattern >> place & 1 for place in range(len(shares))], dtype=np.uint8)
    told = _shapley(np.array([3.0]), np.array([shares]), bits[None, :, None])[0, :, 0]
    assert told.sum() == pytest.approx(3.0 * (bits.prod() - math.prod(shares)), abs=1e-12)
