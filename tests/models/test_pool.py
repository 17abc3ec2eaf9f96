"""The pool: an honest estimator that leans on its prior first, and on whatever foresees best later."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from certforecast.features import FEATURES
from certforecast.models import OutcomeClassifier, OutcomePool
from certforecast.models.pool import PRIOR
from certforecast.models.prior import shipped_prior
from certforecast.models.recalibration import Recalibrated
from certforecast.models.timing import RenewalTimes
from tests.models.test_classifier import example

RNG = np.random.default_rng(0)


def timeline(rows: int) -> pd.DataFrame:
    """Give one row a renewal, a day apart, each settled ten days after it was looked at."""
    as_of = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(rows), unit="D")
    names = [f"{number:05}" for number in range(rows)]
    return pd.DataFrame({"as_of": as_of, "settled": as_of + pd.Timedelta(days=10), "fingerprint": names})


def test_what_foresees_best_weighs_most() -> None:
    X, y = example()
    members = {"knows": OutcomePool(prior=None), "guesses": DummyClassifier(strategy="stratified")}
    pool = OutcomePool(members, prior=None).fit(X, y, landmarks=timeline(len(X)))
    assert pool.weights_["knows"] > 0.6
    assert sum(pool.weights_.values()) == pytest.approx(1.0)
    assert pool.judged_ > 300


def test_weights_stay_where_nothing_was_judged() -> None:
    X, y = example()
    pool = OutcomePool(prior=None).fit(X, y)
    assert pool.judged_ == 0
    assert pool.weights_["boosted"] == pool.weights_["wide"] > pool.weights_["past due"]
    assert "past due" in pool.models_
    assert "past due" not in OutcomePool(prior=None).fit(X.drop(columns="days_past_due"), y).models_


def test_judging_looks_only_ahead() -> None:
    """A member that has learned the answers by heart is worth nothing where the answers are new."""
    X, y = example()
    X["id"] = np.arange(len(X), dtype=float)
    learns_by_heart = _ByHeart()
    pool = OutcomePool({"by heart": learns_by_heart, "rates": DummyClassifier()}, prior=None)
    assert pool.fit(X, y, landmarks=timeline(len(X))).weights_["by heart"] < 0.3


class _ByHeart(DummyClassifier):  # type: ignore[misc]
    def fit(self, X: pd.DataFrame, y: Any, sample_weight: Any = None) -> Any:
        super().fit(X, y)
        self.answers_ = dict(zip(X["id"], y, strict=True))
        return self

    def predict_proba(self, X: pd.DataFrame) -> Any:
        """Give the known answer for certain, and for unknown rows another than the likeliest."""
        known = [self.answers_.get(number, "failed") for number in X["id"]]
        return np.asarray([[float(name == answer) for name in self.classes_] for answer in known])


def own_rows(rows: int) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(rows)
    X = pd.DataFrame({name: rng.normal(size=rows) for name in FEATURES})
    for name, feature in FEATURES.items():
        if feature.kind == "category":
            X[name] = rng.choice(["x", "y"], rows)
    X["days_left"] = rng.uniform(0, 90, rows)
    X["days_to_slip"] = X["days_left"] - 10.0
    return X, rng.choice(["on_time", "slipped", "failed"], rows, p=[0.8, 0.1, 0.1])


def test_without_history_the_shipped_model_speaks() -> None:
    X, _ = own_rows(50)
    pool = OutcomePool().fit(X.iloc[:0], np.array([], dtype=str))
    assert pool.weights_ == {PRIOR: 1.0}
    shipped = shipped_prior()
    later = X["days_to_slip"] >= 0
    given = pool.predict_proba(X)[later]
    expected = shipped.predict_proba(X[list(shipped.feature_names_in_)])[later]
    assert given == pytest.approx(expected, abs=1e-3)
    assert set(pool.proba_frame(X)) == {"p_on_time", "p_slipped", "p_failed", "p_retired"}


def test_the_prior_fades_as_history_grows() -> None:
    shares = []
    for rows in (0, 20, 100, 1_000):
        X, y = own_rows(rows)
        shares.append(OutcomePool().fit(X, y).weights_[PRIOR])
    assert shares[0] == 1.0
    assert all(more > less for more, less in pairwise(shares))
    assert shares[-1] == pytest.approx(0.75, abs=0.06)


def test_one_outcome_is_enough_with_a_prior_only() -> None:
    X, _ = own_rows(30)
    y = np.full(30, "on_time")
    pool = OutcomePool().fit(X, y)
    assert set(pool.models_) == {PRIOR}
    assert pool.predict_proba(X)[:, list(pool.classes_).index("failed")].max() < 0.9
    with pytest.raises(ValueError, match="one class only"):
        OutcomePool(prior=None).fit(X, y)


def test_what_nobody_could_foresee_weighs_nothing() -> None:
    X, _ = own_rows(600)
    y = np.where(X["days_to_slip"] < 40, "on_time", "slipped")
    pool = OutcomePool().fit(X, y, landmarks=timeline(len(X)))
    assert pool.judged_ > 300
    assert sum(pool.weights_.values()) == pytest.approx(1.0)


def test_past_the_slip_point_nothing_is_on_time() -> None:
    X, y = own_rows(300)
    table = OutcomePool().fit(X, y).proba_frame(X)
    past = X["days_to_slip"] < 0
    assert (table.loc[past, "p_on_time"] == 0).all()
    assert (table.loc[~past, "p_on_time"] > 0).all()
    assert table.sum(axis=1).to_numpy() == pytest.approx(1.0)


def test_a_prior_is_brought_into_line_by_what_came_about() -> None:
    X = pd.DataFrame({"x": RNG.normal(size=4_000)})
    before = np.where(RNG.random(4_000) < 1 / (1 + np.exp(-X["x"])), "failed", "on_time")
    elsewhere = LogisticRegression().fit(X, before)
    here = np.where(RNG.random(4_000) < 1 / (1 + np.exp(3.0 - X["x"])), "failed", "on_time")
    model = Recalibrated(FrozenEstimator(elsewhere)).fit(X, here)
    assert model.predict_proba(X)[:, 0].mean() == pytest.approx((here == "failed").mean(), abs=0.01)
    assert model.scaling_.scale_ == pytest.approx(1.0, abs=0.2)


def test_few_rows_hardly_move_a_prior() -> None:
    X = pd.DataFrame({"x": RNG.normal(size=400)})
    elsewhere = LogisticRegression().fit(X, np.where(X["x"] > 0, "failed", "on_time"))
    moved = Recalibrated(elsewhere).fit(X[:3], np.full(3, "failed"))
    assert np.abs(moved.scaling_.shifts_).max() < 0.3
    unmoved = Recalibrated(elsewhere).fit(X[:0], np.array([], dtype=str))
    assert unmoved.predict_proba(X) == pytest.approx(elsewhere.predict_proba(X), abs=2e-4)


def test_a_class_the_prior_never_saw_is_left_to_the_others() -> None:
    X, y = own_rows(400)
    y[::2] = "retired"
    prior = FrozenEstimator(DummyClassifier().fit(X, np.where(y == "failed", "failed", "on_time")))
    pool = OutcomePool(prior=prior).fit(X, y, landmarks=timeline(len(X)))
    assert list(pool.classes_) == ["failed", "on_time", "retired", "slipped"]
    assert pool.proba_frame(X)["p_retired"].mean() > 0.1


@pytest.mark.parametrize("prior", ["shiped", OutcomeClassifier(), 3])
def test_a_prior_that_is_none_is_refused_with_what_there_is(prior: Any) -> None:
    X, y = example(60)
    with pytest.raises(ValueError, match=r"prior is .*; choose 'shipped', None or a fitted classifier"):
        OutcomePool(prior=prior).fit(X, y)


@pytest.mark.parametrize("number", [0, -1.0, np.nan, np.inf])
def test_pseudo_renewals_are_a_number_over_0(number: float) -> None:
    X, y = example(60)
    with pytest.raises(ValueError, match=r"pseudo_renewals is .*; give a number over 0"):
        OutcomePool(pseudo_renewals=number).fit(X, y)


def test_every_method_wants_the_columns_of_training_and_takes_no_rows() -> None:
    X, y = example()
    X = X.assign(days_to_slip=X["days_left"] - 9)
    ended = pd.DataFrame({"event": np.where(y == "failed", "failed", "renewed"), "duration": X["days_left"]})
    times = RenewalTimes(prior=None)
    rows = timeline(len(X)).assign(**ended)
    pool = OutcomePool(prior=None, times=times).fit(X, y, landmarks=rows)
    asks: list[Any] = [pool.proba_frame, pool.predict_interval, lambda X: pool.predict_incidence(X, [7.0])]
    for ask in asks:
        assert len(ask(X.head(0))) == 0
        assert len(ask(X.head(3))) == 3
        with pytest.raises(ValueError, match="feature names"):
            ask(X.head(3).assign(another=1.0))
        with pytest.raises(ValueError, match="feature names"):
            ask(X.head(3).drop(columns="noise"))
    with pytest.raises(ValueError, match="no number"):
        pool.predict_incidence(X, [np.nan])


def test_an_unknown_number_is_no_other_row_s_business() -> None:
    X, y = example()
    X.loc[3, ["days_left", "days_past_due"]] = np.nan
    pool = OutcomePool(prior=None).fit(X, y)
    assert {"past due", "fewest days left"} <= set(pool.models_)
    assert (pool.predict_proba(X.iloc[2:5])[[0, 2]] == pool.predict_proba(X.iloc[[2, 4]])).all()


def test_rows_that_weigh_nothing_are_not_there() -> None:
    X, y = example()
    weights = np.ones(len(X))
    odd, more = np.append(y, ["retired"] * 4), pd.concat([X, X.head(4)], ignore_index=True)
    landmarks = timeline(len(X))
    twice = pd.concat([landmarks, landmarks.head(4)], ignore_index=True)
    one = OutcomePool(prior=None).fit(X, y, weights, landmarks=landmarks)
    other = OutcomePool(prior=None).fit(more, odd, np.append(weights, [0.0] * 4), landmarks=twice)
    assert (one.predict_proba(X) == other.predict_proba(X)).all()


def test_landmarks_are_as_many_as_rows() -> None:
    X, y = example()
    for rows in (200, 900):
        with pytest.raises(ValueError, match=f"X has 600 rows, landmarks has {rows}"):
            OutcomePool(prior=None).fit(X, y, landmarks=timeline(rows))
