"""The default model: a pool of models, rules and a shipped prior, weighed by how well each foresaw."""

from typing import TYPE_CHECKING, Any, Final, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, clone  # noqa: TID253 (an estimator is one by inheritance)
from sklearn.utils.multiclass import check_classification_targets  # noqa: TID253
from sklearn.utils.validation import (  # noqa: TID253
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from certforecast.errors import ModelError
from certforecast.models.baselines import RULES, PriorRate
from certforecast.models.classifier import LEAN, SLIP_COLUMN, OutcomeClassifier, index_of, outcome_frame
from certforecast.models.recalibration import Recalibrated, TemperatureScaling
from certforecast.models.told import LEAST, TOLD, Told, told
from certforecast.models.transforming import ProbabilityColumns
from certforecast.models.weighing import learning_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sklearn.utils import Tags

    from certforecast.models.timing import RenewalTimes

__all__ = ["PRIOR", "OutcomePool"]

Floats = npt.NDArray[np.float64]

#: The name of the shipped model among the members.
PRIOR: Final = "prior"

#: Members that see what the prior says of a row, to correct it.
_INFORMED: Final = frozenset({"lean", "wide"})

#: Weights before anything was seen. Models are trusted more than rules, none entirely.
_TRUST: Final = {"boosted": 0.15, "lean": 0.15, "wide": 0.15}
_TRUST_RULE: Final = 0.0625
_TRUST_PRIOR: Final = 0.75

#: The rules among the members. The others of `RULES` are features of the models already.
_RULES: Final = ("fewest days left", "past due", "issuer's rate")

#: With so many own renewals, half of what is taken from the shipped model by and by has been taken from it.
_HALF_FADED: Final = 100.0

#: Shares of the training time at which the members are trained anew, to be judged by what came next.
_ORIGINS: Final = (0.4, 0.55, 0.7, 0.85)

#: Rows to learn from at most: the members are small, and learn no more from more.
_MOST_ROWS: Final = 250_000

#: Rows to judge the members on at most: weights need no more, and this costs a training each.
_JUDGED_ROWS: Final = 50_000

#: Weight, in renewals, of leaving the mixture's probabilities as they are. Rates drift: what was off last
#: year is off another way now, and less of it made every small history worse.
_PENALTY: Final = 1000.0


class OutcomePool(ClassifierMixin, ProbabilityColumns, BaseEstimator):  # type: ignore[misc]
    """A mixture of models, rules and a prior model, for histories of any size.

    Each member gives probabilities of the outcomes; the pool gives their weighted mean, a linear opinion
    pool [1]_. The weights are those under which the members would have foreseen best: each is trained on an
    early part of the training time and judged on what came next, at four moments, and the weights are the
    most probable ones given a Dirichlet prior of some pseudo-renewals [2]_. A mixture's log loss exceeds that
    of its best member by the logarithm of that one's weight at most, so a history too small or too fickle
    for boosting falls back on rates. What the mixture would have foreseen then calibrates it: temperature
    scaling with a bias [3]_, by temporal cross-fitting.

    With little or no history, the shipped model speaks, which was trained on simulated fleets; as renewals
    come in, it is brought into line with them, the regressions learn to correct it, and its weight fades.

    Parameters
    ----------
    members : dict of str to classifier, optional
        Default: boosting, logistic regression on few and on all features, the rules whose columns `X` has,
        and the overall rates. Others start with the weight of a rule.
    prior : {"shipped", None} or FrozenEstimator
        A fitted model to lean on. The shipped one is left out where `X` lacks its columns.
    pseudo_renewals : float
        Weight of the weights' prior: so many renewals argue against leaving it.
    random_state : int or None
        Seed.
    times : RenewalTimes, optional
        Unfitted; fitted along, it tells when. Without it the pool says what will become of a renewal only.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The outcomes seen in training or known to the prior, sorted.
    models_ : dict of str to classifier
        The fitted members. The two regressions correct what the prior says, which is among their columns.
    prior_ : classifier or None
        The model leaned on.
    columns_ : list of str
        The columns of `X`, by name.
    weights_ : dict of str to float
        Their weights; they sum to 1.
    calibration_ : TemperatureScaling or None
        Of the mixture, learned from the same forecasts that the weights were judged by; None without.
    judged_ : int
        Renewals that the weights were judged on; 0 without `landmarks`.
    times_ : RenewalTimes or None
        Fitted, if asked for and `landmarks` said when the rows ended.
    n_features_in_, feature_names_in_
        As for every estimator.

    References
    ----------
    .. [1] M. Stone (1961), The opinion pool, Annals of Mathematical Statistics 32(4).
    .. [2] A. Dempster, N. Laird, D. Rubin (1977), Maximum likelihood from incomplete data via the EM
       algorithm, Journal of the Royal Statistical Society B 39(1).
    .. [3] C. Guo et al. (2017), On calibration of modern neural networks, ICML.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0], [2.0], [80.0], [90.0]] * 20)
    >>> y = np.array(["failed", "failed", "on_time", "on_time"] * 20)
    >>> OutcomePool().fit(X, y).predict([[3.0]])
    array(['failed'], dtype='<U7')
    """

    def __init__(
        self,
        members: dict[str, Any] | None = None,
        *,
        prior: Any = "shipped",
        pseudo_renewals: float = 200.0,
        random_state: int | None = 0,
        times: "RenewalTimes | None" = None,
    ) -> None:
        self.members = members
        self.prior = prior
        self.pseudo_renewals = pseudo_renewals
        self.random_state = random_state
        self.times = times

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, landmarks: pd.DataFrame | None = None
    ) -> Self:
        """Fit the members, and weigh them.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
            As for :class:`OutcomeClassifier`. A frame may be empty if there is a prior.
        y : array-like of shape (n_rows,)
            Outcomes.
        sample_weight : array-like of shape (n_rows,), optional
            As given by :func:`certforecast.models.weighing.landmark_weights`.
        landmarks : DataFrame of shape (n_rows, 3 to 7), optional
            ``as_of``; ``settled``, from when on the row's outcome is known whatever it is; ``fingerprint``;
            as given by :func:`certforecast.models.training.settling`. Without it the weights stay what they
            are before anything was seen. With ``validity_days``, rows of long certificates count for less, as
            they are many; with ``weight``, a renewal counts for so many. With ``event`` and ``duration``, as
            given by :func:`certforecast.models.durations.durations`, `times` is fitted, too.

        Raises
        ------
        ValueError
            If `prior` or `pseudo_renewals` is what it may not be, the inputs do not fit together, or `y` has
            one class only and there is no prior.
        """
        if not 0 < self.pseudo_renewals < np.inf:
            raise ValueError(f"pseudo_renewals is {self.pseudo_renewals}; give a number over 0")
        frame = self._frame(X, reset=True)
        y = column_or_1d(y, warn=True)
        if len(y):
            check_classification_targets(y)
        if len(y) != len(frame):
            raise ValueError(f"X has {len(frame)} rows, y has {len(y)}")
        if landmarks is not None and len(landmarks) != len(frame):
            raise ValueError(f"X has {len(frame)} rows, landmarks has {len(landmarks)}")
        # scikit-learn refuses to weigh no rows; a prior does not need any.
        weights = np.zeros(0)
        if len(y):
            weights = _check_sample_weight(sample_weight, frame, dtype=np.float64, ensure_non_negative=True)
        drawn = _some(np.flatnonzero(weights > 0), np.random.default_rng(self.random_state), _MOST_ROWS)
        if len(drawn) < len(frame):
            frame, y, weights = frame.iloc[drawn].reset_index(drop=True), y[drawn], weights[drawn]
            landmarks = None if landmarks is None else landmarks.iloc[drawn]
        prior = self._prior(frame)
        seen = np.unique(y)
        if len(seen) < 2 and prior is None:
            found = ", ".join(map(repr, seen)) or "none"
            raise ValueError(f"y has one class only ({found}); at least two outcomes are needed")
        self.classes_ = np.unique([*seen, *prior.classes_]) if prior is not None else seen
        self.prior_ = prior
        self.columns_ = list(frame)
        frame = self._informed(frame)
        once = weights if landmarks is None else learning_weights(landmarks)
        self.models_ = self._fitted(frame, y, weights, once)
        self.weights_, self.judged_ = self._trust(list(self.models_), float(once.sum())), 0
        self.calibration_: TemperatureScaling | None = None
        if landmarks is not None:
            self._judge(frame, y, weights, once, landmarks.reset_index(drop=True))
        self.times_ = None
        if self.times is not None and landmarks is not None and "event" in landmarks:
            ended = landmarks[["event", "duration"]]
            self.times_ = clone(self.times).fit(frame[self.columns_], ended, landmarks=landmarks)
        return self

    def predict_proba(self, X: Any) -> Floats:
        """Give the probabilities of the outcomes; shape (n_rows, n_classes), in the order of `classes_`."""
        check_is_fitted(self)
        frame = self._frame(X, reset=False)
        if frame.empty:
            return np.zeros((0, len(self.classes_)))
        frame = self._informed(frame)
        given = [weight * self._given(self.models_[name], frame) for name, weight in self.weights_.items()]
        mixed: Floats = np.sum(given, axis=0)
        if self.calibration_ is None:
            return mixed
        return self._ruled_out(self.calibration_.transform(mixed), frame)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Give the likeliest outcome; shape (n_rows,)."""
        probabilities = self.predict_proba(X)
        return cast("npt.NDArray[Any]", self.classes_[probabilities.argmax(axis=1)])

    def proba_frame(self, X: Any) -> pd.DataFrame:
        """Give ``p_on_time, p_slipped, p_failed, p_retired``; shape (n_rows, 4)."""
        return outcome_frame(self.predict_proba(X), self.classes_, index_of(X))

    def predict_incidence(self, X: pd.DataFrame, times: "Sequence[float]") -> Floats:
        """Give the probability that each outcome has come about by some days ahead.

        Returns
        -------
        ndarray of shape (n_rows, 4, n_times)
            As :meth:`RenewalTimes.predict_incidence` gives it, in the order of
            :data:`certforecast.renewals.OUTCOMES`. It ends at the probabilities of `proba_frame`.

        Raises
        ------
        ModelError
            If the pool was fitted without `times`.
        """
        return self._timed(X).predict_incidence(X, self.proba_frame(X), times)

    def predict_interval(self, X: pd.DataFrame, level: float = 0.9) -> pd.DataFrame:
        """Say when each renewal is to be expected; as :meth:`RenewalTimes.predict_interval`.

        Raises
        ------
        ModelError
            If the pool was fitted without `times`.
        """
        return self._timed(X).predict_interval(X, level)

    def _timed(self, X: pd.DataFrame) -> "RenewalTimes":
        check_is_fitted(self)
        validate_data(self, X, reset=False, skip_check_array=True)
        if self.times_ is None:
            raise ModelError("this model does not say when: train it anew, or fit it with times")
        return cast("RenewalTimes", self.times_)

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _prior(self, frame: pd.DataFrame) -> Any:
        if self.prior is None or hasattr(self.prior, "classes_"):
            return self.prior
        if not isinstance(self.prior, str) or self.prior != "shipped":
            raise ValueError(f"prior is {self.prior!r}; choose 'shipped', None or a fitted classifier")
        from certforecast.models.prior import shipped_prior

        prior = shipped_prior()
        return prior if set(frame) >= set(prior.feature_names_in_) else None

    def _members(self, frame: pd.DataFrame) -> dict[str, Any]:
        if self.members is not None:
            return self.members
        seed = self.random_state
        models = {
            "boosted": OutcomeClassifier("boosted", random_state=seed),
            "lean": OutcomeClassifier("logistic", random_state=seed),
            "wide": OutcomeClassifier("logistic", lean=False, C=0.002, random_state=seed),
        }
        rules = {name: RULES[name]() for name in _RULES if RULES[name].column in frame}
        return {**models, **rules, "overall rates": PriorRate()}

    def _informed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Add what the prior says."""
        return frame if self.prior_ is None else pd.concat([frame, told(self.prior_, frame)], axis=1)

    def _fitted(
        self, frame: pd.DataFrame, y: npt.NDArray[Any], weights: Floats, once: Floats
    ) -> dict[str, Any]:
        """Fit the members where there is something to learn, and bring the prior into line."""
        fitted: dict[str, Any] = {}
        if self.prior_ is not None:
            fitted[PRIOR] = Recalibrated(Told(list(map(str, self.prior_.classes_)))).fit(frame, y, once)
        if len(np.unique(y)) > 1:
            own = frame[self.columns_]
            for name, member in self._members(own).items():
                seen = own
                if self.members is None and name in _INFORMED:
                    few = [it for it in map(str, frame) if it in LEAN or it.startswith(TOLD)]
                    seen = frame[few] if name == "lean" and set(own) >= LEAN else frame
                fitted[name] = clone(member).fit(seen, y, weights)
        return fitted

    def _trust(self, names: list[str], renewals: float) -> dict[str, float]:
        """Give the weights before the members were judged; the prior's fades as renewals come in."""
        trust = {name: _TRUST.get(name, _TRUST_RULE) for name in names if name != PRIOR}
        total = sum(trust.values())
        faded = renewals / (renewals + _HALF_FADED)
        left = (1.0 - _TRUST_PRIOR) * faded if total else 0.0
        if PRIOR not in names:
            left = 1.0
        own = {name: left * share / total for name, share in trust.items()}
        return {**own, PRIOR: 1.0 - left} if PRIOR in names else own

    def _judge(
        self,
        frame: pd.DataFrame,
        y: npt.NDArray[Any],
        weights: Floats,
        once: Floats,
        landmarks: pd.DataFrame,
    ) -> None:
        """See what the members would have foreseen; weigh them by it, and calibrate their mixture."""
        judged, told = [], []
        for early, later in self._folds(landmarks):
            models = self._fitted(frame.iloc[early], y[early], weights[early], once[early])
            if models.keys() != self.models_.keys():
                continue
            judged.append(later)
            told.append(np.stack([self._given(models[name], frame.iloc[later]) for name in self.weights_]))
        if not judged:
            return
        rows, given = np.concatenate(judged), np.concatenate(told, axis=1)
        came, looks = np.searchsorted(self.classes_, y[rows]), landmarks.iloc[rows]
        chances = given[:, np.arange(len(rows)), came]
        # What seemed past its slip point may turn out on time once more is known: nobody foresaw that.
        foreseen = chances.any(axis=0)
        seen = learning_weights(looks)[foreseen]
        before = np.array(list(self.weights_.values()))
        found = _mixed(chances[:, foreseen], seen, self.pseudo_renewals * before)
        self.weights_ = dict(zip(self.weights_, map(float, found), strict=True))
        mixture = np.tensordot(found, given[:, foreseen], axes=1)
        self.calibration_ = TemperatureScaling(_PENALTY).fit(mixture, came[foreseen], seen)
        self.judged_ = int(looks["fingerprint"].nunique())

    def _folds(
        self, landmarks: pd.DataFrame
    ) -> "Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]":
        """Give rows to train on, settled at a moment, and the rows from then to the next moment."""
        rng = np.random.default_rng(self.random_state)
        times = landmarks["as_of"]
        moments = [times.quantile(share, interpolation="nearest") for share in _ORIGINS]
        for begin, end in zip(moments, [*moments[1:], None], strict=True):
            early = np.flatnonzero(landmarks["settled"] <= begin)
            later = np.flatnonzero((times >= begin) & (times < end if end is not None else True))
            if len(early) and len(later):
                yield _some(early, rng, _JUDGED_ROWS), _some(later, rng, _JUDGED_ROWS)

    def _given(self, model: Any, frame: pd.DataFrame) -> Floats:
        """Give a member's probabilities for the classes of the pool: 0 for the impossible only."""
        names = getattr(model, "feature_names_in_", None)
        inputs = frame if names is None else frame[list(names)]
        given = np.full((len(frame), len(self.classes_)), LEAST)
        places = np.searchsorted(self.classes_, model.classes_)
        given[:, places] = np.maximum(model.predict_proba(inputs), LEAST)
        return self._ruled_out(given, frame)

    def _ruled_out(self, given: Floats, frame: pd.DataFrame) -> Floats:
        """Condition on what is known: past the slip point nothing can be on time any more."""
        if SLIP_COLUMN in frame and "on_time" in self.classes_ and len(self.classes_) > 1:
            past = frame[SLIP_COLUMN].to_numpy(dtype=np.float64) < 0
            given[np.ix_(past, self.classes_ == "on_time")] = 0.0
        return cast("Floats", given / given.sum(axis=1, keepdims=True))

    def _frame(self, X: Any, *, reset: bool) -> pd.DataFrame:
        if isinstance(X, pd.DataFrame):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X.rename(columns=str).reset_index(drop=True)
        values = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
        return pd.DataFrame(values, columns=[f"x{number}" for number in range(values.shape[1])])


def _mixed(chances: Floats, counts: Floats, pseudo: Floats) -> Floats:
    """Find the weights of a mixture under which what came was likeliest: EM for a Dirichlet prior.

    `chances`, of shape (n_members, n_rows), is what each member gave to what came; `pseudo`, of shape
    (n_members,), the prior's pseudo-renewals.
    """
    found: Floats = pseudo / pseudo.sum()
    for _ in range(200):
        share = found[:, None] * chances
        drawn = (share / share.sum(axis=0) * counts).sum(axis=1) + pseudo
        found = drawn / drawn.sum()
    return found


def _some(rows: npt.NDArray[np.int64], rng: np.random.Generator, most: int) -> npt.NDArray[np.int64]:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
