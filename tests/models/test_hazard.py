"""Competing risks in discrete time: identities, known hazards, deadlines, censoring."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from certforecast.models.durations import durations
from certforecast.models.hazard import RenewalHazard
from certforecast.models.survival import integrated_brier
from tests.timeline import day

ROWS = 20_000


def drawn(rows: int = ROWS, seed: int = 0, share: float = 1 / 3) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw rows of two kinds: those of kind 1 end three times as fast. A share is censored early.

    Daily rates: renewed 0.05 (0.15 for kind 1), retired 0.01; the deadline is 20 days ahead, and whoever
    reaches it has failed.
    """
    rng = np.random.default_rng(seed)
    kind = rng.integers(2, size=rows).astype(float)
    renewed = rng.exponential(1 / np.where(kind == 1, 0.15, 0.05))
    retired = rng.exponential(1 / 0.01, size=rows)
    censored = np.where(rng.random(rows) < share, rng.uniform(1, 20, rows), np.inf)
    ends = np.column_stack([renewed, retired, np.full(rows, 20.0), censored])
    names = np.array(["renewed", "retired", "failed", "censored"])
    X = pd.DataFrame({"kind": kind, "noise": rng.normal(size=rows), "days_left": 20.0})
    y = pd.DataFrame({"event": names[ends.argmin(axis=1)], "duration": ends.min(axis=1)})
    return X, y


@pytest.fixture(scope="module")
def fitted() -> RenewalHazard:
    return RenewalHazard(edges=(1, 3, 7, 14, 30)).fit(*drawn())


def asked() -> pd.DataFrame:
    return pd.DataFrame({"kind": [0.0, 1.0], "noise": 0.0, "days_left": 20.0})


def test_incidence_rises_and_never_exceeds_one(fitted: RenewalHazard) -> None:
    X, _ = drawn(200, seed=1)
    incidence = fitted.predict_cumulative_incidence(X, np.linspace(0, 40, 50))
    assert incidence.shape == (200, 3, 50)
    assert (np.diff(incidence, axis=2) >= -1e-12).all()
    assert (incidence.sum(axis=1) <= 1 + 1e-9).all()
    assert incidence[:, :, 0].max() == 0
    np.testing.assert_allclose(incidence[:, :, -1].sum(axis=1), 1)  # at the deadline everything ends


def test_incidence_never_falls_by_a_rounding_error(fitted: RenewalHazard) -> None:
    X, _ = drawn(2_000, seed=2)
    edges = fitted.edges_[1:-1]
    around = np.sort(np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, 99)]))
    assert (np.diff(fitted.predict_cumulative_incidence(X, around), axis=2) >= 0).all()


def test_an_unknown_deadline_is_no_other_row_s_business(fitted: RenewalHazard) -> None:
    X = asked().assign(days_left=[20.0, np.nan])
    found = fitted.predict_cumulative_incidence(X, [3.0, 25.0])
    np.testing.assert_array_equal(found[:1], fitted.predict_cumulative_incidence(asked()[:1], [3.0, 25.0]))
    assert (found[1] == 0).all()


def test_no_rows_have_no_incidence() -> None:
    X, y = drawn(400)
    hazard = RenewalHazard(edges=(7, 30)).fit(X.assign(issuer=np.where(X["kind"] == 1, "R3", "E1")), y)
    none = X.assign(issuer="R3").head(0)
    assert hazard.predict_cumulative_incidence(none).shape == (0, 3, 2)
    assert hazard.predict(none).shape == (0,)


def test_known_hazards_come_back(fitted: RenewalHazard) -> None:
    """The incidence of exponential competing risks is known in closed form, censoring or not."""
    times = np.array([3.0, 7.0, 14.0])
    found = fitted.predict_cumulative_incidence(asked(), times)
    for row, rate in enumerate((0.05, 0.15)):
        total = rate + 0.01
        expected = rate / total * (1 - np.exp(-total * times))
        np.testing.assert_allclose(found[row, list(fitted.events_).index("renewed")], expected, atol=0.03)


def test_failures_wait_for_the_deadline(fitted: RenewalHazard) -> None:
    failed = list(fitted.events_).index("failed")
    before, after = fitted.predict_cumulative_incidence(asked(), [19.99, 20.0])[:, failed].T
    assert before.max() == 0
    np.testing.assert_allclose(after, [np.exp(-0.06 * 20), np.exp(-0.16 * 20)], atol=0.05)


def test_the_last_period_goes_on_to_a_deadline_beyond_it() -> None:
    """A certificate of five years may be renewed after the end of the periods: not all of it is over then."""
    X, y = (table.assign(days_to_slip=20.0) if "kind" in table else table for table in drawn(share=0))
    rows = asked().assign(days_to_slip=20.0)
    hazard = RenewalHazard(edges=(2, 5, 10)).fit(X, y)
    incidence = hazard.predict_cumulative_incidence(rows, [5.0, 12.5, 19.999, 20.0])
    by = incidence[:, list(hazard.events_).index("renewed")]
    early = (y["event"] == "renewed") & (y["duration"] <= 5)
    np.testing.assert_allclose(by[:, 0], early.groupby(X["kind"]).mean(), atol=0.05)
    np.testing.assert_allclose(by[:, 1] - by[:, 0], (by[:, 2] - by[:, 0]) / 2, rtol=0.01)
    np.testing.assert_allclose(incidence[:, :, 3].sum(axis=1), 1)
    np.testing.assert_allclose(hazard.proba_frame(rows)["p_on_time"], by[:, 3])
    # Without a deadline, all that comes later comes by the end of the last.
    endless = RenewalHazard(edges=(2, 5, 10), deadline=None).fit(X, y)
    ended = endless.predict_cumulative_incidence(rows, [10.0]).sum(axis=1)
    np.testing.assert_allclose(ended, 1, atol=0.05)


def test_the_deadline_is_each_row_s_own(fitted: RenewalHazard) -> None:
    X = asked().assign(days_left=[5.0, 12.0])
    failed = list(fitted.events_).index("failed")
    incidence = fitted.predict_cumulative_incidence(X, [4.9, 5.0, 11.9, 12.0])[:, failed]
    assert (incidence[0] > 0).tolist() == [False, True, True, True]
    assert (incidence[1] > 0).tolist() == [False, False, False, True]


def test_censored_rows_are_no_survivors() -> None:
    """To count the censored as open up to the deadline would make renewals rarer than they are."""
    X, y = drawn(seed=2, share=1.0)
    honest = RenewalHazard(edges=(1, 3, 7, 14, 30)).fit(X, y)
    naive = y.assign(event=y["event"].replace("censored", "failed"))
    naive.loc[naive["event"] == "failed", "duration"] = 20.0
    wrong = RenewalHazard(edges=(1, 3, 7, 14, 30)).fit(X, naive)
    renewed = list(honest.events_).index("renewed")
    right = 0.05 / 0.06 * (1 - np.exp(-0.06 * 14))
    found, missed = (
        model.predict_cumulative_incidence(asked(), [14.0])[0, renewed, 0] for model in (honest, wrong)
    )
    assert found == pytest.approx(right, abs=0.03)
    assert missed < right - 0.1


def test_sampled_periods_give_nearly_the_same(fitted: RenewalHazard) -> None:
    few = RenewalHazard(edges=(1, 3, 7, 14, 30), max_periods=30_000).fit(*drawn())
    times = [3.0, 14.0]
    difference = few.predict_cumulative_incidence(asked(), times) - fitted.predict_cumulative_incidence(
        asked(), times
    )
    assert np.abs(difference).max() < 0.05


def test_durations_alone_end_in_one_way() -> None:
    X, y = drawn(500)
    model = RenewalHazard(deadline=None).fit(X, y["duration"])
    assert model.events_.tolist() == ["event"]
    median = model.predict(asked())
    assert median[0] > median[1] > 0


def test_structured_arrays_and_frames_are_the_same() -> None:
    X, y = drawn(500)
    array = np.array(list(y.itertuples(index=False, name=None)), dtype=[("event", "U9"), ("duration", "f8")])
    one, other = (
        RenewalHazard(edges=(7, 30)).fit(X, form).predict_cumulative_incidence(X) for form in (y, array)
    )
    np.testing.assert_array_equal(one, other)


def test_outcomes_follow_from_the_slip_point(fitted: RenewalHazard) -> None:
    X = asked().assign(days_to_slip=[14.0, -1.0])
    model = RenewalHazard(edges=(1, 3, 7, 14, 30))
    model.fit(drawn()[0].assign(days_to_slip=14.0), drawn()[1])
    frame = model.proba_frame(X)
    np.testing.assert_allclose(frame.sum(axis=1), 1)
    assert frame["p_on_time"].iloc[1] == 0  # past it, nothing is on time any more
    by_slip = model.predict_cumulative_incidence(X, [14.0])[0, list(model.events_).index("renewed"), 0]
    assert frame["p_on_time"].iloc[0] == pytest.approx(by_slip)


@pytest.mark.parametrize(
    ("changes", "y", "said"),
    [
        ({"edges": (3, 2)}, None, "over 0 and rising"),
        ({"edges": (0,)}, None, "over 0 and rising"),
        ({}, {"duration": 0.0}, "not numbers over 0"),
        ({}, {"duration": np.nan}, "not numbers over 0"),
        ({}, {"event": "censored"}, "censored rows only"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    changes: dict[str, Any], y: dict[str, Any] | None, said: str
) -> None:
    X, good = drawn(20)
    with pytest.raises(ValueError, match=said):
        RenewalHazard(**changes).fit(X, good.assign(**(y or {})))


def test_durations_say_what_ended_each_row() -> None:
    frame = pd.DataFrame(
        {
            "as_of": [day(10)] * 6,
            "not_after": [day(50)] * 6,
            "outcome": ["on_time", "slipped", "failed", "retired", "open", "on_time"],
            "in_service_at": [day(9), day(45), day(55), pd.NaT, pd.NaT, day(30)],
            "resolved_at": [day(11), day(46), day(56), day(80), pd.NaT, day(31)],
            "intervention": [False, False, False, False, None, True],
        }
    )
    found = durations(frame, day(35))
    assert found["event"].tolist() == ["renewed", "renewed", "failed", "retired", "censored", "censored"]
    assert found["duration"].tolist() == pytest.approx([0.01, 35, 40, 40, 25, 20])
    # Nothing is open after its expiry, whenever that is heard of.
    assert durations(frame, day(300))["duration"].tolist()[4] == 40


def test_the_score_is_the_negative_integrated_brier_score_over_all_events(fitted: RenewalHazard) -> None:
    X, y = drawn(2000, seed=5)
    times = [*fitted.edges_[:-1], 20.0]  # the longest duration
    lost = y["event"] == "censored"
    incidence = fitted.predict_cumulative_incidence(X, times)
    parts = [
        integrated_brier(y["event"] == name, y["duration"], lost, incidence[:, place], times)
        for place, name in enumerate(fitted.events_)
    ]
    assert fitted.score(X, y) == pytest.approx(-sum(parts), rel=1e-9)
    assert -0.5 < fitted.score(X, y) < -0.1


def test_the_score_tells_what_was_learned_from_what_was_not(fitted: RenewalHazard) -> None:
    X, y = drawn(2000, seed=5)
    assert fitted.score(X, y) > fitted.score(X.assign(kind=1 - X["kind"]), y) + 0.02
    right = (X["kind"] == 1).astype(float)
    assert fitted.score(X, y, right) == pytest.approx(fitted.score(X[right == 1], y[right == 1]), abs=0.02)
    assert fitted.score(X, y, right) != pytest.approx(fitted.score(X, y, 1 - right), abs=0.02)
    # What enters late is left out; an event that was never learned had no chance.
    late = y.assign(entry=np.where(np.arange(len(y)) % 2, y["duration"] / 2, 0.0))
    assert fitted.score(X, late) == pytest.approx(fitted.score(X[::2], y[::2]))
    assert np.isnan(fitted.score(X, y.assign(entry=y["duration"] / 2)))
    assert fitted.score(X, y.replace("renewed", "stolen")) < fitted.score(X, y) - 0.3


def test_durations_alone_are_scored_as_they_are_fitted() -> None:
    X, y = drawn(500)
    model = RenewalHazard((5, 10, 20), deadline=None)
    model.fit(X, y["duration"])
    assert -0.25 < model.score(X, y["duration"]) < 0
    with pytest.raises(ValueError, match="not numbers over 0"):
        model.score(X, np.zeros(len(X)))


def test_the_median_is_that_of_the_incidence_and_not_beyond_the_deadline(fitted: RenewalHazard) -> None:
    X, _ = drawn(300, seed=3)
    X["days_left"] = np.random.default_rng(3).uniform(0.5, 60, len(X))
    found = fitted.predict(X)
    assert (found <= X["days_left"]).all()
    before, after = (
        fitted.predict_cumulative_incidence(X, (found + step)[:, None]).sum(axis=1)[:, 0]
        for step in (-1e-6, 1e-6)
    )
    assert (before <= 0.5 + 1e-4).all()
    assert (after >= 0.5 - 1e-4).all()


def test_times_have_to_be_numbers(fitted: RenewalHazard) -> None:
    with pytest.raises(ValueError, match="no number"):
        fitted.predict_cumulative_incidence(asked(), [1.0, np.nan])


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_who_reaches_the_deadline_does_so_in_single_precision_too(kind: Any) -> None:
    left = np.random.default_rng(0).uniform(5, 398, 1_000)
    late = np.arange(1_000) % 2 == 0
    y = pd.DataFrame(
        {"event": np.where(late, "failed", "renewed"), "duration": np.where(late, left, left / 2)}
    )
    X = pd.DataFrame({"days_left": left}).astype(kind)
    hazard = RenewalHazard(max_periods=200_000).fit(X, y)
    just_before = 0.97 * X["days_left"].to_numpy(np.float64)[:, None]
    failed = list(hazard.events_).index("failed")
    assert hazard.predict_cumulative_incidence(X, just_before)[:, failed].max() == 0


def test_ends_that_weigh_nothing_are_not_there() -> None:
    X, y = drawn(2_000)
    odd = pd.concat([y, pd.DataFrame({"event": ["lost"] * 3, "duration": [20.0, 20.0, 5.0]})])
    more, weights = pd.concat([X, X.head(3)]), np.append(np.ones(2_000), np.zeros(3))
    one, other = RenewalHazard().fit(X, y), RenewalHazard().fit(more, odd, weights)
    assert list(other.events_) == ["failed", "renewed", "retired"]
    told = [hazard.predict_cumulative_incidence(asked()) for hazard in (one, other)]
    assert (told[0] == told[1]).all()
