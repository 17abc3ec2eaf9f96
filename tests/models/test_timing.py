"""When a renewal comes: spread over time, intervals that cover, the first day."""

import numpy as np
import pandas as pd
import pytest

from certforecast.errors import ModelError
from certforecast.models import OutcomePool, RenewalHazard
from certforecast.models.survival import coverage
from certforecast.models.timing import RenewalTimes
from certforecast.renewals import OUTCOMES

START = pd.Timestamp("2025-01-01", tz="UTC")


def drawn(renewals: int = 600, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Draw one row a renewal, 60 days before expiry: 9 of 10 renew after 20 to 40 days, or fail."""
    rng = np.random.default_rng(seed)
    failed = rng.random(renewals) < 0.1
    y = pd.DataFrame(
        {
            "event": np.where(failed, "failed", "renewed"),
            "duration": np.where(failed, 60.0, rng.uniform(20, 40, renewals)),
        }
    )
    X = pd.DataFrame({"days_left": 60.0, "days_to_slip": 50.0, "noise": rng.normal(size=renewals)})
    as_of = START + pd.to_timedelta(np.sort(rng.uniform(0, 700, renewals)), "D")
    known = {
        "as_of": as_of,
        "settled": as_of + pd.Timedelta("60D"),
        "fingerprint": [*map(str, range(renewals))],
    }
    return X, y, pd.DataFrame(known)


@pytest.fixture(scope="module")
def fitted() -> RenewalTimes:
    X, y, landmarks = drawn()
    return RenewalTimes(prior=None).fit(X, y, landmarks=landmarks)


def test_intervals_cover_as_often_as_they_say(fitted: RenewalTimes) -> None:
    X, y, _ = drawn(2000, seed=1)
    came = (y["event"] == "renewed").to_numpy()
    for level in (0.5, 0.9):
        interval = fitted.predict_interval(X, level)[came]
        assert coverage(interval["low"], interval["high"], y["duration"][came]) == pytest.approx(
            level, abs=0.05
        )
    assert interval["median"].mean() == pytest.approx(30, abs=2)
    assert (interval["high"] - interval["low"]).mean() < 25  # not just anything up to the expiry


def test_what_came_later_than_forecast_moves_the_intervals() -> None:
    """A model that is wrong about the fleet is brought into line by what the fleet did."""
    X, y, landmarks = drawn()
    wrong = y.assign(duration=np.where(y["event"] == "renewed", y["duration"] - 18, y["duration"]))
    names = list(X)
    elsewhere = RenewalHazard().fit(X[names], wrong)
    times = RenewalTimes(RenewalHazard(max_periods=10), prior=elsewhere)
    alone = times.fit(X.iloc[:0], y.iloc[:0], landmarks=landmarks.iloc[:0])
    assert alone.renewals_ == 0
    early = alone.predict_interval(X.head(1))["median"].iloc[0]
    assert early == pytest.approx(12, abs=3)
    corrected = RenewalTimes(prior=elsewhere).fit(X, y, landmarks=landmarks)
    assert corrected.predict_interval(X.head(1))["high"].iloc[0] > 36
    assert corrected.renewals_ > 100


def test_each_class_of_lifetime_has_levels_of_its_own_and_few_renewals_those_of_all() -> None:
    """What is foreseen far off in one class widens its intervals, not those of the others."""
    X, y, landmarks = drawn()
    late = X.index % 3 == 0
    classes = np.where(late, "398 days", "90 days").astype(object)
    X = X.assign(validity_profile=classes)
    elsewhere = RenewalHazard().fit(X[["days_left", "days_to_slip", "noise"]], y)
    shift = np.where(late & (y["event"] == "renewed"), 15.0, 0.0)
    times = RenewalTimes(RenewalHazard(max_periods=10), prior=elsewhere)
    times.fit(X, y.assign(duration=y["duration"] + shift), landmarks=landmarks)
    assert set(times.levels_by_class_) == {"398 days", "90 days"}
    now = X.head(2).assign(validity_profile=["398 days", "90 days"])
    medians = times.predict_interval(now)["median"]
    assert medians.iloc[0] - medians.iloc[1] > 8
    few = landmarks.index < 500
    rare = X.assign(validity_profile=np.where(few | ~late, "90 days", "398 days"))
    times.fit(rare, y, landmarks=landmarks)
    apart = np.abs(times.levels_by_class_["398 days"] - times.levels_).max()
    assert apart < np.abs(times.levels_ - np.linspace(0, 1, 401)).max() + 0.1
    unseen = X.head(1).assign(validity_profile="47 days")
    low = times.predict_interval(unseen)["low"].iloc[0]
    times.levels_by_class_ = {}
    assert low == times.predict_interval(unseen)["low"].iloc[0]


def test_what_is_past_due_has_levels_of_its_own() -> None:
    """The forecasts are right but for what is overdue, which comes later than they say."""
    X, y, landmarks = drawn(1200)
    overdue = np.arange(len(X)) % 4 == 0
    X = X.assign(validity_profile="90 days", days_past_due=np.where(overdue, 5.0, -5.0))
    elsewhere = RenewalHazard().fit(X[["days_left", "days_to_slip", "noise"]], y)
    shift = np.where(overdue & (y["event"] == "renewed"), 15.0, 0.0)
    y = y.assign(duration=y["duration"] + shift)
    times = RenewalTimes(RenewalHazard(max_periods=10), prior=elsewhere).fit(X, y, landmarks=landmarks)
    assert set(times.levels_by_class_) == {"90 days", "90 days, not due", "90 days, past due"}
    came = (y["event"] == "renewed").to_numpy()
    for rows in (came & overdue, came & ~overdue):
        interval, ended = times.predict_interval(X[rows]), y["duration"][rows]
        assert coverage(interval["low"], interval["high"], ended) == pytest.approx(0.9, abs=0.05)
    without = RenewalTimes(RenewalHazard(max_periods=10), prior=elsewhere)
    names = [name for name in X if name != "days_past_due"]
    interval = without.fit(X[names], y, landmarks=landmarks).predict_interval(X[came & ~overdue])
    assert (interval["low"] > times.predict_interval(X[came & ~overdue])["low"] - 1).all()
    assert interval["high"].mean() > times.predict_interval(X[came & ~overdue])["high"].mean() + 5


def test_intervals_are_as_wide_as_would_have_covered_what_came_next() -> None:
    """In the last fifth of the time, renewals scatter twice as widely as before."""
    X, y, landmarks = drawn(3000)
    elsewhere = RenewalHazard().fit(X, y)
    wild = (landmarks["as_of"] > landmarks["as_of"].quantile(0.8)) & (y["event"] == "renewed")
    scattered = y.assign(duration=np.where(wild, 30 + 2 * (y["duration"] - 30), y["duration"]))
    times = RenewalTimes(RenewalHazard(max_periods=10), prior=elsewhere)
    steady = times.fit(X, y, landmarks=landmarks).predict_interval(X)
    assert times.needed_[360] == pytest.approx(0.9, abs=0.03)
    wide = times.fit(X, scattered, landmarks=landmarks).predict_interval(X)
    assert times.needed_[360] > 0.95
    times.needed_ = np.linspace(0, 1, 401)
    corrected = times.predict_interval(X)
    widths = [(table["high"] - table["low"]).mean() for table in (steady, corrected, wide)]
    assert widths == sorted(widths)
    assert widths[2] > widths[1] + 0.5


def test_intervals_reach_as_far_as_certificates_do() -> None:
    X, y, landmarks = drawn(1200)
    X = X.assign(days_left=1000.0, days_to_slip=970.0)
    y = y.assign(duration=np.where(y["event"] == "renewed", y["duration"] + 900, 1000.0))
    landmarks = landmarks.assign(settled=landmarks["as_of"] + pd.Timedelta("100D"))
    times = RenewalTimes(prior=None).fit(X, y, landmarks=landmarks)
    came = (y["event"] == "renewed").to_numpy()
    interval = times.predict_interval(X)[came]
    assert coverage(interval["low"], interval["high"], y["duration"][came]) == pytest.approx(0.9, abs=0.05)


def test_intervals_cover_what_is_open_at_a_moment_though_some_are_looked_at_more_often() -> None:
    """Those looked at often are those that come late: one vote to each renewal would cover too few looks."""
    X, y, landmarks = drawn(1200)
    often = (y["duration"] > 30) & (y["event"] == "renewed")
    rows = np.repeat(np.arange(len(X)), np.where(often, 5, 1))
    tables = [table.iloc[rows].reset_index(drop=True) for table in (X, y, landmarks)]
    wrong = y.assign(duration=np.where(y["event"] == "renewed", y["duration"] - 5, y["duration"]))
    times = RenewalTimes(RenewalHazard(max_periods=10), prior=RenewalHazard().fit(X, wrong))
    times.fit(tables[0], tables[1], landmarks=tables[2])
    came = (tables[1]["event"] == "renewed").to_numpy()
    interval = times.predict_interval(tables[0])[came]
    covered = coverage(interval["low"], interval["high"], tables[1]["duration"][came])
    assert covered == pytest.approx(0.9, abs=0.03)


def test_incidence_ends_at_the_probabilities_and_keeps_to_its_days(fitted: RenewalTimes) -> None:
    X, _, _ = drawn(5)
    p = np.tile([0.5, 0.2, 0.2, 0.1], (5, 1))
    spread = fitted.predict_incidence(X, p, [0.0, 30.0, 50.0, 55.0, 59.9, 60.0, 90.0])
    assert spread.shape == (5, 4, 7)
    assert (np.diff(spread, axis=2) >= -1e-12).all()
    np.testing.assert_allclose(spread[:, :, -1], p)
    by = {name: spread[0, number] for number, name in enumerate(OUTCOMES)}
    assert by["failed"].tolist() == [0, 0, 0, 0, 0, 0.2, 0.2]
    assert by["slipped"][2] == 0
    assert by["on_time"][2] == pytest.approx(0.5)
    assert 0.15 < by["on_time"][1] < 0.35  # half of them by day 30


def test_past_the_slip_point_nothing_is_on_time_and_the_rest_still_adds_up(fitted: RenewalTimes) -> None:
    X = drawn(1)[0].assign(days_left=5.0, days_to_slip=-5.0)
    spread = fitted.predict_incidence(X, [[0.0, 0.6, 0.3, 0.1]], [2.0, 5.0])
    np.testing.assert_allclose(spread[0, :, 1], [0.0, 0.6, 0.3, 0.1])
    assert 0 < spread[0, 1, 0] < 0.6


def test_nothing_to_learn_from_is_an_error() -> None:
    X, y, landmarks = (table.iloc[:5] for table in drawn())
    with pytest.raises(ValueError, match="too few renewals"):
        RenewalTimes(prior=None).fit(X, y, landmarks=landmarks)


@pytest.mark.parametrize("level", [0, 1, 1.5])
def test_a_level_is_a_share(fitted: RenewalTimes, level: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        fitted.predict_interval(drawn(1)[0], level)


def test_a_pool_without_times_says_so() -> None:
    X, y, _ = drawn(100)
    pool = OutcomePool(prior=None).fit(X, y["event"])
    with pytest.raises(ModelError, match="does not say when"):
        pool.predict_interval(X)


@pytest.mark.parametrize("prior", ["shiped", RenewalHazard()])
def test_a_prior_that_is_none_is_refused_with_what_there_is(prior: object) -> None:
    X, y, landmarks = drawn(40)
    with pytest.raises(ValueError, match=r"prior is .*; choose 'shipped', None or a fitted RenewalHazard"):
        RenewalTimes(prior=prior).fit(X, y, landmarks=landmarks)


def test_an_unknown_end_leaves_the_others_alone(fitted: RenewalTimes) -> None:
    X, _, _ = drawn(20)
    some = X.assign(days_left=X["days_left"].where(X.index != 3))
    chances, rest = np.full((20, 4), 0.25), X.index != 3
    told, alone = (fitted.predict_incidence(rows, chances, [7.0, 30.0]) for rows in (some, X))
    np.testing.assert_array_equal(told[rest], alone[rest])
    pd.testing.assert_frame_equal(fitted.predict_interval(some)[rest], fitted.predict_interval(X)[rest])


def test_an_unknown_class_of_lifetime_has_an_interval_too() -> None:
    X, y, landmarks = drawn()
    X["validity_profile"] = pd.Series(["90 days"] * 599 + [None], dtype="str")
    times = RenewalTimes(prior=None).fit(X, y, landmarks=landmarks)
    assert times.predict_interval(X).notna().all(axis=None)
    with pytest.raises(ValueError, match="inconsistent"):
        times.fit(X, y, landmarks=landmarks.head(5))
