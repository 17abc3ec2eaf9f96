"""Log-odds of boosted trees for many rows at once: rows meet tables of bits instead of walking the trees."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from certforecast.models.treeshap import columns_inside, goes_left

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

__all__ = ["Forest", "forest_of"]

Floats = npt.NDArray[np.float64]
Bits = npt.NDArray[np.uint8]
Places = npt.NDArray[np.intp]

#: Inputs are whole numbers below this, or NaN: the levels and codes that boosting is given.
_LEVELS: Final = 256
#: All that a feature can be; unknown comes last.
_EVERY: Final = np.array([*range(_LEVELS), np.nan])

#: Bytes of bits at a time: what is worked on stays in the processor's cache.
_AT_ONCE: Final = 400_000


class _Table(NamedTuple):
    """Which leaves a feature leaves possible.

    Attributes
    ----------
    line : ndarray of shape (257,)
        Of `bits`, for each level, and for unknown.
    bits : ndarray of shape (n_lines, n_bytes)
    """

    line: Places
    bits: Bits

    def lines(self, column: Floats) -> Places:
        """Give the lines of rows."""
        return self.line[np.where(np.isnan(column), _LEVELS, column).astype(np.intp)]


class _Split(NamedTuple):
    """What a split does to eight leaves of its tree: those that are left to the left, and to the right."""

    byte: int
    left: int
    right: int
    threshold: float
    unknown: bool
    #: Where the levels go, of a split by category.
    given: Bits | None


class Forest:
    """The trees of a booster as tables of bits.

    Each leaf is a bit. A feature's table says for each of its levels which leaves of all trees can still be
    reached; what all features leave possible is one leaf a tree, where the row ends. This is QuickScorer [1]_
    with every comparison made beforehand, as levels are few. Rows that differ in some features only share
    what the others leave possible.

    Parameters
    ----------
    model : HistGradientBoostingClassifier
        Fitted to whole numbers under 256; those of a category are 0, 1 and so on, each seen in training. Rows
        to forecast hold such numbers, too, or NaN; other ones give nonsense.

    Attributes
    ----------
    tables : dict of int to table
        For each column that some tree asks for.

    References
    ----------
    .. [1] C. Lucchese et al. (2015), QuickScorer: a fast algorithm to rank documents with additive ensembles
       of regression trees, SIGIR.
    """

    def __init__(self, model: "HistGradientBoostingClassifier") -> None:
        self._link = model._loss.predict_proba
        self._base = np.array(model._baseline_prediction, dtype=np.float64).reshape(-1)
        known, places = model._bin_mapper.make_known_categories_bitsets()
        splits: dict[int, list[_Split]] = {}
        values: list[Floats] = []
        self._begins = []
        for number in range(len(self._base)):
            self._begins.append(len(values))
            for grown in model._predictors:
                tree = grown[number]
                leaves = tree.nodes["value"][tree.nodes["is_leaf"] == 1]
                for feature, split in _splits(tree, len(values), known, places):
                    splits.setdefault(feature, []).append(split)
                values += [leaves[start : start + 8] for start in range(0, len(leaves), 8)]
        self._values = np.zeros((len(values), 256))  # by bit: eight of a tree's leaves, or none of them
        for byte, eight in enumerate(values):
            self._values[byte, 1 << np.arange(len(eight))] = eight
        self._every = np.array([(1 << len(eight)) - 1 for eight in values], dtype=np.uint8)
        self._offsets = np.arange(len(values), dtype=np.intp) * 256
        columns = columns_inside(model)
        self.tables = {int(columns[it]): _table(found, len(values)) for it, found in splits.items()}

    def predict_proba(self, Z: Floats) -> Floats:
        """Give the probabilities, as the model does, but for rounding; `Z` of shape (n_rows, n_features)."""
        lines = {it: table.lines(Z[:, it]) for it, table in self.tables.items()}
        return self._told(len(Z), lambda rows: self._left(lines, rows, self._every))

    def predict_changed(
        self, Z: Floats, changes: Sequence[tuple[Places, Mapping[int, Floats]]]
    ) -> Iterator[Floats]:
        """Give the probabilities of rows with some columns changed, one change after the other.

        Parameters
        ----------
        Z : ndarray of shape (n_rows, n_features)
        changes : sequence of (ndarray of int of shape (n,), dict of int to ndarray of shape (n,))
            Each: which rows are asked for, and the columns that change, the same columns each time.

        Yields
        ------
        ndarray of shape (n, n_classes)
        """
        moving = {it for _, columns in changes for it in columns}
        still = {it: table.lines(Z[:, it]) for it, table in self.tables.items() if it not in moving}
        kept = np.empty((len(Z), len(self._every)), np.uint8)
        for rows in self._parts(len(Z)):
            kept[rows] = self._left(still, rows, self._every)
        for asked, columns in changes:
            lines = {it: self.tables[it].lines(column) for it, column in columns.items() if it in self.tables}
            yield self._told(len(asked), partial(self._left_after, kept, asked, lines))

    def _left_after(self, kept: Bits, asked: Places, lines: Mapping[int, Places], rows: slice) -> Bits:
        """Give the leaves that are left of those kept, for some of the rows that are asked for."""
        return self._left(lines, rows, kept.take(asked[rows], axis=0))

    def _left(self, lines: Mapping[int, Places], rows: slice, before: Bits) -> Bits:
        """Give the leaves that the columns leave possible, of those that were before."""
        shape = (rows.stop - rows.start, len(self._every))
        left, table = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
        left[:] = before
        for it, line in lines.items():
            # Lines are within bounds; saying so spares a copy.
            np.take(self.tables[it].bits, line[rows], axis=0, out=table, mode="clip")
            np.bitwise_and(left, table, out=left)
        return left

    def _told(self, rows: int, left: Callable[[slice], Bits]) -> Floats:
        """Give the probabilities that the values of the leaves that are left make, part by part."""
        scores, values = np.empty((rows, len(self._base))), self._values.reshape(-1)
        for part in self._parts(rows):
            ends = np.take(values, self._offsets + left(part), mode="clip")
            scores[part] = self._base + np.add.reduceat(ends, self._begins, axis=1)
        return np.asarray(self._link(scores), dtype=np.float64)

    def _parts(self, rows: int) -> Iterator[slice]:
        size = max(1, _AT_ONCE // len(self._every))
        return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def forest_of(model: "HistGradientBoostingClassifier") -> Forest:
    """Give the forest of a model, made once; the model is not fitted again after that."""
    with _MAKING:
        if model not in _FORESTS:
            _FORESTS[model] = Forest(model)
        return _FORESTS[model]


_MAKING: Final = Lock()
_FORESTS: WeakKeyDictionary["HistGradientBoostingClassifier", Forest] = WeakKeyDictionary()


def _splits(tree: Any, first: int, known: Any, places: Any) -> Iterator[tuple[int, _Split]]:
    """List the splits of a tree whose leaves begin at a byte, with the features they ask for."""
    nodes = tree.nodes
    is_leaf, lefts, rights = (nodes[name].tolist() for name in ("is_leaf", "left", "right"))
    below, leaves = [0] * len(nodes), 0
    for place in range(len(nodes)):
        if is_leaf[place]:
            below[place], leaves = 1 << leaves, leaves + 1
    for place in reversed(range(len(nodes))):  # a node stands before what is below it
        if not is_leaf[place]:
            below[place] = below[lefts[place]] | below[rights[place]]
    features, thresholds = nodes["feature_idx"].tolist(), nodes["num_threshold"].tolist()
    unknown, categories = nodes["missing_go_to_left"].tolist(), nodes["is_categorical"].tolist()
    for place in range(len(nodes)):
        if is_leaf[place]:
            continue
        given = goes_left(tree, nodes[place], _EVERY, known, places) if categories[place] else None
        left, right = below[lefts[place]], below[rights[place]]
        for byte in range((leaves + 7) // 8):
            its_left, its_right = left >> 8 * byte & 255, right >> 8 * byte & 255
            if its_left or its_right:
                yield (
                    features[place],
                    _Split(
                        first + byte,
                        255 ^ its_right,
                        255 ^ its_left,
                        thresholds[place],
                        bool(unknown[place]),
                        given,
                    ),
                )


def _table(splits: list[_Split], size: int) -> _Table:
    """Table what the splits on one feature leave possible at each level, of trees of `size` bytes."""
    splits = sorted(splits, key=lambda split: split.byte)
    goes = _EVERY[:, None] <= np.array([split.threshold for split in splits])
    goes[-1] = [split.unknown for split in splits]
    for number, split in enumerate(splits):
        if split.given is not None:
            goes[:, number] = split.given
    # Neighbouring levels that go the same ways share a line.
    first = np.concatenate([[True], (goes[1:] != goes[:-1]).any(axis=1)])
    left, right = (
        np.array(one, dtype=np.uint8) for one in zip(*((it.left, it.right) for it in splits), strict=True)
    )
    found, begins = np.unique([split.byte for split in splits], return_index=True)
    bits = np.full((int(first.sum()), size), 255, dtype=np.uint8)
    bits[:, found] = np.bitwise_and.reduceat(np.where(goes[first], left, right), begins, axis=1)
    return _Table(np.cumsum(first) - 1, bits)
