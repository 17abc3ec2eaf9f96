"""The classifier: an honest scikit-learn estimator that learns, and copes with what it has not seen."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context

from certforecast.models import OutcomeClassifier, explain
from certforecast.models.training import trainable
from certforecast.policy import RenewalPolicy
from tests.timeline import day


def example(rows: int = 600, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "days_left": rng.uniform(0, 90, rows),
            "days_past_due": rng.uniform(-60, 30, rows),
            "issuer_org": rng.choice(["Good", "Bad", "Ugly"], rows, p=[0.6, 0.3, 0.1]),
            "noise": np.where(rng.random(rows) < 0.3, np.nan, rng.normal(size=rows)),
        }
    )
    risk = 0.05 + 0.6 * (frame["issuer_org"] == "Bad") * (frame["days_left"] < 30)
    draw = rng.random(rows)
    y = np.where(draw < risk, "failed", np.where(draw < risk + 0.1, "slipped", "on_time"))
    return frame, y


@pytest.mark.parametrize("method", ["blended", "boosted", "logistic"])
def test_it_learns_what_there_is_to_learn(method: Any) -> None:
    X, y = example()
    model = OutcomeClassifier(method=method).fit(X, y)
    unseen, outcome = example(seed=1)
    p = model.proba_frame(unseen)
    assert list(p.columns) == ["p_on_time", "p_slipped", "p_failed", "p_retired"]
    assert np.allclose(p.sum(axis=1), 1.0)
    assert (p["p_retired"] == 0).all()
    doomed = (unseen["issuer_org"] == "Bad") & (unseen["days_left"] < 30)
    # The risk lies in a conjunction, which a sum of curves can only hint at.
    factor = 1.5 if method == "logistic" else 3.0
    assert p["p_failed"][doomed].mean() > factor * p["p_failed"][~doomed].mean()
    assert abs(p["p_failed"].mean() - (outcome == "failed").mean()) < 0.04


@pytest.mark.parametrize("method", ["blended", "boosted", "logistic"])
def test_it_copes_with_the_unseen(method: Any) -> None:
    X, y = example()
    model = OutcomeClassifier(method=method).fit(X.assign(empty=np.nan), y)
    odd = X.head(4).assign(issuer_org=["New", None, "Good", ""], noise=np.nan, empty=[1.0, np.nan, 2.0, 3.0])
    assert np.isfinite(model.predict_proba(odd)).all()


def test_the_same_seed_gives_the_same_probabilities() -> None:
    X, y = example()
    first, second = (OutcomeClassifier().fit(X, y).predict_proba(X) for _ in range(2))
    assert (first == second).all()


@pytest.mark.parametrize("method", ["blended", "boosted", "logistic"])
def test_past_the_slip_point_nothing_is_on_time(method: Any) -> None:
    X, y = example()
    model = OutcomeClassifier(method=method).fit(X.assign(days_to_slip=X["days_left"] - 9), y)
    before, after = (model.proba_frame(X.assign(days_to_slip=days)) for days in (0.0, -1e-9))
    assert (before["p_on_time"] > 0).all()
    assert (after["p_on_time"] == 0).all()
    assert np.allclose(after.sum(axis=1), 1.0)
    assert np.allclose(
        after["p_failed"] / after["p_slipped"], before["p_failed"] / before["p_slipped"], rtol=0.2
    )


def test_weights_count() -> None:
    X, y = example()
    weights = np.where(y == "failed", 20.0, 1.0)
    heavy = OutcomeClassifier().fit(X, y, sample_weight=weights).proba_frame(X)
    assert heavy["p_failed"].mean() > 2 * OutcomeClassifier().fit(X, y).proba_frame(X)["p_failed"].mean()


def test_one_class_or_an_unknown_method_is_refused() -> None:
    X, y = example(50)
    with pytest.raises(ValueError, match="one class only"):
        OutcomeClassifier().fit(X, np.full(50, "on_time"))
    with pytest.raises(ValueError, match="choose blended, boosted or logistic"):
        OutcomeClassifier(method="magic").fit(X, y)  # type: ignore[arg-type]


def landmark_rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "fingerprint": ["a", "a", "b", "c", "d", "e"],
            "as_of": [day(10), day(20), day(10), day(10), day(10), day(150)],
            "not_after": [day(90), day(90), day(90), day(200), day(90), day(90)],
            "outcome": ["on_time", "on_time", "open", "on_time", "failed", "on_time"],
            "resolved_at": [day(60), day(60), pd.NaT, day(60), day(91), day(60)],
            "intervention": [False, False, False, False, True, False],
        }
    )


def test_a_row_is_learned_from_only_when_any_outcome_would_be_known() -> None:
    rows = landmark_rows()
    policy = RenewalPolicy()
    assert trainable(rows, day(119), policy).tolist() == [False] * 6
    # b is open, c might yet fail, d was our own doing, e lies after the cutoff.
    assert trainable(rows, day(120), policy).tolist() == [True, True, False, False, False, False]


def test_numbers_may_come_as_objects() -> None:
    """As JSON gives them, where some are unknown."""
    X, y = example()
    objects = X.assign(noise=X["noise"].astype(object).where(X["noise"].notna(), None), empty=None)
    model = OutcomeClassifier().fit(objects, y)
    plain = OutcomeClassifier().fit(X.assign(empty=np.nan), y)
    assert (model.predict_proba(objects) == plain.predict_proba(X.assign(empty=np.nan))).all()
    one = objects.head(1).assign(noise=[None], issuer_org=5)
    assert np.isfinite(model.predict_proba(one)).all()
    with pytest.raises(ValueError, match="column days_left has to hold numbers, and does not"):
        model.predict_proba(objects.head(1).assign(days_left="soon"))


def test_classes_of_ones_own_are_no_outcomes() -> None:
    X, y = example()
    model = OutcomeClassifier().fit(X, np.where(y == "failed", "broken", y))
    with pytest.raises(ValueError, match="broken is no outcome of a renewal"):
        model.proba_frame(X)


def test_what_cannot_be_learned_from_is_said() -> None:
    X, y = example()
    with pytest.raises(ValueError, match="X has no rows"):
        OutcomeClassifier().fit(X.head(0), y[:0])
    with pytest.raises(ValueError, match="Negative values"):
        OutcomeClassifier().fit(X, y, -np.ones(len(y)))


@pytest.mark.parametrize("method", ["blended", "logistic"])
def test_a_class_that_is_rare_among_many_rows_is_seen(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("certforecast.models.classifier.MOST_ROWS", 50)
    X, y = example()
    X["rarely"] = np.where(np.arange(len(X)) == 7, 1.0, np.nan)  # known in a row that is not drawn
    y[599] = "retired"
    model = OutcomeClassifier(method, max_iter=2).fit(X, y)
    assert model.proba_frame(X)["p_retired"].max() > 0
    told = explain(model, X.head(20), "failed")
    total = told.base + told.values.sum(axis=1)
    assert total.to_numpy() == pytest.approx(told.probability.to_numpy())


@pytest.mark.parametrize("method", ["blended", "boosted", "logistic"])
def test_what_scikit_learn_is_told_to_give_to_others_changes_nothing(method: Any) -> None:
    X, y = example()
    given = OutcomeClassifier(method).fit(X, y).predict_proba(X)
    with config_context(transform_output="pandas"):
        assert (OutcomeClassifier(method).fit(X, y).predict_proba(X) == given).all()


def test_rows_that_are_lists_have_probabilities_of_outcomes() -> None:
    X = [[1.0], [2.0], [80.0], [90.0]] * 20
    model = OutcomeClassifier("logistic").fit(X, ["failed", "failed", "on_time", "on_time"] * 20)
    assert model.proba_frame([[3.0]])["p_failed"].tolist() == [model.predict_proba([[3.0]])[0, 0]]
