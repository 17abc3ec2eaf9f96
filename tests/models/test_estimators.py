"""What scikit-learn asks of estimators, and the one list of what ours do not do, with reasons."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from certforecast.models import (
    RULES,
    FewestDaysLeft,
    OutcomeClassifier,
    OutcomePool,
    PriorRate,
    RenewalHazard,
)
from certforecast.models.recalibration import Recalibrated
from certforecast.models.timing import RenewalTimes
from tests.models.test_classifier import example

LIFECYCLE = Path(__file__).parents[2] / "docs" / "lifecycle.md"

#: Estimators whose input may be an array, each small enough to be checked in seconds.
CHECKED: list[BaseEstimator] = [
    OutcomeClassifier(method="boosted"),
    OutcomeClassifier(method="logistic"),
    OutcomePool(),
    RenewalHazard(edges=(2, 5, 30)),
    PriorRate(),
]

_BINS = "the bins of boosting are those of rows, not of weights, and a rare category is one by its rows"
_ZEROS = "it fits to zeros, whatever the tag says; a duration is over 0"

#: Checks that fail, by class, and why. They are run, too: one that passes must leave this list.
EXCEPTIONS: dict[type, dict[str, str]] = {
    OutcomeClassifier: {"check_sample_weight_equivalence_on_dense_data": _BINS},
    OutcomePool: {"check_sample_weight_equivalence_on_dense_data": _BINS},
    RenewalHazard: {
        "check_sample_weight_equivalence_on_dense_data": _BINS,
        "check_transformer_data_not_an_array": _ZEROS,
        "check_transformer_general": _ZEROS,
        "check_transformer_preserve_dtypes": _ZEROS,
    },
}

#: Estimators that take frames only, and why: scikit-learn's checks give arrays, whose columns have no names.
FRAMES_ONLY: dict[str, BaseEstimator] = {
    **{rule.__name__: rule() for rule in RULES.values()},
    "Recalibrated": Recalibrated(FrozenEstimator(DummyClassifier())),
    "RenewalTimes": RenewalTimes(),
}

#: Checks of scikit-learn that need no data.
WITHOUT_DATA = [
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_set_params",
    "check_valid_tag_types",
]


#: Parts of estimators that are none by themselves.
PARTS = {"Levels", "TemperatureScaling", "Told"}

_ALL = parametrize_with_checks(
    CHECKED, expected_failed_checks=lambda estimator: EXCEPTIONS.get(type(estimator), {})
)


def _needs_another_scipy(case: Any) -> bool:
    """Whether a check needs SCIPY_ARRAY_API set before scipy is imported; frames are no such arrays."""
    _, check = getattr(case, "values", case)
    return str(check.func.__name__) == "check_array_api_input"


@pytest.mark.parametrize(
    _ALL.args[0], [case for case in _ALL.args[1] if not _needs_another_scipy(case)], **_ALL.kwargs
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_it_is_a_scikit_learn_estimator(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("name", FRAMES_ONLY)
def test_what_takes_frames_only_says_so_and_passes_what_needs_no_data(name: str) -> None:
    estimator = FRAMES_ONLY[name]
    assert not get_tags(estimator).input_tags.two_d_array
    for check in WITHOUT_DATA:
        getattr(estimator_checks, check)(name, clone(estimator))


def test_every_estimator_is_on_a_list_and_every_exception_on_the_page() -> None:
    from certforecast.models.saved import TRUSTED

    ours = {name.rpartition(".")[2] for name in TRUSTED if name.startswith("certforecast.")}
    assert {type(estimator).__name__ for estimator in CHECKED} | set(FRAMES_ONLY) | PARTS == ours
    page = LIFECYCLE.read_text(encoding="utf-8")
    told = set(re.findall(r"check_\w+", page))
    assert told == {name for names in EXCEPTIONS.values() for name in names}
    assert all(f"`{name}`" in page for name in FRAMES_ONLY)


@pytest.mark.parametrize("name", [*RULES])
def test_a_rule_refuses_what_lacks_its_column(name: str) -> None:
    X, y = example(60)
    rule = RULES[name]()
    X[rule.column] = X["noise"] if rule.column not in X else X[rule.column]
    for missing in (X.drop(columns=rule.column), X["noise"].to_numpy()[:, None]):
        with pytest.raises(ValueError, match=f"reads the column {rule.column}"):
            rule.fit(missing, y)


@pytest.mark.parametrize(
    "model", [OutcomeClassifier("logistic"), OutcomePool(), PriorRate(), FewestDaysLeft()]
)
def test_probabilities_as_columns_have_names(model: Any) -> None:
    X, y = example(200)
    X.index = pd.Index(range(5, 205))
    table = clone(model).set_output(transform="pandas").fit_transform(X, y)
    fitted = clone(model).fit(X, y)
    assert list(table) == list(fitted.get_feature_names_out()) == ["p_failed", "p_on_time", "p_slipped"]
    assert (table.to_numpy() == fitted.predict_proba(X)).all()
    assert (table.index == X.index).all()
    assert isinstance(fitted.transform(X), np.ndarray)
    assert list(fitted.feature_names_in_) == list(X)
    assert type(model).__name__ in fitted._repr_html_()
    pd.testing.assert_frame_equal(table[sorted(table)], fitted.proba_frame(X)[sorted(table)])


def test_incidences_as_columns_have_names() -> None:
    X, _ = example(200)
    ends = {"event": np.where(X["days_left"] < 30, "failed", "renewed"), "duration": X["days_left"] + 1}
    hazard = RenewalHazard(edges=(7, 30), estimator=OutcomeClassifier("logistic"))
    table = hazard.set_output(transform="pandas").fit_transform(X, pd.DataFrame(ends))
    assert list(table) == ["failed_by_7", "failed_by_30", "renewed_by_7", "renewed_by_30"]
    found = hazard.predict_cumulative_incidence(X)
    assert (table["renewed_by_7"] == found[:, 1, 0]).all()
    assert (table["failed_by_30"] == found[:, 0, 1]).all()
    assert (hazard.set_output(transform="default").transform(X) == table.to_numpy()).all()


def test_a_model_is_a_step_of_a_pipeline() -> None:
    X, y = example(300)
    stack = make_pipeline(OutcomeClassifier("logistic"), LogisticRegression(C=100.0)).fit(X, y)
    assert stack[:-1].get_feature_names_out().tolist() == ["p_failed", "p_on_time", "p_slipped"]
    assert stack.predict_proba(X).shape == (300, 3)
