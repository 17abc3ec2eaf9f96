"""Challenges: a refresh goes through, a rival has to win beyond noise, and what is neither is refused."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from certforecast.errors import ModelError
from certforecast.evaluation import Difference, challenge, challenging
from certforecast.evaluation.result import BacktestResult
from certforecast.features import training_frame
from certforecast.history import History
from certforecast.history.schema import TABLES
from certforecast.history.sources import Batch
from certforecast.models import (
    OutcomeClassifier,
    OutcomePool,
    PriorRate,
    landmarks,
    load_model,
    model_metadata,
    record,
    save_model,
    train,
)
from certforecast.models.origin import SAMPLE, missing_renewals
from certforecast.models.prior import shipped_digest
from certforecast.settings import ModelSettings, Settings
from certforecast.simulation import Fleet
from tests.models.test_saved import landmark_rows


def store(fleet: Fleet) -> History:
    history = History(None)
    history.append(Batch(**{name: fleet.tables()[name].to_pylist() for name in TABLES}))
    return history


def test_a_challenger_is_promoted_as_a_refresh_or_for_a_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(seed=3, lineages=60, years=2.0)
    settings = Settings(home=tmp_path, model=ModelSettings(method="logistic", landmark_every_days=28))
    boosted = settings.model_copy(update={"model": ModelSettings(method="boosted", landmark_every_days=28)})
    before = fleet.end - timedelta(days=60)
    with store(fleet) as history:
        known = {
            moment: training_frame(history, landmarks(history, moment, 28), moment, settings.policy)
            for moment in (before, fleet.end)
        }

        def taught(moment: datetime, given: Settings = settings) -> Path:
            return train(history, moment, given, frame=known[moment]).path

        def ask() -> tuple[bool, str]:
            done = challenge(history, fleet.end, settings, cutoffs=2)
            assert done.summary()["promoted"] is done.promoted
            return done.promoted, done.reason

        def method() -> str:
            return str(load_model(settings.champion_path, key=settings.home).get_params()["method"])

        assert taught(before) == settings.champion_path
        with pytest.raises(ModelError, match="there is no challenger"):
            ask()
        first = settings.champion_path.read_bytes()
        about = model_metadata(settings.champion_path, key=settings.home)
        assert about["renewals"] > SAMPLE == len(about["some_renewals"])
        assert (about["policy"]["grace_days"], about["landmark_every_days"], about["prior"]) == (30, 28, None)

        # The same data, seed and versions: the same bytes, and nothing to gain.
        assert taught(before) == settings.challenger_path
        assert settings.challenger_path.read_bytes() == first
        promoted, reason = ask()
        assert not promoted
        assert "as of the same moment" in reason
        taught(fleet.end)
        assert ask() == (True, "it is made as the champion is, from newer data of the same history")
        assert model_metadata(settings.champion_path, key=settings.home)["as_of"] == fleet.end.isoformat()

        taught(before)
        promoted, reason = ask()
        assert not promoted
        assert "before the champion" in reason

        taught(fleet.end, boosted)
        real = challenge(history, fleet.end, settings, cutoffs=2)
        assert real.difference is not None
        assert real.promoted is (real.difference.low > 0)
        taught(fleet.end, boosted if method() == "logistic" else settings)
        was = method()
        monkeypatch.setattr(BacktestResult, "difference", lambda *_: Difference(0.1, -0.01, 0.2))
        promoted, reason = ask()
        assert not promoted
        assert "wait for more history, or 'certforecast promote --force'" in reason
        assert method() == was
        monkeypatch.setattr(BacktestResult, "difference", lambda *_: Difference(0.1, 0.01, 0.2))
        promoted, reason = ask()
        assert promoted
        assert "beats the champion: AUPRC for failed +0.100" in reason
        assert method() != was

        # A champion that cannot be used any more stands in nobody's way.
        settings.champion_path.write_bytes(first[:-1] + b"!")
        assert taught(fleet.end) == settings.champion_path
        assert method() == "logistic"


NAMES = [f"{number:064x}" for number in range(0, 10 * SAMPLE, 10)]

#: What the file of a champion says of it.
SAYS: dict[str, Any] = {
    "as_of": "2026-01-05T03:00:00+00:00",
    "renewals": 200,
    "some_renewals": NAMES,
    "policy": {"grace_days": 30.0},
    "landmark_every_days": 14.0,
    "prior": "abc",
}
END = datetime(2026, 2, 1, tzinfo=UTC)
NEWER = {"as_of": "2026-01-12T03:00:00+00:00"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture(scope="module")
def models() -> dict[str, OutcomeClassifier]:
    frame, y = landmark_rows()
    methods: list[Any] = ["boosted", "logistic"]
    return {method: OutcomeClassifier(method, max_iter=2).fit(frame, y) for method in methods}


@pytest.fixture
def judged(settings: Settings, models: dict[str, OutcomeClassifier], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give what is decided of two models by what their files say; "backtest" if one is needed."""
    path = settings.challenger_path
    monkeypatch.setattr(challenging, "_compare", lambda *_: challenging._Verdict(False, "backtest", None))
    # The registry is left out: it takes its time, and tests/models/test_tracking.py has it.
    monkeypatch.setattr(challenging, "fetch_model", lambda *_: path)
    monkeypatch.setattr(
        challenging, "promote", lambda _: settings.champion_path.write_bytes(path.read_bytes())
    )

    def judge(
        champion: dict[str, Any],
        challenger: dict[str, Any],
        versions: Mapping[str, str] = {},
        method: str = "boosted",
    ) -> tuple[bool, str]:
        save_model(models["boosted"], settings.champion_path, champion, key=settings.home)
        now = record.versions()
        with monkeypatch.context() as other:
            other.setattr(record, "versions", lambda: {**now, **versions})
            save_model(models[method], path, challenger, key=settings.home)
        with History(None) as history:
            done = challenge(history, END, settings)
        became = settings.champion_path.read_bytes() == path.read_bytes()
        assert became is done.promoted or champion == challenger
        return done.promoted, done.reason

    return judge


FORCE = "'certforecast promote --force' puts it in use all the same"


def test_a_refresh_is_promoted_whether_it_knows_a_little_more_or_less(judged: Any) -> None:
    said = (True, "it is made as the champion is, from newer data of the same history")
    assert judged(SAYS, {**SAYS, **NEWER}) == said
    grown = [*NAMES[:40], *(f"{number:064x}" for number in range(1, 10 * (SAMPLE - 40), 10))]
    assert judged(SAYS, {**SAYS, **NEWER, "renewals": 181, "some_renewals": sorted(grown)}) == said
    # A history of a few renewals may lose one.
    few = {"renewals": 3, "some_renewals": NAMES[:3]}
    assert judged({**SAYS, **few}, {**SAYS, **NEWER, "renewals": 2, "some_renewals": NAMES[:2]}) == said
    nothing = {"renewals": 0, "some_renewals": []}
    assert judged({**SAYS, **nothing}, {**SAYS, **NEWER}) == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"as_of": "2026-01-05T03:00:00+00:00"},
            "as of the same moment (2026-01-05T03:00:00+00:00): there is",
        ),
        (
            {"as_of": "2026-01-01T03:00:00+00:00"},
            "2026-01-01 03:00, before the champion (2026-01-05 03:00 UTC)",
        ),
        (
            {"renewals": 179},
            "it learned from 179 renewals, the champion from 200; see with 'certforecast status'",
        ),
        (
            {"some_renewals": [f"{n:064x}" for n in range(5, 10 * SAMPLE, 10)]},
            "of 64 renewals that the champion",
        ),
        (
            {"policy": {"grace_days": 20.0}},
            "it differs from the champion in: [policy]. A backtest trains both",
        ),
        (
            {"landmark_every_days": 7.0},
            "it differs from the champion in: [model] landmark_every_days. A back",
        ),
    ],
)
def test_what_is_no_refresh_and_no_backtest_can_judge_is_refused_with_what_to_do(
    judged: Any, settings: Settings, changes: dict[str, Any], said: str
) -> None:
    promoted, reason = judged(SAYS, {**SAYS, **NEWER, **changes})
    assert not promoted
    assert said in reason
    assert FORCE in reason
    assert model_metadata(settings.champion_path, key=settings.home)["as_of"] == SAYS["as_of"]


@pytest.mark.parametrize("name", ["certforecast", "scikit-learn"])
def test_another_version_is_no_refresh(judged: Any, name: str) -> None:
    older = "0.0.9" if name == "certforecast" else f"{record.versions()[name]}.post1"
    promoted, reason = judged(SAYS, {**SAYS, **NEWER}, {name: older})
    assert not promoted
    assert f"differs from the champion in: version of {name}. A backtest" in reason


def test_what_a_backtest_can_tell_is_left_to_it(judged: Any) -> None:
    backtested = (False, "backtest")
    assert judged(SAYS, {**SAYS, **NEWER}, method="logistic") == backtested
    assert judged(SAYS, SAYS, method="logistic") == backtested  # as of the same moment it may win
    assert judged(SAYS, {**SAYS, **NEWER, "prior": "def"}) == backtested
    # But not from poorer data, which no backtest sees.
    assert "179 renewals" in judged(SAYS, {**SAYS, **NEWER, "renewals": 179}, method="logistic")[1]


@pytest.mark.parametrize("missing", [*SAYS])
def test_models_that_do_not_say_how_they_were_made_are_backtested(judged: Any, missing: str) -> None:
    old = {name: value for name, value in SAYS.items() if name != missing}
    assert judged(old, {**SAYS, **NEWER}) == (False, "backtest")
    if missing == "as_of":
        assert judged(SAYS, {name: SAYS[name] for name in old}) == (False, "backtest")
        assert judged({}, {}) == (False, "backtest")


def test_too_little_history_to_compare_is_a_refusal(settings: Settings) -> None:
    contender = challenging._Contender(OutcomeClassifier(), {})
    with History(None) as history:
        done = challenging._compare(history, END, contender, contender, settings, "failed", 2, None)
    assert not done.wins
    assert "it cannot be compared with the champion: the store knows no certificate" in done.reason
    assert FORCE in done.reason


def test_each_is_backtested_with_the_prior_that_it_leans_on() -> None:
    frame, y = landmark_rows()
    numbers = frame.select_dtypes("number")
    prior = OutcomeClassifier("boosted", max_iter=2).fit(numbers, y)
    pool = OutcomePool({"rates": PriorRate()}, prior=prior).fit(frame, y)
    pool.prior = "shipped"  # it was, when this was trained
    again = challenging._unfitted(pool).fit(frame, y)
    assert (again.predict_proba(frame) == pool.predict_proba(frame)).all()
    plain = challenging._unfitted(OutcomeClassifier("logistic"))
    assert plain.get_params() == OutcomeClassifier("logistic").get_params()


def test_a_sample_tells_a_history_that_went_on_from_another() -> None:
    known = sorted(np.random.default_rng(0).choice(10**6, 3000, replace=False).tolist())
    names = [f"{number:08}" for number in known]
    before = sorted(np.random.default_rng(1).choice(names, 1000, replace=False).tolist())
    missing, sought = missing_renewals(before[:SAMPLE], names[:SAMPLE])
    assert missing == 0
    assert 10 < sought < 40
    assert missing_renewals(names[:SAMPLE], before[:SAMPLE])[0] > 30
    assert missing_renewals(before[:3], before[:2]) == (1, 3)
    assert missing_renewals([], names[:SAMPLE]) == (0, 0)


def test_a_model_that_leans_on_the_shipped_ones_says_on_which(tmp_path: Path) -> None:
    fleet = Fleet(seed=3, lineages=10, years=0.3)
    with store(fleet) as history:
        trained = train(history, fleet.end, Settings(home=tmp_path))
    about = model_metadata(trained.path, key=tmp_path)
    assert about["prior"] == shipped_digest()
    assert len(json.dumps(about)) < 20_000
