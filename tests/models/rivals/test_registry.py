"""Every rival keeps the interface, learns what there is to learn, and says what it lacks."""

import sys

import numpy as np
import pytest

from certforecast.errors import ModelError
from certforecast.evaluation import auprc
from certforecast.models import RULES
from certforecast.models.rivals import RIVALS, Rival
from certforecast.renewals import OUTCOMES
from tests.models.rivals.conftest import Renewals

#: Sizes that learn the example in a second.
SMALL = {
    "boosted hazards": {"max_periods": 3_000},
    "survival forest (scikit-survival)": {"n_estimators": 20, "max_rows": 300},
    "boosted Cox (scikit-survival)": {"n_estimators": 20, "max_rows": 300},
    "SurvivalBoost (hazardous)": {"n_iter": 8, "max_rows": 400},
}
TIMED = [name for name, rival in RIVALS.items() if rival.tells_times]
OTHERS = [name for name in RIVALS if name not in {*RULES, "overall rates"}]


@pytest.fixture(scope="module", params=OTHERS)
def fitted(request: pytest.FixtureRequest, renewals: Renewals) -> tuple[str, object]:
    name = request.param
    model = RIVALS[name].new().set_params(**SMALL.get(name, {}))
    return name, renewals.fitted(model)


def test_probabilities_sum_to_1_and_tell_slow_from_fast(fitted, later: Renewals) -> None:
    name, model = fitted
    p = model.proba_frame(later.inputs)
    assert list(p) == [f"p_{outcome}" for outcome in OUTCOMES]
    assert p.index.equals(later.inputs.index)
    assert ((p >= -1e-9) & (p <= 1 + 1e-9)).all(axis=None)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    late = later.frame["outcome"].isin(["slipped", "failed"])
    skill = auprc(late, p["p_slipped"] + p["p_failed"])
    if name == "Aalen-Johansen":
        assert skill == pytest.approx(late.mean())  # it has none
        return
    assert skill > late.mean() + 0.2
    # A few rounds of SurvivalBoost do not get far from even odds.
    off = 0.25 if "SurvivalBoost" in name else 0.12
    assert abs((p["p_slipped"] + p["p_failed"]).mean() - late.mean()) < off


def test_incidences_rise_to_the_probabilities(fitted, later: Renewals) -> None:
    name, model = fitted
    if not RIVALS[name].tells_times:
        assert not hasattr(model, "predict_incidence")
        return
    X = later.inputs.head(60)
    days = [0.0, 1.0, 5.0, 20.0, 29.0, 45.0, 59.9, 60.1, 900.0]
    spread = model.predict_incidence(X, days)
    assert spread.shape == (60, 4, 9)
    assert (spread > -1e-9).all()
    assert (np.diff(spread, axis=2) > -1e-9).all()
    assert (spread.sum(axis=1) < 1 + 1e-9).all()  # what is left is still open
    if name == "Aalen-Johansen":
        assert (spread[0] == spread[-1]).all()
        return
    np.testing.assert_allclose(spread[:, :, -1], model.proba_frame(X), atol=1e-6)
    by = dict(zip(OUTCOMES, np.moveaxis(spread, 1, 0), strict=True))
    early = np.asarray(days) < X["days_left"].to_numpy()[:, None] - 1e-6
    assert (by["failed"][early] < 1e-9).all()  # nothing fails before its expiry
    slow = (X["issuer_org"] == "Slow").to_numpy()
    assert by["on_time"][~slow, 3].mean() > by["on_time"][slow, 3].mean() + 0.3


def test_the_rules_and_rates_are_rivals_too() -> None:
    assert [*RULES, "overall rates"] == [name for name in RIVALS if name not in OTHERS]
    for name in (*RULES, "overall rates"):
        assert RIVALS[name].extra is None
        assert type(RIVALS[name].new()).__module__ == "certforecast.models.baselines"


def test_each_rival_knows_its_extra_and_parameters() -> None:
    assert {name for name in RIVALS if RIVALS[name].extra == "rivals"} == {
        "LightGBM",
        "LightGBM hazards",
        "Aalen-Johansen",
        "Cox (lifelines)",
        "Coxnet (scikit-survival)",
        "survival forest (scikit-survival)",
        "boosted Cox (scikit-survival)",
        "SurvivalBoost (hazardous)",
    }
    assert all(rival.available for rival in RIVALS.values())
    assert RIVALS["logistic, all features"].new().get_params()["lean"] is False


@pytest.mark.parametrize("name", [name for name, rival in RIVALS.items() if rival.package])
def test_a_missing_package_is_named_with_its_remedy(
    name: str, monkeypatch: pytest.MonkeyPatch, renewals: Renewals
) -> None:
    model = RIVALS[name].new()
    package = RIVALS[name].package
    for loaded in [module for module in sys.modules if module.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, package, None)
    remedy = rf"needs {package}.*pip install 'certforecast\[rivals\]'"
    with pytest.raises(ModelError, match=remedy):
        RIVALS[name].new()
    with pytest.raises(ModelError, match=remedy):
        renewals.fitted(model)


def test_a_rival_without_its_package_is_known_to_be_unavailable() -> None:
    assert not Rival("certforecast.models.rivals.lightgbm:LightGBMOutcomes", "no_such_package").available
