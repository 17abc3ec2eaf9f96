"""Challenges: newer data goes through, another recipe has to win beyond noise."""

from pathlib import Path

import pytest

from certforecast.errors import ModelError
from certforecast.evaluation import Difference, challenge
from certforecast.evaluation.result import BacktestResult
from certforecast.history import History
from certforecast.history.schema import TABLES
from certforecast.history.sources import Batch
from certforecast.models import load_model, train
from certforecast.settings import ModelSettings, Settings
from certforecast.simulation import Fleet


def test_a_challenger_is_promoted_for_newer_data_or_a_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(seed=3, lineages=60, years=2.0)
    settings = Settings(home=tmp_path, model=ModelSettings(method="logistic", landmark_every_days=28))
    boosted = settings.model_copy(update={"model": ModelSettings(method="boosted", landmark_every_days=28)})
    with History(None) as history:
        history.append(Batch(**{name: fleet.tables()[name].to_pylist() for name in TABLES}))

        def ask() -> tuple[bool, str]:
            done = challenge(history, fleet.end, settings, cutoffs=2)
            assert done.summary()["promoted"] is done.promoted
            return done.promoted, done.reason

        def method() -> str:
            return str(load_model(settings.champion_path, key=settings.home).get_params()["method"])

        assert train(history, fleet.end, settings).path == settings.champion_path
        with pytest.raises(ModelError, match="there is no challenger"):
            ask()
        first = settings.champion_path.read_bytes()
        assert train(history, fleet.end, settings).path == settings.challenger_path
        # The same data, seed and versions: the same bytes.
        assert settings.challenger_path.read_bytes() == first
        assert ask() == (True, "it is made as the champion is, from other data")

        train(history, fleet.end, boosted)
        real = challenge(history, fleet.end, settings, cutoffs=2)
        assert real.difference is not None
        assert real.promoted is (real.difference.low > 0)
        train(history, fleet.end, boosted if method() == "logistic" else settings)
        before = method()
        monkeypatch.setattr(BacktestResult, "difference", lambda *_: Difference(0.1, -0.01, 0.2))
        assert ask()[0] is False
        assert method() == before
        monkeypatch.setattr(BacktestResult, "difference", lambda *_: Difference(0.1, 0.01, 0.2))
        promoted, reason = ask()
        assert promoted
        assert "beats the champion: AUPRC for failed +0.100" in reason
        assert method() != before

        # A champion that cannot be used any more stands in nobody's way.
        settings.champion_path.write_bytes(first[:-1] + b"!")
        assert train(history, fleet.end, settings).path == settings.champion_path
        assert method() == "logistic"
