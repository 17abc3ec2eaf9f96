"""When a renewal ends, and how: competing risks in discrete time."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import (  # noqa: TID253 (an estimator is one by inheritance)
    BaseEstimator,
    RegressorMixin,
    TransformerMixin,
    clone,
)
from sklearn.utils.validation import (  # noqa: TID253
    _check_sample_weight,
    check_array,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from certforecast.models.classifier import OutcomeClassifier, outcome_frame
from certforecast.models.durations import AT_END, CENSORED
from certforecast.models.parts import by_parts
from certforecast.models.survival import integrated_brier

if TYPE_CHECKING:
    from sklearn.utils import Tags

__all__ = ["EDGES", "RenewalHazard"]

Floats = npt.NDArray[np.float64]

#: Ends of the periods, in days ahead: finer where it matters.
EDGES: Final = (1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180, 270, 400, 830)

_NONE: Final = "none"

#: Features that time alone moves, by how much a day.
_AGES: Final = {"days_left": -1.0, "days_to_slip": -1.0, "days_past_due": 1.0, "unserved_days": 1.0}
#: The same, in lifetimes.
_SHARES: Final = ("elapsed_share", "past_usual")


class RenewalHazard(RegressorMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Cumulative incidence of what may end a renewal, by day.

    Time ahead is cut into periods. For each, a classifier tells the probability that the renewal ends in it,
    and how, given that it is still open [1]_ [2]_. Censored rows count for the periods they were seen in, for
    the last one by the share they were seen of it, so nobody has to wait for an outcome to learn from a row.
    Features that time alone moves (days left, days past due) are moved on to the middle of each period. At
    the deadline, the expiry, whatever is still open ends: a second classifier tells how.

    Parameters
    ----------
    edges : sequence of float, optional
        Ends of the periods in days, rising; default `EDGES`. The last goes on to the deadline of a row, if
        that lies beyond; without one, what comes after it counts into it.
    deadline : str or None
        The column of `X` that says in how many days the renewal ends at the latest, if `X` has it.
    estimator : classifier, optional
        Fitted to periods with a sample weight; default a boosted `OutcomeClassifier` of 100 rounds. Lines
        do not do: hazards rise and fall. Of many rows, it forecasts parts side by side, in threads.
    max_periods : int
        Periods to learn from at most. Of more, those in which nothing ended are sampled, and weigh more.
    random_state : int or None
        Seed of that sampling, and of the default estimator.

    Attributes
    ----------
    events_ : ndarray of shape (n_events,)
        The events seen, sorted.
    edges_ : ndarray of shape (n_periods + 1,)
        Beginnings and ends of the periods.
    model_ : classifier
        For the periods.
    last_ : classifier or None
        For the deadline; none where it ends in one way alone.
    shares_ : ndarray of shape (n_events,)
        How those that reached the deadline ended.
    n_features_in_, feature_names_in_
        As for every estimator.

    References
    ----------
    .. [1] P. Allison (1982), Discrete-time methods for the analysis of event histories, Sociological
       Methodology 13.
    .. [2] G. Tutz and M. Schmid (2016), Modeling discrete time-to-event data, Springer, chapter 8.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> X = np.array([[0.0], [1.0]] * 100)
    >>> y = pd.DataFrame({"event": ["renewed", "failed"] * 100, "duration": [2.0, 9.0] * 100})
    >>> hazard = RenewalHazard(edges=(5, 10)).fit(X, y)
    >>> hazard.predict_cumulative_incidence([[0.0]], [5.0])[0, :, 0].argmax()
    1
    """

    def __init__(
        self,
        edges: Sequence[float] | None = None,
        *,
        deadline: str | None = "days_left",
        estimator: Any = None,
        max_periods: int = 1_000_000,
        random_state: int | None = 0,
    ) -> None:
        self.edges = edges
        self.deadline = deadline
        self.estimator = estimator
        self.max_periods = max_periods
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to landmark rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
            As for :class:`OutcomeClassifier`.
        y : DataFrame or structured array of shape (n_rows,), or array-like of float of shape (n_rows,)
            ``event`` and ``duration`` as given by :func:`certforecast.models.durations.durations`. Durations
            alone stand for rows that all ended, in one way. With ``entry``, a row is seen from that day ahead
            on only: see :func:`certforecast.models.interventions.at_risk`.
        sample_weight : array-like of shape (n_rows,), optional
            As given by :func:`certforecast.models.weighing.landmark_weights`.

        Raises
        ------
        ValueError
            If a duration is not a number over 0, nothing ended, or the inputs do not fit together.
        """
        self.edges_ = _edges(self.edges)
        event, duration = _ends(y)
        frame = self._frame(X, reset=True)
        if len(duration) != len(frame):
            raise ValueError(f"X has {len(frame)} rows, y has {len(duration)}")
        weights = _check_sample_weight(sample_weight, frame, dtype=np.float64, ensure_non_negative=True)
        kept, entry = weights > 0, _entries(y, duration)
        frame, weights, event = frame[kept], weights[kept], event[kept]
        duration, entry = duration[kept], entry[kept]
        self.events_ = np.unique(event[event != CENSORED])
        if not len(self.events_):
            raise ValueError("y has censored rows only: there is nothing to learn from")
        deadline = self._deadlines(frame)
        reached = (duration >= deadline - AT_END) & (event != CENSORED)
        self._fit_last(frame[reached], event[reached], weights[reached])
        seen = list(self._by_period(np.where(reached, CENSORED, event), duration, deadline, entry))
        rows, periods, what, counts = (np.concatenate(parts) for parts in zip(*seen, strict=True))
        kept, scale = self._sampled(what)
        rows, periods, what, counts = rows[kept], periods[kept], what[kept], counts[kept] * scale
        default = OutcomeClassifier("boosted", max_iter=100, random_state=self.random_state)
        model = clone(default if self.estimator is None else self.estimator)
        self.model_, self.none_ = None, 1.0
        if len(np.unique(what)) > 1:
            self.model_ = model.fit(self._moved(frame, rows, periods, deadline), what, weights[rows] * counts)
        elif len(what):
            self.none_ = float(what[0] == _NONE)
        return self

    def predict_cumulative_incidence(self, X: Any, times: Sequence[float] | Floats | None = None) -> Floats:
        """Give the probabilities that a renewal has ended by some times, by event.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
        times : array-like of float, shape (n_times,) or (n_rows, n_times), optional
            In days ahead, the same for all rows or their own; default the ends of the periods.

        Returns
        -------
        ndarray of shape (n_rows, n_events, n_times)
            In the order of `events_`. Each rises with time; together they never exceed 1. Of rows whose
            deadline is unknown nothing is said: 0.

        Raises
        ------
        ValueError
            If a time that is asked of all rows is NaN.
        """
        check_is_fitted(self)
        frame = self._frame(X, reset=False)
        asked = self.edges_[1:] if times is None else np.asarray(times, dtype=np.float64)
        if asked.ndim == 1 and np.isnan(asked).any():  # of a row's own, those of an unknown end are unknown
            raise ValueError("times holds what is no number; give days ahead")
        wanted = np.broadcast_to(asked, (len(frame), asked.shape[-1]))
        if frame.empty:
            return np.zeros((0, len(self.events_), asked.shape[-1]))
        return by_parts(lambda rows: self._incidence(frame.iloc[rows], wanted[rows]), len(frame))

    def predict(self, X: Any) -> Floats:
        """Give the time in days by which it is as likely as not to have ended; shape (n_rows,).

        That is the deadline at the latest. Where there is none and it lies beyond the last period, the end of
        that is given.
        """
        check_is_fitted(self)
        deadline = self._deadlines(self._frame(X, reset=False))
        end = np.where(np.isfinite(deadline), deadline, self.edges_[-1])[:, None]
        knots = np.minimum(self.edges_, end)
        knots[:, -1:] = end  # the last period goes on to it
        # Just before the deadline, where all that is still open ends at once.
        ended = self.predict_cumulative_incidence(X, np.minimum(knots, np.nextafter(end, 0.0))).sum(axis=1)
        rows, after = np.arange(len(ended)), np.clip((ended < 0.5).sum(axis=1), 1, len(self.edges_) - 1)
        low, high = ended[rows, after - 1], ended[rows, after]
        share = np.clip((0.5 - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
        begin = knots[rows, after - 1]
        return np.asarray(begin + share * (knots[rows, after] - begin), dtype=np.float64)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Give the negative integrated Brier score: higher is better, and 0 is perfect.

        At each time, and for each event, it is the squared difference of the cumulative incidence and whether
        the event has come about by then; summed over the events, and averaged over the days up to the longest
        duration in `y`. What was censored is made up for by inverse probability weights.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
        y : DataFrame, structured array or array-like of float
            As for :meth:`fit`. Rows that enter late are left out: that they are seen tells that they had not
            ended before.
        sample_weight : array-like of shape (n_rows,), optional

        Returns
        -------
        float
        """
        check_is_fitted(self)
        event, duration = _ends(y)
        weights = _check_sample_weight(sample_weight, duration, dtype=np.float64)
        kept = _entries(y, duration) == 0
        if not kept.any():
            return float("nan")
        times = np.unique(np.minimum(self.edges_, duration[kept].max()))
        incidence = self.predict_cumulative_incidence(X, times)
        event, duration, weights = event[kept], duration[kept], weights[kept]
        # One that came about and is not among the events seen in training had no chance.
        given = dict(zip(map(str, self.events_), incidence[kept].swapaxes(0, 1), strict=True))
        nothing = np.zeros((len(event), len(times)))
        return -sum(
            integrated_brier(
                event == name, duration, event == CENSORED, given.get(name, nothing), times, weights
            )
            for name in sorted({*given, *event[event != CENSORED]})
        )

    def transform(self, X: Any) -> Floats:
        """Give the cumulative incidences at the ends of the periods, as columns.

        Returns
        -------
        ndarray of shape (n_rows, n_events * n_periods)
            Event by event; with ``set_output(transform="pandas")`` the columns have names.
        """
        ended = self.predict_cumulative_incidence(X)
        return ended.reshape(len(ended), -1)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:  # noqa: ARG002
        """Give names such as ``renewed_by_7`` (days) for the columns of :meth:`transform`.

        Parameters
        ----------
        input_features : object, optional
            Not used; scikit-learn passes it.
        """
        check_is_fitted(self)
        names = [f"{event}_by_{end:g}" for event in self.events_ for end in self.edges_[1:]]
        return np.array(names, dtype=object)

    def proba_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        """Give ``p_on_time, p_slipped, p_failed, p_retired``; shape (n_rows, 4).

        `X` has the column ``days_to_slip``, and `y` had the events ``renewed``, ``failed`` and ``retired``.
        """
        names = list(self.events_)
        renewed, on_time = np.zeros(len(X)), np.zeros(len(X))
        deadline = self._deadlines(X)
        over = np.maximum(np.where(np.isfinite(deadline), deadline, 0.0), self.edges_[-1])
        final = self.predict_cumulative_incidence(X, over[:, None])[:, :, 0]
        if "renewed" in names:
            renewed = final[:, names.index("renewed")]
            slip = np.clip(X["days_to_slip"].to_numpy(dtype=np.float64), 0.0, None)
            by = self.predict_cumulative_incidence(X, slip[:, None])
            on_time = by[:, names.index("renewed"), 0]
        shares = {"on_time": on_time, "slipped": renewed - on_time}
        shares |= {name: final[:, names.index(name)] for name in ("failed", "retired") if name in names}
        table = np.column_stack(list(shares.values()))
        table = table / np.maximum(table.sum(axis=1, keepdims=True), 1e-12)
        return outcome_frame(table, np.array(list(shares)), X.index)

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.positive_only = True
        tags.regressor_tags.poor_score = True  # a median of periods is no close fit of a line
        return tags

    def _incidence(self, frame: pd.DataFrame, asked: Floats) -> Floats:
        """Give the cumulative incidence at the times asked for, shape (n_rows, n_times)."""
        deadline = self._deadlines(frame)
        begins = self.edges_[:-1][self.edges_[:-1] < np.nanmax(deadline, initial=1e-6)]
        open_ = [np.flatnonzero(deadline > begin) for begin in begins]
        middles = [
            (begin + self._until(end, deadline[rows])) / 2
            for rows, begin, end in zip(open_, begins, self.edges_[1:], strict=False)
        ]
        mass, still = np.zeros((len(begins), len(frame), len(self.events_))), np.ones(len(frame))
        for number, hazards in enumerate(self._hazards(frame, open_, middles)):
            rows = open_[number]
            ended = still[rows, None] * hazards
            mass[number, rows] = ended
            still[rows] = np.clip(still[rows] - ended.sum(axis=1), 0.0, None)
        # Within a period, what ends in it does so evenly.
        at = np.minimum(asked, deadline[:, None])
        period = np.clip(np.searchsorted(self.edges_, at) - 1, 0, len(begins) - 1)
        ends = self._until(self.edges_[period + 1], deadline[:, None])
        share = np.clip((at - begins[period]) / (ends - begins[period]), 0.0, 1.0)
        share[np.isnan(deadline)] = 0.0  # of what has an unknown end, nothing is said
        before, row = np.zeros_like(mass), np.arange(len(frame))[:, None]
        np.cumsum(mass[:-1], axis=0, out=before[1:])
        found = (before[period, row] + share[:, :, None] * mass[period, row]).swapaxes(1, 2)
        if np.isfinite(deadline).any():
            over = still[:, None] * self._at_deadline(frame)
            found += over[:, :, None] * (asked >= deadline[:, None])[:, None, :]
        return found

    def _hazards(
        self, frame: pd.DataFrame, rows: list[npt.NDArray[np.intp]], middles: list[Floats]
    ) -> Iterator[Floats]:
        """Give for each period the probabilities that those still open end in it; shape (n, n_events)."""
        if self.model_ is None:
            for some in rows:
                yield np.tile([1.0 - self.none_] + [0.0] * (len(self.events_) - 1), (len(some), 1))
            return
        changes = [
            (some, self._changed(frame, some, middle)) for some, middle in zip(rows, middles, strict=True)
        ]
        if isinstance(self.model_, OutcomeClassifier):
            told = self.model_.predict_changed(frame.assign(ahead=0.0), changes)
        else:
            told = (self.model_.predict_proba(frame.iloc[some].assign(**new)) for some, new in changes)
        classes = list(self.model_.classes_)
        for given in told:
            hazards = np.zeros((len(given), len(self.events_)))
            for place, event in enumerate(self.events_):
                if event in classes:
                    hazards[:, place] = given[:, classes.index(event)]
            yield hazards

    def _fit_last(self, frame: pd.DataFrame, event: npt.NDArray[Any], weights: Floats) -> None:
        total = max(float(weights.sum()), 1e-12)
        self.shares_ = np.array([weights[event == name].sum() for name in self.events_]) / total
        if not len(event):
            self.shares_ = np.full(len(self.events_), 1.0 / len(self.events_))
        self.last_ = None
        if len(np.unique(event)) > 1:
            self.last_ = OutcomeClassifier(method="logistic").fit(frame, event, weights)

    def _at_deadline(self, frame: pd.DataFrame) -> Floats:
        if self.last_ is None:
            return np.tile(self.shares_, (len(frame), 1))
        given = np.zeros((len(frame), len(self.events_)))
        given[:, np.searchsorted(self.events_, self.last_.classes_)] = self.last_.predict_proba(frame)
        return given

    def _by_period(
        self, event: npt.NDArray[Any], duration: Floats, deadline: Floats, entry: Floats
    ) -> Iterator[tuple[npt.NDArray[Any], ...]]:
        """List for each period the rows open in it, its number, what happened, and how much was seen."""
        last = len(self.edges_) - 2
        for number, (begin, end) in enumerate(zip(self.edges_[:-1], self.edges_[1:], strict=True)):
            rows = np.flatnonzero((duration > begin) & (deadline > begin) & (entry < end))
            ends = self._until(end, deadline[rows])
            by = duration[rows] <= (np.inf if number == last else ends)
            what = np.where(by & (event[rows] != CENSORED), event[rows], _NONE)
            seen = np.minimum(duration[rows], ends) - np.maximum(entry[rows], begin)
            share = np.clip(seen / (ends - begin), 0.0, 1.0)
            yield rows, np.full(len(rows), number), what, np.where(what == _NONE, share, 1.0)

    def _sampled(self, what: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], Floats]:
        """Choose `max_periods` at most, and say how many each one stands for."""
        if len(what) <= self.max_periods:
            return np.arange(len(what)), np.ones(len(what))
        quiet, loud = np.flatnonzero(what == _NONE), np.flatnonzero(what != _NONE)
        wanted = min(len(quiet), max(self.max_periods - len(loud), self.max_periods // 10))
        drawn = np.random.default_rng(self.random_state).choice(quiet, wanted, replace=False)
        kept = np.sort(np.concatenate([loud, drawn]))
        return kept, np.where(what[kept] == _NONE, len(quiet) / max(wanted, 1), 1.0)

    def _moved(
        self,
        frame: pd.DataFrame,
        rows: npt.NDArray[np.int64],
        periods: npt.NDArray[np.int64],
        deadline: Floats,
    ) -> pd.DataFrame:
        ends = self._until(self.edges_[periods + 1], deadline[rows])
        changed = self._changed(frame, rows, (self.edges_[periods] + ends) / 2)
        return frame.iloc[rows].reset_index(drop=True).assign(**changed)

    def _changed(self, frame: pd.DataFrame, rows: npt.NDArray[np.intp], ahead: Floats) -> dict[str, Floats]:
        """Give what changes in rows in some days ahead, and the days themselves as a column."""
        moved = {
            name: frame[name].to_numpy(np.float64)[rows]
            for name in (*_AGES, *_SHARES, "validity_days")
            if name in frame
        }
        changed = {"ahead": ahead}
        changed |= {name: moved[name] + step * ahead for name, step in _AGES.items() if name in moved}
        if "validity_days" in moved:
            lifetime = np.maximum(moved["validity_days"], 1e-9)
            changed |= {name: moved[name] + ahead / lifetime for name in _SHARES if name in moved}
        if "days_left" in moved and "log_days_left" in frame:
            changed["log_days_left"] = np.log(np.maximum(changed["days_left"], 0.0) + 0.25)
        return changed

    def _until(self, end: float | Floats, deadline: Floats) -> Floats:
        """Give where periods end for rows with these deadlines."""
        beyond = (end == self.edges_[-1]) & np.isfinite(deadline)
        return np.asarray(np.where(beyond, deadline, np.minimum(end, deadline)), dtype=np.float64)

    def _deadlines(self, frame: pd.DataFrame) -> Floats:
        if self.deadline is None or self.deadline not in frame:
            return np.full(len(frame), np.inf)
        return np.asarray(np.maximum(frame[self.deadline].to_numpy(dtype=np.float64), 1e-6))

    def _frame(self, X: Any, *, reset: bool) -> pd.DataFrame:
        if isinstance(X, pd.DataFrame):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X.rename(columns=str)
        values = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
        return pd.DataFrame(values, columns=[f"x{number}" for number in range(values.shape[1])])


def _edges(given: Sequence[float] | None) -> Floats:
    edges: Floats = np.asarray((0.0, *(EDGES if given is None else given)), dtype=np.float64)
    if len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"edges are {given!r}; give the ends of the periods in days, over 0 and rising")
    return edges


def _ends(y: Any) -> tuple[npt.NDArray[Any], Floats]:
    """Read events and durations from any of the forms that `fit` takes."""
    names = y.dtype.names if isinstance(y, np.ndarray) else getattr(y, "columns", None)
    if names is not None and {"event", "duration"} <= set(names):
        event = np.asarray(y["event"]).astype(str)
        duration = np.asarray(y["duration"], dtype=np.float64)
    else:
        if y is None:
            raise ValueError("this estimator requires y to be passed, but the target y is None")
        # Raises for more than one column: with events, they are to be named event and duration.
        duration = column_or_1d(check_array(y, ensure_2d=False, dtype=np.float64, input_name="y"), warn=True)
        event = np.full(len(duration), "event")
    if not (np.isfinite(duration).all() and (duration > 0).all()):
        raise ValueError("y has durations that are not numbers over 0")
    return event, duration


def _entries(y: Any, duration: Floats) -> Floats:
    names = y.dtype.names if isinstance(y, np.ndarray) else getattr(y, "columns", None)
    if names is None or "entry" not in names:
        return np.zeros(len(duration))
    entry = np.asarray(y["entry"], dtype=np.float64)
    if not ((entry >= 0) & (entry < duration)).all():
        raise ValueError("y has entries that are not between 0 and the duration")
    return entry
