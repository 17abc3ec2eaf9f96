"""Contributions sum to the forecast, for every model and layer, and go to what they are due to."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator

from certforecast.errors import InputError, ModelError
from certforecast.features import FEATURES
from certforecast.features.topics import TOPICS, topic_of
from certforecast.models import OutcomeClassifier, OutcomePool, PriorRate, RenewalHazard, explain
from certforecast.models.contributions import EXPLAINED
from certforecast.models.paths import Margins, Mixture, Path, Rescaled, path_of
from certforecast.models.pool import PRIOR
from certforecast.models.recalibration import Recalibrated
from tests.models.test_classifier import example

RNG = np.random.default_rng(0)


def rows(count: int = 300) -> tuple[pd.DataFrame, np.ndarray]:
    """Give rows with all features, known and unknown, of which some matter."""
    frame, y = example(count)
    frame["days_to_slip"] = frame["days_left"] - 9
    for name, feature in FEATURES.items():
        if name in frame:
            continue
        if feature.kind == "category":
            frame[name] = RNG.choice(["a", "b", "c", None], count)
        else:
            frame[name] = np.where(RNG.random(count) < 0.3, np.nan, RNG.uniform(0, 1, count))
    return frame, y


@pytest.fixture(scope="module")
def pool() -> OutcomePool:
    """All members, with a prior much smaller than the shipped one, which takes its time."""
    X, y = rows()
    numbers = X.select_dtypes("number")
    prior = OutcomeClassifier("boosted", max_iter=8).fit(
        numbers, np.roll(np.where(X.index % 40, y, "retired"), 3)
    )
    return OutcomePool(prior=prior).fit(X, y)


def adds_up(model: Any, X: pd.DataFrame, outcome: str = "failed") -> pd.DataFrame:
    told = explain(model, X, outcome)
    goal = np.isin(model.classes_, EXPLAINED[outcome])
    assert told.probability.to_numpy() == pytest.approx(model.predict_proba(X) @ goal, abs=1e-12)
    assert told.base + told.values.sum(axis=1).to_numpy() == pytest.approx(told.probability, abs=1e-9)
    assert list(told.values.index) == list(X.index)
    return told.values


@pytest.mark.parametrize("outcome", [*EXPLAINED])
def test_they_sum_to_the_forecast_of_the_default_model(pool: OutcomePool, outcome: str) -> None:
    assert {PRIOR, "boosted", "lean", "wide", "issuer's rate"} < set(pool.models_)
    X = rows()[0].iloc[::-1]
    values = adds_up(pool, X, outcome)
    assert (X["days_to_slip"] < 0).any()
    assert values.abs().max().max() > 0.005


def test_they_sum_to_the_forecast_of_the_shipped_model() -> None:
    X, y = rows(20)
    first_day = OutcomePool().fit(X.iloc[:0], y[:0])
    assert list(first_day.models_) == [PRIOR]
    adds_up(first_day, X)


@pytest.mark.parametrize("method", ["blended", "boosted", "logistic"])
@pytest.mark.parametrize("lean", [True, False])
def test_they_sum_to_the_forecast_of_a_classifier(method: Any, lean: bool) -> None:
    X, y = rows()
    values = adds_up(OutcomeClassifier(method, lean=lean).fit(X.assign(empty=np.nan), y), X.assign(empty=0.0))
    assert not values["empty"].any()


def test_two_outcomes_are_enough() -> None:
    X, y = rows()
    adds_up(OutcomeClassifier().fit(X, np.where(y == "failed", y, "on_time")), X)
    members = {"wide": OutcomeClassifier("logistic", lean=False), "rates": PriorRate()}
    adds_up(OutcomePool(members, prior=None).fit(X, np.where(y == "failed", y, "on_time")), X)


def test_a_layer_over_the_pool_is_explained_as_well(pool: OutcomePool) -> None:
    X, y = rows()
    layer = Recalibrated(pool).fit(X, np.roll(y, 1))
    layer.scaling_.scale_, layer.scaling_.shifts_ = 0.6, np.array([0.8, -0.2, 0.0, -0.6])
    adds_up(layer, X)
    prior = FrozenEstimator(OutcomeClassifier("logistic").fit(X, y))
    frozen = OutcomePool({"rates": PriorRate()}, prior=prior).fit(X, y)
    adds_up(frozen, X)


def test_what_becomes_likelier_is_taken_from_the_other_outcomes(pool: OutcomePool) -> None:
    X, _ = rows()
    told = [explain(pool, X, str(outcome)) for outcome in pool.classes_]
    assert sum(one.base for one in told) == pytest.approx(1.0)
    assert sum(one.values for one in told).abs().max().max() < 1e-6  # up to the quadrature
    late = explain(pool, X, "late")
    both = sum(explain(pool, X, outcome).values for outcome in ("slipped", "failed"))
    pd.testing.assert_frame_equal(late.values, both, atol=1e-6)


def test_credit_goes_to_what_matters() -> None:
    X, y = example(2000)
    values = adds_up(OutcomeClassifier("boosted").fit(X, y), X)
    doomed = (X["issuer_org"] == "Bad") & (X["days_left"] < 30)
    assert values[doomed]["issuer_org"].mean() > 0.1
    assert values[doomed]["days_left"].mean() > 0.1
    assert values[X["issuer_org"] != "Bad"]["issuer_org"].mean() < -0.01
    assert values[["noise", "days_past_due"]].abs().mean().max() < 0.5 * values["issuer_org"].abs().mean()


def test_what_the_slip_point_rules_out_is_credited_to_it() -> None:
    X, y = rows()
    X["days_to_slip"] = np.nan
    model = OutcomeClassifier("logistic", lean=False).fit(X, y)
    before, after = (adds_up(model, X.assign(days_to_slip=days)) for days in (np.nan, -1.0))
    assert (after["days_to_slip"] > 0).all()
    pd.testing.assert_frame_equal(after.drop(columns="days_to_slip"), before.drop(columns="days_to_slip"))


def test_a_row_is_explained_alike_alone_and_among_others(pool: OutcomePool) -> None:
    X, _ = rows()
    alone = explain(pool, X.iloc[[7]]).values
    pd.testing.assert_frame_equal(alone, explain(pool, X).values.iloc[[7]], atol=1e-12)
    assert explain(pool, X.iloc[:0]).values.shape == (0, X.shape[1])


def test_slopes_are_those_of_the_probabilities() -> None:
    """Along the path, the slope of a probability is that by the log-odds times their pace."""
    margins = [Margins(RNG.normal(size=3), RNG.normal(size=(4, 3, 2)), ["a", "b"]) for _ in range(2)]
    inner = Mixture([(0.3, margins[0], np.arange(3)), (0.7, margins[1], np.array([0, 1, 3]))], 4, 0.05)
    path: Path = Rescaled(inner, np.array([0.5, 2.0, 1.0, 1.0]), RNG.normal(size=4), 0.02)
    goal = RNG.normal(size=4)
    for t in (0.1, 0.6, 0.95):
        p, pull = path.at(t)
        slopes = pull(np.broadcast_to(goal, p.shape))
        pace = sum(
            (slope * leaf.parts.sum(axis=2)).sum(axis=1)
            for slope, leaf in zip(slopes, path.leaves, strict=True)
        )
        change = (path.at(t + 1e-6)[0] - path.at(t - 1e-6)[0]) @ goal / 2e-6
        assert pace == pytest.approx(change, abs=1e-6)


def test_topics_take_features_together(pool: OutcomePool) -> None:
    told = explain(pool, rows()[0].head(20))
    topics = told.by_topic()
    assert set(topics) <= set(TOPICS)
    assert topics.sum(axis=1).to_numpy() == pytest.approx(told.values.sum(axis=1).to_numpy())
    owner = [name for name in told.values if topic_of(name) == "owner"]
    assert owner == ["owner_late_rate", "owner_failed_rate", "owner_overdue_share"]
    assert topics["owner"].to_numpy() == pytest.approx(told.values[owner].sum(axis=1).to_numpy())
    assert topics["other"].to_numpy() == pytest.approx(told.values["noise"].to_numpy())


def test_what_cannot_be_explained_is_refused() -> None:
    X, y = example(60)
    with pytest.raises(ModelError, match="DummyClassifier cannot be explained: tell how"):
        explain(DummyClassifier().fit(X, y), X)  # type: ignore[arg-type]
    for model in (RenewalHazard((30, 90)).fit(X, X["days_left"] + 1), OutcomePool()):
        with pytest.raises(
            ModelError, match=r"cannot be explained: it is not fitted, or gives no probabilit"
        ):
            explain(model, X)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'lost' is none of on_time, slipped, failed, retired, late"):
        explain(OutcomeClassifier().fit(X, y), X, "lost")


def test_a_model_that_does_otherwise_than_its_path_says_is_refused() -> None:
    class Bolder(OutcomeClassifier):
        def predict_proba(self, X: Any) -> Any:
            return super().predict_proba(X) ** 2

    X, y = example(60)
    assert isinstance(path_of(Bolder().fit(X, y), X), Margins)
    with pytest.raises(ModelError, match="come about otherwise"):
        explain(Bolder().fit(X, y), X)


@pytest.mark.parametrize("days", [-1.0, 5.0])
def test_a_broken_contribution_is_refused_on_either_side_of_the_slip_point(
    pool: OutcomePool, days: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = rows(60)
    X["days_to_slip"] = days
    plain = OutcomeClassifier("logistic", lean=False).fit(*rows())
    layer = Recalibrated(pool).fit(X, y)
    layer.scaling_.scale_, layer.scaling_.shifts_ = 0.6, np.array([0.8, -0.2, 0.0, -0.6])
    right = Margins.scores

    def wrong(self: Margins, t: float) -> Any:
        """Give log-odds that are a little off for each class: not those of the model."""
        return right(self, t) + 0.01 * np.arange(len(self.base))

    for model in (plain, pool, layer):
        adds_up(model, X)
        with monkeypatch.context() as broken:
            broken.setattr(Margins, "scores", wrong)
            with pytest.raises(ModelError, match="come about otherwise"):
                explain(model, X)
