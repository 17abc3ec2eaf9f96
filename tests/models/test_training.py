"""From a store to a model: which moments are looked at, what is refused, and that later rows have no say."""

from datetime import timedelta
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from certforecast import models
from certforecast.errors import ModelError
from certforecast.features import FEATURES, IDENTIFIERS
from certforecast.history import History
from certforecast.models import (
    OutcomeClassifier,
    OutcomePool,
    forecast,
    landmarks,
    load_model,
    model_metadata,
    save_model,
    train,
)
from certforecast.models.timing import RenewalTimes
from certforecast.models.training import _place, data_fingerprint, fit_forecaster, fit_rows
from certforecast.policy import RenewalPolicy
from certforecast.settings import Settings
from tests.timeline import Timeline, day

PROBABILITIES = ["p_on_time", "p_slipped", "p_failed", "p_retired"]


def landmark_frame(renewals: int = 120, seed: int = 0) -> pd.DataFrame:
    """Two rows for each renewal, whose issuer decides how it ends; expiries are spread over a year."""
    rng = np.random.default_rng(seed)
    issuer = rng.choice(["Good", "Bad"], renewals)
    expires = [day(90 + number * 365 / renewals) for number in range(renewals)]
    base = pd.DataFrame(
        {
            "fingerprint": [f"{number:04d}" for number in range(renewals)],
            "not_after": expires,
            "outcome": np.where((issuer == "Bad") & (rng.random(renewals) < 0.7), "failed", "on_time"),
            "resolved_at": expires,
            "intervention": False,
        }
    )
    numbers = {name: rng.normal(size=renewals) for name, kind in FEATURES.items() if kind.kind != "category"}
    texts = {name: "x" for name, kind in FEATURES.items() if kind.kind == "category"}
    base = base.assign(**numbers | texts | {"issuer_org": issuer})
    rows = [base.assign(as_of=base["not_after"] - timedelta(days=before)) for before in (40, 20)]
    return pd.concat(rows, ignore_index=True)


def test_public_names_stay_what_they_are_once_their_modules_are_loaded() -> None:
    for name in models.__all__:
        assert not isinstance(getattr(models, name), ModuleType), name
        assert not isinstance(getattr(models, name), ModuleType), f"{name}, asked for again"


def test_landmarks_lie_on_a_grid_from_the_first_known_certificate_to_as_of() -> None:
    timeline = Timeline()
    timeline.certificate("first", "a.example.org", issued=0, known=15)
    with timeline.history() as history:
        # 2025-01-02, day 1 here, lies 1,435 times 14 days after 1970-01-01.
        assert landmarks(history, day(50), 14) == [day(15), day(29), day(43)]
        assert landmarks(history, day(51), 14) == landmarks(history, day(50), 14)
        assert landmarks(history, day(43), 14) == [day(15), day(29)]
        assert landmarks(history, day(15.1), 14) == [day(15)]
        assert landmarks(history, day(15), 14) == []
        assert landmarks(history, day(17), 0.5) == [day(15), day(15.5), day(16), day(16.5)]
    with History(None) as empty:
        assert landmarks(empty, day(50), 14) == []


@pytest.mark.parametrize("seed", range(3))
def test_what_comes_after_the_cutoff_changes_no_probability(seed: int) -> None:
    frame, cutoff, policy = landmark_frame(seed=seed), day(300), RenewalPolicy()
    rng = np.random.default_rng(seed)
    later = (
        (frame["as_of"] >= cutoff)
        | (frame["resolved_at"] > cutoff)
        | (frame["not_after"] + timedelta(days=policy.grace_days) > cutoff)
    )
    changed = frame.copy()
    changed.loc[later, "outcome"] = rng.choice(["slipped", "retired", "failed"], later.sum())
    changed.loc[later, "days_left"] = rng.normal(size=later.sum())
    assert 0 < later.sum() < len(frame)
    asked = frame[list(FEATURES)]
    first, second = (
        fit_forecaster(rows, cutoff, policy, OutcomeClassifier(max_iter=10)).proba_frame(asked)
        for rows in (frame, changed)
    )
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_an_outcome_of_our_own_doing_teaches_nothing() -> None:
    frame, policy = landmark_frame(), RenewalPolicy()
    ours = frame["fingerprint"] < "0030"
    without = frame[~ours]
    censored = frame.assign(intervention=ours, outcome=frame["outcome"].mask(ours, "retired"))
    asked = frame[list(FEATURES)]
    first, second = (
        fit_forecaster(rows, day(600), policy, OutcomeClassifier(max_iter=10)).proba_frame(asked)
        for rows in (without, censored)
    )
    pd.testing.assert_frame_equal(first, second, check_exact=True)


@pytest.mark.parametrize("cutoff", [day(60), day(600)])
def test_too_little_history_is_refused_with_what_to_do(cutoff) -> None:
    frame = landmark_frame().assign(outcome="on_time")
    with pytest.raises(ModelError, match=r"two different outcomes are needed; import older history"):
        fit_forecaster(frame, cutoff, RenewalPolicy(), OutcomeClassifier())


def test_an_empty_store_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with History(None) as history, pytest.raises(ModelError, match="import history first"):
        train(history, day(100), Settings(home=tmp_path))


def test_the_data_fingerprint_is_of_the_rows_not_their_order() -> None:
    frame = landmark_frame(20)
    assert data_fingerprint(frame.sample(frac=1, random_state=1)) == data_fingerprint(frame)
    one_changed = frame.assign(outcome=frame["outcome"].where(frame.index != 3, "slipped"))
    assert data_fingerprint(one_changed) != data_fingerprint(frame)


def test_on_the_first_day_the_shipped_model_forecasts(tmp_path: Path) -> None:
    timeline = Timeline()
    for number in range(30):
        timeline.certificate(f"{number}", f"s{number}.example.org", issued=number, known=100)
    settings = Settings(home=tmp_path / "home")
    with timeline.history() as history:
        trained = train(history, day(100), settings)
        rows = forecast(history, load_model(trained.path, key=settings.home), day(100))
    assert (trained.rows, trained.renewals, trained.outcomes) == (0, 0, {})
    assert trained.summary()["weights"] == {"prior": 1.0}
    assert len(rows) > 10
    assert np.allclose(rows[PROBABILITIES].sum(axis=1), 1.0)
    assert rows["p_failed"].nunique() > 5


def test_a_store_is_trained_on_saved_and_forecast_from(tmp_path: Path) -> None:
    timeline = Timeline()
    for number in range(24):
        name = f"s{number}.example.org"
        timeline.certificate(f"{number} old", name, issued=number)
        # Half are replaced with 30 days to spare, half two days before the end.
        timeline.certificate(f"{number} new", name, issued=number + (60 if number % 2 else 88))
    settings = Settings(home=tmp_path / "home")
    with timeline.history() as history:
        trained = train(history, day(145), settings)
        model = load_model(trained.path, key=settings.home)
        rows = forecast(history, model, day(145))
        none = forecast(history, model, day(-100))

    assert trained.path == settings.champion_path
    assert trained.outcomes == {"on_time": 12, "slipped": 12}
    assert trained.renewals == 24
    assert model_metadata(trained.path, key=settings.home)["data_fingerprint"] == trained.data_fingerprint
    moments = ["renewal_low", "renewal_median", "renewal_high"]
    assert list(rows.columns) == [*IDENTIFIERS, *FEATURES, *PROBABILITIES, *moments]
    assert len(rows) == 24
    assert (rows["as_of"] <= rows["renewal_low"]).all()
    assert (rows["renewal_low"] < rows["renewal_high"]).all()
    assert (rows["renewal_high"] <= rows["not_after"]).all()
    assert np.allclose(rows[PROBABILITIES].sum(axis=1), 1.0)
    assert (rows["p_failed"] > 0).all()  # nothing failed here, but the shipped model has seen it elsewhere
    assert none.empty
    assert list(none.columns) == list(rows.columns)


def test_a_champion_of_before_a_feature_was_added_is_not_pushed_aside(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    rows = landmark_frame(40)
    before = rows[[name for name in FEATURES if name != "rehearsal_failed"]]
    champion = OutcomeClassifier("logistic").fit(before, rows["outcome"])
    save_model(champion, settings.champion_path, key=tmp_path)
    assert _place(settings, None) == (settings.challenger_path, "challenger")


def test_rows_may_share_a_name() -> None:
    frame = landmark_frame().assign(in_service_at=pd.NaT)
    frame["in_service_at"] = frame["not_after"].where(frame["outcome"] == "on_time")
    inputs = frame[list(FEATURES)]
    pool = OutcomePool(prior=None, times=RenewalTimes(prior=None))
    one = fit_rows(pool, frame, RenewalPolicy())
    other = fit_rows(pool, frame.set_axis([0] * len(frame)), RenewalPolicy())
    assert (one.predict_proba(inputs) == other.predict_proba(inputs)).all()
