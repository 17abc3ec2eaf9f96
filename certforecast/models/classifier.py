"""The outcome classifier: what becomes of an open renewal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin  # noqa: TID253 (an estimator is one by inheritance)
from sklearn.compose import ColumnTransformer  # noqa: TID253
from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: TID253
from sklearn.impute import SimpleImputer  # noqa: TID253
from sklearn.linear_model import LogisticRegression  # noqa: TID253
from sklearn.pipeline import Pipeline  # noqa: TID253
from sklearn.preprocessing import (  # noqa: TID253
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)
from sklearn.utils.multiclass import check_classification_targets  # noqa: TID253
from sklearn.utils.validation import (  # noqa: TID253
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)
from threadpoolctl import threadpool_limits

from certforecast.models.forest import forest_of
from certforecast.models.levels import Levels
from certforecast.models.parts import by_parts
from certforecast.models.told import TOLD
from certforecast.models.transforming import ProbabilityColumns
from certforecast.renewals import OUTCOMES

if TYPE_CHECKING:
    from sklearn.utils import Tags

__all__ = ["LEAN", "OutcomeClassifier", "index_of", "outcome_frame"]

Floats = npt.NDArray[np.float64]
Method = Literal["blended", "boosted", "logistic"]
#: Which rows, and what is to change in them.
Change = tuple[npt.NDArray[np.intp], Mapping[str, Floats]]

#: More categories than this are grouped, the rare ones first.
MAX_CATEGORIES = 40

#: Features that a regression can learn from a few dozen failures: how late it is, and how this lineage,
#: its domain and its owner have fared.
LEAN = frozenset(
    {
        "attempts_failed_month",
        "days_past_due",
        "domain_failed_rate",
        "domain_overdue_share",
        "elapsed_share",
        "lag_spread",
        "lineage_failed_rate",
        "lineage_late_rate",
        "log_days_left",
        "margin_last",
        "owner_failed_rate",
        "past_usual",
        "reload_failed",
        "unserved",
        "validity_days",
    }
)

#: What objects are that are numbers, or unknown, to :func:`pandas.api.types.infer_dtype`.
_NUMBERS: Final = {"integer", "floating", "mixed-integer-float", "boolean", "decimal", "empty"}

#: Days to the slip point; negative after it.
SLIP_COLUMN = "days_to_slip"

#: Rows for a regression at most: it has a few hundred coefficients, and more rows do not tell them better.
MOST_ROWS = 50_000

#: From how many rows on training uses all cores.
THREADS_FROM = 100_000

#: From how many rows on numbers are told apart more finely than otherwise: so many bear it, and fewer would
#: not gain by it.
FINE_FROM = 300_000
FINE_LEVELS, COARSE_LEVELS = 255, 64


class OutcomeClassifier(ClassifierMixin, ProbabilityColumns, BaseEstimator):  # type: ignore[misc]
    """Probabilities of the outcomes of an open renewal, from its features at one moment.

    A landmark model [1]_: trained on rows that show the same renewal at several moments before its
    expiry, it gives the outcome's probabilities given that the renewal is still open at the moment. Where a
    column ``days_to_slip`` is negative, ``on_time`` is ruled out.

    Parameters
    ----------
    method : {"blended", "boosted", "logistic"}
        ``boosted``: small, regularised histogram gradient boosting. ``logistic``: regularised
        multinomial logistic regression. ``blended``: their logarithmic pool [2]_, which
        ranked failures best on simulated fleets (docs/models.md).
    max_iter : int
        Boosting rounds. There is no early stopping: it would split the rows of one renewal.
    learning_rate : float
        Of the boosting.
    max_leaf_nodes : int
        Of each tree.
    min_samples_leaf : int
        Of each tree; lowered to a fortieth of the rows, but not under 5, when there are few.
    l2_regularization : float
        Of the boosting.
    C : float
        Inverse strength of the logistic regression's penalty.
    lean : bool
        Whether the logistic regression is kept to the few features of `LEAN`, if `X` has them all, and to
        what a prior says. Failures are rare; all features together would be fitted to their noise.
    random_state : int or None
        Seed.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The outcomes seen in training, sorted.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, when fitted on a frame.
    models_ : list of Pipeline
        The fitted parts.
    n_iter_ : int
        The most iterations that a part took.

    References
    ----------
    .. [1] H. van Houwelingen (2007), Dynamic prediction by landmarking in event history analysis,
       Scandinavian Journal of Statistics 34(1).
    .. [2] C. Genest and J. Zidek (1986), Combining probability distributions, Statistical Science 1(1).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0], [2.0], [80.0], [90.0]] * 20)
    >>> y = np.array(["failed", "failed", "on_time", "on_time"] * 20)
    >>> OutcomeClassifier(method="logistic").fit(X, y).predict([[3.0]])
    array(['failed'], dtype='<U7')
    """

    def __init__(
        self,
        method: Method = "blended",
        *,
        max_iter: int = 50,
        learning_rate: float = 0.05,
        max_leaf_nodes: int = 8,
        min_samples_leaf: int = 200,
        l2_regularization: float = 5.0,
        C: float = 0.02,
        lean: bool = True,
        random_state: int | None = 0,
    ) -> None:
        self.method = method
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.max_leaf_nodes = max_leaf_nodes
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.C = C
        self.lean = lean
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to landmark rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
            Numbers may be NaN for unknown. Text and category columns of a frame are categories.
        y : array-like of shape (n_rows,)
            Outcomes.
        sample_weight : array-like of shape (n_rows,), optional
            As given by :func:`certforecast.models.weighing.landmark_weights`.

        Raises
        ------
        ValueError
            If `method` is unknown, `y` has one class only, or the inputs do not fit together.
        """
        if self.method not in ("blended", "boosted", "logistic"):
            raise ValueError(f"method is {self.method!r}; choose blended, boosted or logistic")
        y = column_or_1d(y, warn=True)
        if self.method == "logistic" and isinstance(X, pd.DataFrame) and len(X) == len(y) > MOST_ROWS:
            drawn = self._some(y)  # before a million rows are made ready in vain
            X, y = X.iloc[drawn], y[drawn]
            sample_weight = None if sample_weight is None else np.asarray(sample_weight)[drawn]
        frame = self._frame(X, reset=True)
        check_classification_targets(y)
        if len(y) != len(frame):
            raise ValueError(f"X has {len(frame)} rows, y has {len(y)}")
        if not len(y):
            raise ValueError("X has no rows: there is nothing to learn from")
        weights = _check_sample_weight(sample_weight, frame, dtype=np.float64, ensure_non_negative=True)
        kept = weights > 0
        frame, y, weights = frame[kept], y[kept], weights[kept]
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            found = ", ".join(map(repr, self.classes_)) or "none"
            raise ValueError(f"y has one class only ({found}); at least two outcomes are needed")
        # On little data threads cost more than they bring, and on a busy machine they wait for one another.
        threads = 1 if len(frame) < THREADS_FROM else None
        with threadpool_limits(threads):
            self.models_ = [self._fit_part(part, frame, y, weights) for part in self._parts(frame)]
        self.n_iter_ = max(int(np.max(part["model"].n_iter_)) for part in self.models_)
        return self

    def predict_proba(self, X: Any) -> Floats:
        """Give the probabilities of the outcomes.

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            In the order of `classes_`.
        """
        check_is_fitted(self)
        frame = self._frame(X, reset=False)
        slips = _slips(frame)

        def told(rows: slice) -> Floats:
            given = [_told_by(part, frame.iloc[rows]) for part in self.models_]
            return self._pooled(given, None if slips is None else slips[rows])

        return by_parts(told, len(frame))

    def predict_changed(self, X: pd.DataFrame, changes: Sequence[Change]) -> Iterator[Floats]:
        """Give the probabilities of rows with some numbers changed, one change after the other.

        They are those of :meth:`predict_proba` for the changed rows, but for rounding. Where the model is one
        of boosted trees, its trees are asked anew only for what changes.

        Parameters
        ----------
        X : DataFrame of shape (n_rows, n_features)
        changes : sequence of (ndarray of int of shape (n,), dict of str to ndarray of shape (n,))
            Each: which rows are asked for, and their numbers in the columns that change, the same columns
            each time.

        Yields
        ------
        ndarray of shape (n, n_classes)

        Raises
        ------
        ValueError
            If the changes are not of the same columns, or one of them is no column of numbers of `X`.
        """
        check_is_fitted(self)
        frame = self._frame(X, reset=False)
        names = {name for _, changed in changes for name in changed}
        if odd := [name for name in names if name not in frame or frame[name].dtype == object]:
            raise ValueError(f"no column of numbers to change: {', '.join(map(repr, sorted(odd)))}")
        if any(changed.keys() != names for _, changed in changes):
            raise ValueError(f"each change has to give all of: {', '.join(map(repr, sorted(names)))}")
        if self.method != "boosted":
            for rows, changed in changes:
                yield self.predict_proba(frame.iloc[rows].assign(**changed))
            return
        (part,) = self.models_
        _, levels, numbers = part["columns"].transformers_[0]
        places = {name: place for place, name in enumerate(numbers)}
        moved = [
            (rows, {places[name]: levels.level(name, changed[name]) for name in changed if name in places})
            for rows, changed in changes
        ]
        told = forest_of(part["model"]).predict_changed(np.asarray(part["columns"].transform(frame)), moved)
        slips = _slips(frame)
        for (rows, changed), given in zip(changes, told, strict=True):
            yield self._pooled([given], changed.get(SLIP_COLUMN, None if slips is None else slips[rows]))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Give the likeliest outcome; shape (n_rows,)."""
        probabilities = self.predict_proba(X)
        return cast("npt.NDArray[Any]", self.classes_[probabilities.argmax(axis=1)])

    def proba_frame(self, X: Any) -> pd.DataFrame:
        """Give ``p_on_time, p_slipped, p_failed, p_retired``; shape (n_rows, 4)."""
        return outcome_frame(self.predict_proba(X), self.classes_, index_of(X))

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _frame(self, X: Any, *, reset: bool) -> pd.DataFrame:
        """Give a frame whose columns are float64, or text with "" for unknown."""
        if not isinstance(X, pd.DataFrame):
            values = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
            return pd.DataFrame(values, columns=[f"x{number}" for number in range(values.shape[1])])
        validate_data(self, X, reset=reset, skip_check_array=True)
        numbers, texts = (set(), set()) if reset else (self._columns("numbers"), self._columns("texts"))
        columns = {}
        for name, column in X.items():
            if name not in texts and (name in numbers or _are_numbers(column)):
                columns[name] = _numbers(name, column)
            else:
                columns[name] = column.astype("str").fillna("").astype(object)
        return pd.DataFrame(columns, index=X.index)

    def _columns(self, kind: str) -> set[Any]:
        """Name the columns that the parts take for numbers, or for texts."""
        transformers = [it for part in self.models_ for it in part["columns"].transformers_]
        return {name for known, _, names in transformers if known == kind for name in names}

    def _pooled(self, given: list[Floats], slips: Floats | None) -> Floats:
        """Pool the probabilities of the parts, and condition them on what is past."""
        pooled = np.exp(np.mean([np.log(np.clip(one, 1e-12, 1.0)) for one in given], axis=0))
        if slips is not None and "on_time" in self.classes_:
            # Past the slip point nothing can be on time any more.
            pooled[np.ix_(slips < 0, self.classes_ == "on_time")] = 0.0
        return cast("Floats", pooled / pooled.sum(axis=1, keepdims=True))

    def _parts(self, frame: pd.DataFrame) -> list[Pipeline]:
        texts = [name for name in frame.columns if frame[name].dtype == object]
        # A column that was never filled says nothing, and the boosting could not bin it.
        numbers = [name for name in frame.columns if name not in texts and frame[name].notna().any()]
        kept = [name for name in numbers if name in LEAN or str(name).startswith(TOLD)]
        lean = kept if self.lean and set(frame) >= LEAN else []
        parts = []
        if self.method in ("blended", "boosted"):
            parts.append(self._boosted(numbers, texts, len(frame)))
        if self.method in ("blended", "logistic"):
            parts.append(self._logistic(lean, []) if lean else self._logistic(numbers, texts))
        return parts

    def _fit_part(
        self, part: Pipeline, frame: pd.DataFrame, y: npt.NDArray[Any], weights: Floats
    ) -> Pipeline:
        if len(frame) > MOST_ROWS and isinstance(part["model"], LogisticRegression):
            drawn = self._some(y)
            frame, y, weights = frame.iloc[drawn], y[drawn], weights[drawn]
        return part.fit(frame, y, model__sample_weight=weights)

    def _some(self, y: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
        """Draw the rows for a regression, the first of each class among them."""
        drawn = np.random.default_rng(self.random_state).choice(len(y), MOST_ROWS, replace=False)
        return np.union1d(drawn, np.unique(y, return_index=True)[1])

    def _boosted(self, numbers: list[str], texts: list[str], rows: int) -> Pipeline:
        levels = Levels(FINE_LEVELS if rows >= FINE_FROM else COARSE_LEVELS, random_state=self.random_state)
        codes = OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=MAX_CATEGORIES
        )
        return Pipeline(
            [
                ("columns", _side_by_side(("numbers", levels, numbers), ("texts", codes, texts))),
                (
                    "model",
                    HistGradientBoostingClassifier(
                        max_iter=self.max_iter,
                        learning_rate=self.learning_rate,
                        max_leaf_nodes=self.max_leaf_nodes,
                        min_samples_leaf=min(self.min_samples_leaf, max(5, rows // 40)),
                        l2_regularization=self.l2_regularization,
                        categorical_features=[*range(len(numbers), len(numbers) + len(texts))] or None,
                        early_stopping=False,
                        random_state=self.random_state,
                    ),
                ),
            ]
        )

    def _logistic(self, numbers: list[str], texts: list[str]) -> Pipeline:
        lines = Pipeline(
            [
                # A column may be known in none of the rows that were drawn.
                ("impute", SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)),
                ("scale", StandardScaler()),
            ]
        )
        rare = OneHotEncoder(
            handle_unknown="infrequent_if_exist", min_frequency=30, max_categories=MAX_CATEGORIES
        )
        return Pipeline(
            [
                ("columns", _side_by_side(("numbers", lines, numbers), ("texts", rare, texts))),
                ("model", LogisticRegression(C=self.C, max_iter=2000, random_state=self.random_state)),
            ]
        )


def _side_by_side(*parts: tuple[str, Any, list[str]]) -> ColumnTransformer:
    """Put transformed columns side by side as arrays, whatever scikit-learn is told to give to others."""
    return ColumnTransformer(list(parts)).set_output(transform="default")


def index_of(X: Any) -> "pd.Index[Any] | None":
    """Give the index of a frame, and None for what has none."""
    return X.index if isinstance(X, pd.DataFrame) else None


def _are_numbers(column: "pd.Series[Any]") -> bool:
    """Whether a column holds numbers, or nothing at all; also where unknown ones made it one of objects."""
    if column.dtype != object:
        return bool(pd.api.types.is_numeric_dtype(column.dtype))
    return pd.api.types.infer_dtype(column, skipna=True) in _NUMBERS


def _numbers(name: Any, column: "pd.Series[Any]") -> "pd.Series[float]":
    try:
        return pd.to_numeric(column).astype("float64")
    except (ValueError, TypeError) as error:
        raise ValueError(f"column {name} has to hold numbers, and does not: {error}") from error


def _told_by(part: Pipeline, frame: pd.DataFrame) -> Floats:
    """Give the probabilities of one part."""
    inputs, model = part[:-1].transform(frame), part["model"]
    if isinstance(model, HistGradientBoostingClassifier):
        return forest_of(model).predict_proba(np.asarray(inputs))
    return cast("Floats", model.predict_proba(inputs))


def _slips(frame: pd.DataFrame) -> Floats | None:
    return frame[SLIP_COLUMN].to_numpy(dtype=np.float64) if SLIP_COLUMN in frame else None


def outcome_frame(
    probabilities: Floats, classes: npt.NDArray[Any], index: pd.Index | None = None
) -> pd.DataFrame:
    """Name the columns of class probabilities after the outcomes; absent outcomes are 0.

    Parameters
    ----------
    probabilities : ndarray of shape (n_rows, n_classes)
    classes : ndarray of shape (n_classes,)
    index : Index, optional
        Of the result.

    Raises
    ------
    ValueError
        If a class is no outcome.
    """
    if odd := sorted(set(map(str, classes)) - set(OUTCOMES)):
        raise ValueError(
            f"{', '.join(odd)} is no outcome of a renewal ({', '.join(OUTCOMES)}): use predict_proba for "
            "classes of one's own"
        )
    places = {outcome: number for number, outcome in enumerate(classes)}
    return pd.DataFrame(
        {f"p_{name}": probabilities[:, places[name]] if name in places else 0.0 for name in OUTCOMES},
        index=index,
    )
