"""What all survival models of other libraries need to forecast renewals: columns, causes, the expiry."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator  # noqa: TID253 (an estimator is one by inheritance)
from sklearn.compose import make_column_transformer  # noqa: TID253
from sklearn.feature_selection import VarianceThreshold  # noqa: TID253
from sklearn.impute import SimpleImputer  # noqa: TID253
from sklearn.pipeline import Pipeline, make_pipeline  # noqa: TID253
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: TID253
from sklearn.utils.validation import check_is_fitted  # noqa: TID253

from certforecast.models.classifier import OutcomeClassifier, outcome_frame
from certforecast.models.durations import AT_END
from certforecast.renewals import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Floats", "SurvivalRival", "outcomes_by_time"]

Floats = npt.NDArray[np.float64]

#: Days at which curves are read; between them they are taken to be straight.
GRID: Final = (
    *np.arange(0.0, 30.0),
    *np.arange(30.0, 100.0, 3.0),
    *np.arange(105.0, 200.0, 10.0),
    *np.arange(220.0, 420.0, 20.0),
    500.0,
    600.0,
    830.0,
)
#: Standard deviations from the mean that a column may have at most.
_FAR: Final = 6.0
#: Rows to predict at once; curves take memory.
_AT_ONCE: Final = 5_000


class SurvivalRival(BaseEstimator, ABC):  # type: ignore[misc]
    """Outcomes by day, from a model of the time until a single event.

    The libraries know nothing of an expiry, at which a renewal that is still open has failed or was retired.
    So that they are compared at their best, this is made up for as ours does it: they tell what comes before
    the expiry, and what is left then is divided between failed and retired by a logistic regression.

    Parameters
    ----------
    max_rows : int
        Rows to learn from at most; of more, a sample is drawn: by their weights where the model takes none.
    random_state : int
        Seed of that draw, and of the model.

    Attributes
    ----------
    rows_seen_ : int
        How many rows it was fitted to.
    last_ : OutcomeClassifier or str
        Tells failed from retired at the expiry; a name where there was one only.
    """

    #: Whether the model takes weights.
    weighted: ClassVar[bool] = True
    #: Days at which curves are read, rising from 0.
    grid: ClassVar[tuple[float, ...]] = GRID

    def __init__(self, max_rows: int = 20_000, random_state: int = 0) -> None:
        self.max_rows = max_rows
        self.random_state = random_state

    @abstractmethod
    def _learn(self, Z: Floats, event: npt.NDArray[np.str_], days: Floats, weights: Floats) -> None:
        """Fit to columns of shape (n_rows, n_columns) and ends of shape (n_rows,).

        Events are ``renewed``, ``retired`` before the expiry, and ``reached`` for what was open at it.
        """

    @abstractmethod
    def _curves(self, Z: Floats) -> dict[str, Floats]:
        """Give the cumulative incidence of ``renewed`` and ``retired`` on `grid`; (n_rows, n_grid) each."""

    def fit(
        self,
        X: pd.DataFrame,
        y: Any,  # noqa: ARG002 (durations say as much)
        sample_weight: Any = None,
        *,
        durations: pd.DataFrame,
    ) -> Self:
        """Fit to landmark rows whose outcome is settled.

        Parameters
        ----------
        X : DataFrame of shape (n_rows, n_features)
            With ``days_left`` and ``days_to_slip``.
        y : array-like of shape (n_rows,)
            Outcomes. They are not looked at: `durations` say as much.
        sample_weight : array-like of shape (n_rows,), optional
            As given by :func:`certforecast.models.weighing.landmark_weights`.
        durations : DataFrame of shape (n_rows, 2)
            As given by :func:`certforecast.models.durations.durations`.

        Raises
        ------
        ModelError
            If the package is missing.
        """
        weights = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, np.float64)
        event = durations["event"].to_numpy().astype(str)
        days = durations["duration"].to_numpy(np.float64)
        reached = days >= _deadlines(X) - AT_END
        self._fit_last(X[reached], event[reached], weights[reached])
        self.columns_ = _columns(X)
        self.columns_.fit(_texts(X))
        Z = self._encoded(X)
        taken = self._sample(weights)
        self.rows_seen_ = len(taken)
        before = np.where(reached & (event != "renewed"), "reached", event)
        # A row that was drawn by its weight has had it.
        given = weights[taken] if self.weighted else np.ones(len(taken))
        self._learn(Z[taken], before[taken], days[taken], given)
        return self

    def predict_incidence(self, X: pd.DataFrame, times: "Sequence[float]") -> Floats:
        """Give the probability that each outcome has come about by some days ahead.

        Returns
        -------
        ndarray of shape (n_rows, 4, n_times)
            In the order of :data:`certforecast.renewals.OUTCOMES`. Each rises with time; from the expiry on
            they sum to 1.
        """
        check_is_fitted(self)
        starts = range(0, max(len(X), 1), _AT_ONCE)
        return np.concatenate([self._incidence(X.iloc[at : at + _AT_ONCE], times) for at in starts])

    def proba_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        """Give ``p_on_time, p_slipped, p_failed, p_retired``; shape (n_rows, 4)."""
        return outcome_frame(self.predict_incidence(X, [np.inf])[:, :, 0], np.array(OUTCOMES), X.index)

    def _incidence(self, X: pd.DataFrame, times: "Sequence[float]") -> Floats:
        curves, grid = self._curves(self._encoded(X)), np.asarray(self.grid)
        end, asked = _deadlines(X)[:, None], np.asarray(times, np.float64)
        slip = np.clip(X["days_to_slip"].to_numpy(np.float64)[:, None], 0.0, end)
        at = np.minimum(asked, end)
        renewed = _read(grid, curves["renewed"], at)
        retired = _read(grid, curves["retired"], at)
        left = 1.0 - _read(grid, curves["renewed"] + curves["retired"], end)
        failed = self._failed_share(X)[:, None]
        over = asked >= end
        return outcomes_by_time(
            on_time=_read(grid, curves["renewed"], np.minimum(at, slip)),
            renewed=renewed,
            failed=over * left * failed,
            retired=retired + over * left * (1.0 - failed),
        )

    def _encoded(self, X: pd.DataFrame) -> Floats:
        """Give the columns as numbers, held within `_FAR`: hazards are exponential in them."""
        return np.clip(np.asarray(self.columns_.transform(_texts(X)), np.float64), -_FAR, _FAR)

    def _failed_share(self, X: pd.DataFrame) -> Floats:
        """Give the probability of failing for what is open at the expiry; shape (n_rows,)."""
        if isinstance(self.last_, str):
            return np.full(len(X), float(self.last_ == "failed"))
        given = self.last_.predict_proba(X)
        return given[:, list(self.last_.classes_).index("failed")]

    def _fit_last(self, X: pd.DataFrame, event: npt.NDArray[np.str_], weights: Floats) -> None:
        ended = np.isin(event, ["failed", "retired"]) & (weights > 0)
        kinds = np.unique(event[ended])
        self.last_: OutcomeClassifier | str = str(kinds[0]) if len(kinds) else "failed"
        if len(kinds) > 1:
            self.last_ = OutcomeClassifier("logistic").fit(X[ended], event[ended], weights[ended])

    def _sample(self, weights: Floats) -> npt.NDArray[np.int64]:
        rows = np.flatnonzero(weights > 0)
        if len(rows) <= self.max_rows:
            return rows
        rng = np.random.default_rng(self.random_state)
        chances = None if self.weighted else weights[rows] / weights[rows].sum()
        return np.sort(rng.choice(rows, self.max_rows, replace=False, p=chances))


def outcomes_by_time(*, on_time: Floats, renewed: Floats, failed: Floats, retired: Floats) -> Floats:
    """Put cumulative incidences of shape (n_rows, n_times) into the order of outcomes.

    What was renewed and not on time has slipped.

    Returns
    -------
    ndarray of shape (n_rows, 4, n_times)
    """
    parts = {"on_time": on_time, "slipped": renewed - on_time, "failed": failed, "retired": retired}
    return np.stack([parts[name] for name in OUTCOMES], axis=1)


def _columns(X: pd.DataFrame) -> Pipeline:
    """Make numbers of all columns: the median for unknown, and a column that says so; texts one by one."""
    numbers = [name for name in X if pd.api.types.is_numeric_dtype(X[name].dtype) and X[name].notna().any()]
    texts = [name for name in X if not pd.api.types.is_numeric_dtype(X[name].dtype)]
    lines = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    kinds = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=30, sparse_output=False)
    # A column that is nearly constant leaves a Cox model without a finite optimum.
    return make_pipeline(make_column_transformer((lines, numbers), (kinds, texts)), VarianceThreshold(0.01))


def _texts(X: pd.DataFrame) -> pd.DataFrame:
    texts = [name for name in X if not pd.api.types.is_numeric_dtype(X[name].dtype)]
    return X.assign(
        **{str(name): X[name].astype(object).where(X[name].notna(), "").astype(str) for name in texts}
    )


def _deadlines(X: pd.DataFrame) -> Floats:
    return np.asarray(np.maximum(X["days_left"].to_numpy(np.float64), 1e-6))


def _read(grid: Floats, curves: Floats, at: Floats) -> Floats:
    """Read curves of shape (n_rows, n_grid) at times of each row, shape (n_rows, n_times)."""
    after = np.clip(np.searchsorted(grid, at), 1, len(grid) - 1)
    low, high = (np.take_along_axis(curves, place, axis=1) for place in (after - 1, after))
    share = np.clip((at - grid[after - 1]) / np.diff(grid)[after - 1], 0.0, 1.0)
    return low + share * (high - low)
