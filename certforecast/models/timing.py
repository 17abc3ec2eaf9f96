"""When an outcome comes about, given that it does, and in which days the renewal is to be expected."""

from typing import TYPE_CHECKING, Any, Final, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, clone  # noqa: TID253 (an estimator is one by inheritance)
from sklearn.utils.validation import check_consistent_length, check_is_fitted  # noqa: TID253

from certforecast.models.classifier import OutcomeClassifier
from certforecast.models.conformal import LEVELS, Corrected, corrected, needed
from certforecast.models.hazard import EDGES, RenewalHazard
from certforecast.models.weighing import learning_weights
from certforecast.renewals import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sklearn.utils import Tags

__all__ = ["RenewalTimes"]

Floats = npt.NDArray[np.float64]

#: With so many own renewals, half of what may be taken from the shipped model has been taken from it.
_HALF_FADED: Final = 100.0
#: What own history may take in the end. On three real histories and two fleets, the mean of both was best.
_MOST: Final = 0.5
#: Fewer own renewals are not worth a model of their own.
_LEAST_RENEWALS: Final = 30
#: Rows to learn from at most: each becomes many, one for each period.
_MOST_ROWS: Final = 100_000
#: Where the training time is split to see how far the forecasts are off.
_ORIGIN: Final = 0.6
#: The columns of the class of lifetime, and of the days since it fell due. What is renewed by hand once a
#: year is foreseen less well, and what is overdue not at all like the rest.
_CLASS: Final = "validity_profile"
_PAST_DUE: Final = "days_past_due"


class RenewalTimes(BaseEstimator):  # type: ignore[misc]
    """The time of each outcome, given the outcome, with intervals that cover as often as they say.

    The shape in time is the mean of two hazard models, a shipped one and one of the fleet's own history,
    which comes in as renewals do. How the two are off is seen on renewals that came after an early part of
    the training time: the forecast probability of coming no later than it came is uniform where forecasts
    are right. Its observed quantiles correct the levels of intervals: recalibration [1]_, by distributional
    conformal prediction [2]_, split by time. Each class of lifetime has levels of its own, and within it what
    is past due and what is not, drawn to those of all together, or of the class, where there are few renewals
    (Mondrian conformal prediction [3]_, shrunk). Where intervals that were corrected half-way would have
    covered too little of what came next, wider ones are given. As the model in use is trained on more than
    the one that was corrected, and fleets change, this guarantees nothing: backtests say how often intervals
    cover.

    Parameters
    ----------
    hazard : RenewalHazard, optional
        Unfitted; for the fleet's own history.
    prior : {"shipped", None} or FrozenEstimator
        A fitted `RenewalHazard` with the same edges. The shipped one is left out where `X` lacks its columns.

    Attributes
    ----------
    own_, prior_ : RenewalHazard or None
    share_ : float
        Weight of the own one.
    levels_ : ndarray of shape (401,)
        Observed quantiles of the forecast probabilities, at levels evenly spaced from 0 to 1.
    levels_by_class_ : dict of str to ndarray of shape (401,)
        The same by class of lifetime, then by whether such a one is past due, for those that were seen.
    needed_ : ndarray of shape (401,)
        The level to ask for where an interval of each of these levels is wanted.
    renewals_ : int
        Renewals that they were observed on.

    References
    ----------
    .. [1] V. Kuleshov, N. Fenner, S. Ermon (2018), Accurate uncertainties for deep learning using calibrated
       regression, ICML.
    .. [2] V. Chernozhukov, K. Wüthrich, Y. Zhu (2021), Distributional conformal prediction, PNAS 118(48).
    .. [3] V. Vovk, A. Gammerman, G. Shafer (2005), Algorithmic learning in a random world, Springer,
       chapter 4.
    """

    def __init__(self, hazard: RenewalHazard | None = None, *, prior: Any = "shipped") -> None:
        self.hazard = hazard
        self.prior = prior

    def fit(self, X: pd.DataFrame, y: pd.DataFrame, *, landmarks: pd.DataFrame) -> Self:
        """Learn from rows whose outcome is settled.

        Parameters
        ----------
        X : DataFrame of shape (n_rows, n_features)
            With ``days_left`` and ``days_to_slip``. May be empty if there is a prior.
        y : DataFrame of shape (n_rows, 2)
            As given by :func:`certforecast.models.durations.durations`.
        landmarks : DataFrame of shape (n_rows, 3 to 5)
            As given by :func:`certforecast.models.training.settling`; with ``weight``, a renewal counts for
            so many.

        Raises
        ------
        ValueError
            If there is too little to learn from and no prior, or the inputs do not fit together.
        """
        check_consistent_length(X, y, landmarks)
        if len(X) > _MOST_ROWS:
            drawn = np.random.default_rng(0).choice(len(X), _MOST_ROWS, replace=False)
            X, y, landmarks = (table.iloc[np.sort(drawn)] for table in (X, y, landmarks))
        X, y, landmarks = (table.reset_index(drop=True) for table in (X, y, landmarks))
        self.prior_ = self._prior(X)
        self.own_, self.share_ = self._own(X, y, landmarks)
        if self.own_ is None and self.prior_ is None:
            raise ValueError("too few renewals to learn from, and no prior")
        self.levels_, self.needed_, self.renewals_ = LEVELS.copy(), LEVELS.copy(), 0
        self.levels_by_class_: dict[str, Floats] = {}
        if len(X):
            origin = landmarks["as_of"].quantile(_ORIGIN, interpolation="nearest")
            early = (landmarks["settled"] <= origin).to_numpy()
            later = ((landmarks["as_of"] > origin) & (y["event"] == "renewed")).to_numpy()
            own, share = self._own(X[early], y[early], landmarks[early])
            if later.any() and (own is not None or self.prior_ is not None):
                self._calibrate(X[later], y[later], landmarks[later], own, share)
        return self

    def predict_incidence(self, X: pd.DataFrame, probabilities: Any, times: "Sequence[float]") -> Floats:
        """Spread the probabilities of outcomes over time.

        Parameters
        ----------
        X : DataFrame of shape (n_rows, n_features)
        probabilities : array-like of shape (n_rows, 4)
            In the order of :data:`certforecast.renewals.OUTCOMES`.
        times : sequence of float, shape (n_times,)
            In days ahead.

        Returns
        -------
        ndarray of shape (n_rows, 4, n_times)
            The probability that each outcome has come about by then. What fails does so at its expiry; what
            is on time is so before the slip point, and what slips, after it.

        Raises
        ------
        ValueError
            If a time is NaN.
        """
        check_is_fitted(self)
        given, asked = np.asarray(probabilities, np.float64), np.asarray(times, np.float64)
        if np.isnan(asked).any():
            raise ValueError("times holds what is no number; give days ahead")
        end = _deadlines(X)[:, None]
        slip = np.clip(X["days_to_slip"].to_numpy(np.float64)[:, None], 0.0, end)
        at = np.column_stack([np.minimum(asked, end), slip, end])
        renewed, retired = self._shares_ended(X, at, self.own_, self.share_, ("renewed", "retired"))
        # Where the models hold it impossible, any day is as good as another.
        by, by_slip = renewed[:, :-2], renewed[:, -2:-1]
        early = _ratio(by, by_slip, asked, slip)
        late = _ratio(by - by_slip, 1.0 - by_slip, asked - slip, end - slip)
        parts = {
            "on_time": early,
            "slipped": late,
            "failed": (asked >= end).astype(np.float64),
            "retired": retired[:, :-2],
        }
        return given[:, :, None] * np.stack([parts[name] for name in OUTCOMES], axis=1)

    def predict_interval(self, X: pd.DataFrame, level: float = 0.9) -> pd.DataFrame:
        """Say when the renewal is to be expected, if it comes before the expiry.

        Parameters
        ----------
        X : DataFrame of shape (n_rows, n_features)
        level : float
            Share of renewals that come within their interval.

        Returns
        -------
        DataFrame of shape (n_rows, 3)
            ``low``, ``median``, ``high`` in days ahead, on the index of `X`.

        Raises
        ------
        ValueError
            If `level` is not between 0 and 1.
        """
        check_is_fitted(self)
        if not 0 < level < 1:
            raise ValueError(f"level is {level}; give a share between 0 and 1")
        knots = _knots(X)
        (curve,) = self._shares_ended(X, knots, self.own_, self.share_, ("renewed",))
        wide = float(np.interp(level, LEVELS, self.needed_))
        levels = {"low": (1 - wide) / 2, "median": 0.5, "high": (1 + wide) / 2}
        known = Corrected(self.levels_, self.levels_by_class_)
        wanted = known.probabilities([*levels.values()], _classes(X), len(X))
        columns = {name: _at(curve, knots, wanted[:, place]) for place, name in enumerate(levels)}
        return pd.DataFrame(columns, index=X.index)

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # it moves days and deadlines on, which it knows by name
        return tags

    def _prior(self, X: pd.DataFrame) -> RenewalHazard | None:
        if self.prior is None or hasattr(self.prior, "events_"):
            return cast("RenewalHazard | None", self.prior)
        if not isinstance(self.prior, str) or self.prior != "shipped":
            raise ValueError(f"prior is {self.prior!r}; choose 'shipped', None or a fitted RenewalHazard")
        from certforecast.models.prior import shipped_times

        prior = shipped_times()
        return prior if set(X) >= set(prior.feature_names_in_) else None

    def _own(
        self, X: pd.DataFrame, y: pd.DataFrame, landmarks: pd.DataFrame
    ) -> tuple[RenewalHazard | None, float]:
        names = landmarks["fingerprint"]
        renewals = names[y["event"] == "renewed"].nunique()
        if renewals < _LEAST_RENEWALS:
            return None, 0.0
        # Half of the shape comes from here at most: a lighter model than usual does.
        light = OutcomeClassifier("boosted", max_iter=50, random_state=0)
        hazard = RenewalHazard(estimator=light, max_periods=100_000)
        fitted = (hazard if self.hazard is None else clone(self.hazard)).fit(
            X, y, learning_weights(landmarks)
        )
        return fitted, 1.0 if self.prior_ is None else _MOST * renewals / (renewals + _HALF_FADED)

    def _calibrate(
        self,
        X: pd.DataFrame,
        y: pd.DataFrame,
        landmarks: pd.DataFrame,
        own: RenewalHazard | None,
        share: float,
    ) -> None:
        (curve,) = self._shares_ended(X, _knots(X), own, share, ("renewed",))
        said = _at(_knots(X), curve, y["duration"].to_numpy(np.float64))
        weights, classes = learning_weights(landmarks), _classes(X)
        found = corrected(said, weights, classes)
        self.levels_, self.levels_by_class_ = found.all, found.by_class
        half_way = landmarks["as_of"].quantile(0.5, interpolation="nearest")
        early = (landmarks["settled"] <= half_way).to_numpy(bool)
        later = (landmarks["as_of"] > half_way).to_numpy(bool)
        self.needed_ = needed(said, weights, classes, early, later)
        self.renewals_ = int(landmarks["fingerprint"].nunique())

    def _shares_ended(
        self, X: pd.DataFrame, at: Floats, own: RenewalHazard | None, share: float, events: "Sequence[str]"
    ) -> list[Floats]:
        """Say for each event, of those that end with it before the deadline, what share has by then.

        Each is of the shape of `at`. The models are asked once for all events: that is what takes the time.
        """
        deadlines = _deadlines(X)[:, None]
        told: dict[str, list[tuple[float, Floats]]] = {event: [] for event in events}
        for weight, model in ((share, own), (1.0 - share, self.prior_)):
            known = [] if model is None else [event for event in events if event in model.events_]
            if model is None or not known:
                continue
            names = list(model.events_)
            found = model.predict_cumulative_incidence(
                X[list(model.feature_names_in_)], np.column_stack([at, deadlines])
            )
            for event in known:
                by = found[:, names.index(event)]
                told[event].append((weight, _ratio(by[:, :-1], by[:, -1:], at, deadlines)))
        return [_averaged(parts, np.clip(at / deadlines, 0.0, 1.0)) for parts in told.values()]


def _averaged(parts: "Sequence[tuple[float, Floats]]", otherwise: Floats) -> Floats:
    """Average what was told; one alone counts whatever its weight, and where there is none, the other."""
    if len(parts) < 2:
        return parts[0][1] if parts else otherwise
    (one, ours), (other, theirs) = parts
    return one * ours + other * theirs


def _classes(X: pd.DataFrame) -> list[npt.NDArray[Any]]:
    """Name the class of each row, the widest first: of its lifetime, and whether it is past due."""
    if _CLASS not in X:
        return []
    lifetime = X[_CLASS].astype("str").fillna("").to_numpy(dtype=object)
    if _PAST_DUE not in X:
        return [lifetime]
    past_due = X[_PAST_DUE].to_numpy(np.float64) > 0
    return [lifetime, lifetime + np.where(past_due, ", past due", ", not due")]


def _deadlines(X: pd.DataFrame) -> Floats:
    return np.asarray(np.maximum(X["days_left"].to_numpy(np.float64), 1e-6))


def _knots(X: pd.DataFrame) -> Floats:
    """Give the days between which the hazards are even; shape (n_rows, n_edges)."""
    return np.asarray(np.minimum(np.array([0.0, *EDGES[:-1], np.inf]), _deadlines(X)[:, None]))


def _ratio(part: Floats, whole: Floats, days: Floats, all_days: Floats) -> Floats:
    """Divide, or, where the whole is next to nothing, take the share of the days; kept within 0 and 1."""
    even = np.divide(days, all_days, out=np.ones(part.shape), where=np.broadcast_to(all_days > 0, part.shape))
    enough = np.broadcast_to(whole > 1e-9, part.shape)
    return np.clip(np.divide(part, whole, out=even, where=enough), 0.0, 1.0)


def _at(x: Floats, y: Floats, wanted: Floats) -> Floats:
    """Interpolate in each row: `x`, rising, and `y` of shape (n, k), `wanted` of shape (n,)."""
    after = np.clip((x < wanted[:, None]).sum(axis=1), 1, x.shape[1] - 1)
    rows = np.arange(len(x))
    low, high = x[rows, after - 1], x[rows, after]
    share = np.divide(wanted - low, high - low, out=np.zeros(len(x)), where=high > low)
    begin, end = y[rows, after - 1], y[rows, after]
    return cast("Floats", begin + np.clip(share, 0.0, 1.0) * (end - begin))
