"""Shapley values of a boosted tree ensemble: what each feature adds to its log-odds."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sklearn.ensemble import HistGradientBoostingClassifier

__all__ = ["boosted_contributions", "columns_inside", "goes_left"]

Floats = npt.NDArray[np.float64]
Bits = npt.NDArray[np.uint8]

#: For each feature on the way to a leaf: the share of the training rows that its splits let through, and
#: which rows they let through.
_Way = dict[int, tuple[float, Bits]]


@dataclass(slots=True)
class _Leaf:
    value: float
    way: _Way
    #: Where its contributions are added; shape (n_features, n_rows).
    told: Floats


def boosted_contributions(model: "HistGradientBoostingClassifier", X: Any) -> tuple[Floats, Floats]:
    """Share the log-odds of a histogram gradient boosting among the features.

    Exact path-dependent Shapley values [1]_: a feature that is not known sends a row both ways, in the
    proportion of the training rows. As in Fast TreeSHAP [2]_, leaves are tabled by which of the features on
    their way let a row through. The sum over all coalitions is the integral of a polynomial, by Owen's
    multilinear extension [3]_, which Gauss-Legendre quadrature gives exactly.

    Missing values and splits by category are followed as scikit-learn follows them (the `shap` package reads
    its categories as numbers).

    Parameters
    ----------
    model : HistGradientBoostingClassifier
        Fitted.
    X : array-like of shape (n_rows, n_features)
        As for its ``predict_proba``.

    Returns
    -------
    base : ndarray of shape (n_classes,)
        Mean log-odds (up to what is common to all classes) of the training rows.
    contributions : ndarray of shape (n_rows, n_classes, n_features)
        What each feature adds. Their sum and the base are the model's log-odds.

    References
    ----------
    .. [1] S. Lundberg et al. (2020), From local explanations to global understanding with explainable AI
       for trees, Nature Machine Intelligence 2.
    .. [2] J. Yang (2021), Fast TreeSHAP: accelerating SHAP value computation for trees, arXiv:2109.09847.
    .. [3] G. Owen (1972), Multilinear extensions of games, Management Science 18(5).
    """
    values = np.asarray(model._preprocess_X(X, reset=False), dtype=np.float64).T
    known, places = model._bin_mapper.make_known_categories_bitsets()
    base = np.array(model._baseline_prediction, dtype=np.float64).reshape(-1)
    told = np.zeros((len(base), *values.shape))
    for grown in model._predictors:
        leaves: list[_Leaf] = []
        for number, tree in enumerate(grown):
            base[number] += _mean(tree.nodes)
            leaves += _leaves(tree, values, known, places, told[number])
        for length in {len(leaf.way) for leaf in leaves} - {0}:
            _add([leaf for leaf in leaves if len(leaf.way) == length], length)
    told = told[:, np.argsort(columns_inside(model))]
    if len(base) == 1:  # two classes: one tree a round, for the second against the first
        base, told = np.concatenate([-base, base]) / 2, np.concatenate([-told, told]) / 2
    return base, told.transpose(2, 0, 1)


def columns_inside(model: "HistGradientBoostingClassifier") -> npt.NDArray[np.intp]:
    """Give the columns of the input in the order in which trees number them; shape (n_features,).

    Inside, scikit-learn puts categories before numbers.
    """
    if model.is_categorical_ is None:
        return np.arange(model.n_features_in_)
    return np.argsort(~model.is_categorical_, kind="stable")


def _mean(nodes: Any) -> float:
    ends = nodes["is_leaf"] == 1
    return float((nodes["value"] * nodes["count"])[ends].sum() / nodes["count"][0])


def _leaves(tree: Any, values: Floats, known: Any, places: Any, told: Floats) -> "Iterator[_Leaf]":
    """Walk a tree with all rows; give its leaves."""
    nodes = tree.nodes
    counts, features, is_leaf = (nodes[name].tolist() for name in ("count", "feature_idx", "is_leaf"))
    children = list(zip(nodes["left"].tolist(), nodes["right"].tolist(), strict=True))
    waiting: list[tuple[int, _Way]] = [(0, {})]
    while waiting:
        place, way = waiting.pop()
        if is_leaf[place]:
            yield _Leaf(float(nodes["value"][place]), way, told)
            continue
        feature = features[place]
        left = goes_left(tree, nodes[place], values[feature], known, places)
        for child, through in zip(children[place], (left, 1 - left), strict=True):
            share = counts[child] / counts[place]
            if feature in way:
                before, passed = way[feature]
                share, through = before * share, passed & through
            waiting.append((child, {**way, feature: (share, through)}))


def goes_left(tree: Any, node: Any, column: Floats, known: Any, places: Any) -> Bits:
    """Say which values of a column a node sends to the left, as scikit-learn does; 0 or 1, (n_rows,).

    `known` and `places` are what its bin mapper gives by ``make_known_categories_bitsets``.
    """
    missing = np.isnan(column)
    if node["is_categorical"]:
        codes = np.where(missing, 0, column).astype(np.int64)
        left = _in_set(tree.raw_left_cat_bitsets[node["bitset_idx"]], codes)
        # What was not seen in training goes where missing values go.
        missing = missing | ~_in_set(known[places[node["feature_idx"]]], codes)
    else:
        left = column <= node["num_threshold"]
    return np.where(missing, bool(node["missing_go_to_left"]), left).astype(np.uint8)


def _in_set(bits: Any, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    inside = (codes >= 0) & (codes < 256)
    codes = np.where(inside, codes, 0)
    found: npt.NDArray[np.bool_] = (np.asarray(bits)[codes // 32] >> (codes % 32).astype(np.uint32)) & 1 == 1
    return found & inside


def _add(leaves: list[_Leaf], length: int) -> None:
    """Add the contributions of leaves that have the same number of features on their way."""
    shares = np.array([[share for share, _ in leaf.way.values()] for leaf in leaves])
    heights = np.array([leaf.value for leaf in leaves])
    throughs = [[through for _, through in leaf.way.values()] for leaf in leaves]
    if len(throughs[0][0]) <= 2**length:
        for leaf, columns in zip(leaves, _shapley(heights, shares, np.array(throughs)), strict=True):
            for feature, column in zip(leaf.way, columns, strict=True):
                leaf.told[feature] += column
        return
    tables = _shapley(heights, shares, _all_patterns(length))
    for leaf, bits, table in zip(leaves, throughs, tables, strict=True):
        pattern = _pattern(bits)
        for feature, column in zip(leaf.way, table, strict=True):
            leaf.told[feature] += column.take(pattern)


def _pattern(bits: list[Bits]) -> npt.NDArray[np.intp]:
    """Number the rows by which of the features let them through."""
    wide: type[np.unsignedinteger[Any]] = np.uint8 if len(bits) <= 8 else np.uint32
    pattern = bits[0].astype(wide)
    for place, through in enumerate(bits[1:], start=1):
        pattern |= through.astype(wide, copy=False) << wide(place)
    return pattern.astype(np.intp)


@cache
def _all_patterns(length: int) -> Bits:
    """Give every pattern, in the order of its number; shape (1, length, 2 ** length)."""
    return ((np.arange(2**length) >> np.arange(length)[:, None]) & 1).astype(np.uint8)[None]


@cache
def _quadrature(length: int) -> list[tuple[float, float]]:
    """Give points in 0 to 1 and weights that integrate polynomials of a degree below `length`."""
    points, weights = np.polynomial.legendre.leggauss((length + 1) // 2)
    return list(zip(((points + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))


def _shapley(values: Floats, shares: Floats, patterns: Bits) -> Floats:
    """Give the Shapley values of leaves.

    The value of a coalition is the leaf's, times 1 or 0 for each member, as it lets the row through or not,
    times the share of the training rows for each feature outside.

    Parameters
    ----------
    values : ndarray of shape (n_leaves,)
    shares : ndarray of shape (n_leaves, n_features)
    patterns : ndarray of shape (n_leaves or 1, n_features, n_patterns)
        1 where the feature lets the row through.

    Returns
    -------
    ndarray of shape (n_leaves, n_features, n_patterns)
    """
    share = shares[:, :, None]
    gain: Floats = patterns - share
    summed = np.zeros_like(gain)
    for at, weight in _quadrature(shares.shape[1]):
        chance = share + at * gain  # above 0, as `at` is below 1
        summed += weight * chance.prod(axis=1, keepdims=True) / chance
    return np.asarray(values[:, None, None] * gain * summed)
