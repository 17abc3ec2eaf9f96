"""Plots of what a model goes by hold the model's own figures."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from certforecast.errors import InputError
from certforecast.evaluation import ContributionsDisplay, ImportanceDisplay, PartialDependenceDisplay
from certforecast.models import OutcomeClassifier, explain
from tests.models.test_classifier import example

mpl.use("Agg")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    X, _ = example(300)
    X["validity_days"] = np.where(np.arange(300) % 3, 90.0, 200.0)
    X["validity_profile"] = np.where(np.arange(300) % 3, "90 days", "200 days")
    X["elapsed_share"] = 1 - X["days_left"] / X["validity_days"]
    X["days_past_due"] = X["validity_days"] / 3 - X["days_left"]
    return X


@pytest.fixture(scope="module")
def model(rows: pd.DataFrame) -> OutcomeClassifier:
    return OutcomeClassifier("boosted", max_iter=10).fit(rows, example(300)[1])


def axes():
    return Figure(layout="constrained").subplots()


def test_importance_is_the_mean_size_of_contributions(model, rows):
    display = ImportanceDisplay.from_model(model, rows)
    told = explain(model, rows)
    assert display.features["issuer_org"] == pytest.approx(told.values["issuer_org"].abs().mean())
    assert display.topics["time"] == pytest.approx(told.by_topic()["time"].abs().mean())
    assert display.features.is_monotonic_decreasing
    assert display.topics.is_monotonic_decreasing
    assert display.plot().features_ax_ is display.figure_.axes[1]
    display.figure_.canvas.draw()
    ax = axes()
    names = [label.get_text() for label in display.plot(ax).ax_.get_yticklabels()]
    assert (display.ax_, names[-1]) == (ax, display.topics.index[0])


def test_importance_of_nothing_is_no_plot(model, rows):
    with pytest.raises(ValueError, match="no rows were explained"):
        ImportanceDisplay.from_model(model, rows.head(0))


def test_partial_dependence_is_the_mean_forecast_with_that_value(model, rows):
    display = PartialDependenceDisplay.from_model(model, rows, "noise", points=4)
    (curve,) = display.curves.values()
    at = curve.index[2]
    assert curve[at] == pytest.approx(model.proba_frame(rows.assign(noise=at))["p_failed"].mean())
    unknown = model.proba_frame(rows.assign(noise=np.nan))["p_failed"].mean()
    assert display.unknown == pytest.approx(unknown)
    assert display.deciles == pytest.approx(np.nanquantile(rows["noise"], np.arange(1, 10) / 10))
    display.plot(axes()).figure_.canvas.draw()


def test_partial_dependence_of_a_category_compares_its_values(model, rows):
    display = PartialDependenceDisplay.from_model(model, rows, "issuer_org", "late")
    (curve,) = display.curves.values()
    assert list(curve.index) == ["Good", "Bad", "Ugly"]
    assert curve["Bad"] > curve["Good"]
    assert np.isnan(display.unknown)
    display.plot(axes()).figure_.canvas.draw()


def test_days_left_move_the_clock_and_stay_within_the_lifetime(rows):
    seen = []

    class Spy:
        classes_ = np.array(["failed", "on_time"])

        def predict_proba(self, X):
            seen.append(X)
            return np.full((len(X), 2), 0.5)

    display = PartialDependenceDisplay.from_model(Spy(), rows, "days_left", points=5)
    assert [*display.curves] == ["90 days", "200 days"]
    for X in seen:
        left = X["days_left"].iloc[0]
        assert (X["days_left"] == left).all()
        assert left <= X["validity_days"].min()
        assert X["elapsed_share"].to_numpy() == pytest.approx(1 - left / X["validity_days"].to_numpy())
        assert X["days_past_due"].to_numpy() == pytest.approx(X["validity_days"].to_numpy() / 3 - left)
        assert "days_to_slip" not in X
    assert set(seen[0]["validity_profile"]) == {"90 days"}
    legend = display.plot(axes()).ax_.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["90 days", "200 days"]


def test_a_waterfall_leads_from_the_base_to_the_forecast(model, rows):
    told = explain(model, rows)
    row = int(told.probability.argmax())
    display = ContributionsDisplay.from_contributions(told, row, by="feature", most=3, title="a.example")
    assert display.base + display.steps.sum() == pytest.approx(told.probability.iloc[row])
    assert list(display.steps.index)[-1] == f"{rows.shape[1] - 3} others"
    sizes = display.steps.iloc[:-1].abs()
    assert sizes.is_monotonic_decreasing
    assert sizes.iloc[-1] >= told.values.iloc[row].drop(sizes.index).abs().max()
    ax = display.plot(axes()).ax_
    assert ax.get_title(loc="left") == "a.example"
    bar = ax.patches[-1]
    assert bar.get_x() + bar.get_width() == pytest.approx(told.probability.iloc[row])
    display.figure_.canvas.draw()
    by_topic = ContributionsDisplay.from_contributions(told, row)
    assert by_topic.base + by_topic.steps.sum() == pytest.approx(told.probability.iloc[row])


def test_what_cannot_be_drawn_is_refused(model, rows):
    draw = PartialDependenceDisplay.from_model
    for arguments, complaint in (
        (("moon",), "there is no feature 'moon'"),
        (("noise", "lost"), "'lost' is none of"),
        (("days_past_due",), "moves with the clock: ask for days_left"),
    ):
        with pytest.raises(InputError, match=complaint):
            draw(model, rows, *arguments)
    with pytest.raises(InputError, match="not known of any"):
        draw(model, rows.assign(noise=np.nan), "noise")
    told = explain(model, rows.head(2))
    with pytest.raises(InputError, match="there is no row 2: 2 were"):
        ContributionsDisplay.from_contributions(told, 2)
    with pytest.raises(InputError, match="choose topic or feature"):
        ContributionsDisplay.from_contributions(told, by="group")
