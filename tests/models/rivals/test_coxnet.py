"""The elastic net of scikit-survival, where its numbers overflow."""

from typing import Any

import numpy as np
import pytest
from sksurv.linear_model import CoxnetSurvivalAnalysis

from certforecast.errors import ModelError
from certforecast.models.rivals.scikit_survival import Coxnet


def fitted(monkeypatch: pytest.MonkeyPatch, bears: float) -> Any:
    """Fit where penalties under `bears` overflow: when that happens in earnest depends on the data's luck."""
    fit = CoxnetSurvivalAnalysis.fit

    def strict(self: Any, X: Any, y: Any) -> Any:
        if self.alphas[0] < bears:
            raise ArithmeticError("Numerical error, because weights are too large.")
        return fit(self, X, y)

    monkeypatch.setattr(CoxnetSurvivalAnalysis, "fit", strict)
    rng = np.random.default_rng(0)
    came, days = rng.random(80) < 0.7, rng.uniform(1, 60, 80)
    return Coxnet(alpha=0.002)._model(rng.normal(size=(80, 3)), came, days, np.ones(80))


def test_a_penalty_that_will_do_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fitted(monkeypatch, 0.0).alphas_.tolist() == pytest.approx([0.002])


def test_a_penalty_is_raised_as_far_as_it_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fitted(monkeypatch, 0.01).alphas_.tolist() == pytest.approx([0.02])


def test_where_no_penalty_helps_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"no penalty from 0\.002 to 0\.2"):
        fitted(monkeypatch, 1.0)


def test_a_baseline_that_overflowed_asks_for_a_stronger_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one did on the index of an authority, whose 15,000 rows are not to be had here: it is made up."""
    told = CoxnetSurvivalAnalysis.predict_cumulative_hazard_function

    def overflowing(self: Any, X: Any, **options: Any) -> Any:
        found = told(self, X, **options)
        return found * np.nan if self.alphas_[0] < 0.01 else found

    monkeypatch.setattr(CoxnetSurvivalAnalysis, "predict_cumulative_hazard_function", overflowing)
    rng = np.random.default_rng(0)
    came = rng.random(80) < 0.8
    model = Coxnet(alpha=0.002)._model(rng.normal(size=(80, 3)), came, rng.uniform(1, 60, 80), np.ones(80))
    assert model.alphas_[0] == pytest.approx(0.02)
