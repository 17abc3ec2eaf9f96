"""Backtests: what is learned from, what is scored, and how it is summed up."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, log_loss

from certforecast.errors import InputError, ModelError, SchemaError
from certforecast.evaluation import BacktestResult, at_capacity, auprc, backtest, caught_at_k, default_cutoffs
from certforecast.features import FEATURES
from certforecast.models.training import trainable
from certforecast.policy import RenewalPolicy
from tests.evaluation.conftest import OUTCOMES, P_COLUMNS, START, Constant, Shares, days, make_frame

MODELS = {"danger": Shares, "constant": Constant}
KEY = ["as_of", "fingerprint"]


def perfect(frame: pd.DataFrame) -> pd.DataFrame:
    table = frame[KEY].copy()
    table[P_COLUMNS] = (frame["outcome"].to_numpy()[:, None] == OUTCOMES).astype(float)
    return table


def test_every_window_is_scored_by_a_model_trained_at_its_start(frame, result):
    table = result.predictions
    assert (table["as_of"] >= table["cutoff"]).all()
    for start, end in pairwise(result.cutoffs):
        assert (table.loc[table["cutoff"] == start, "as_of"] < end).all()
    assert not table.duplicated(["model", *KEY]).any()
    known = frame[frame["as_of"] >= result.cutoffs[0]]
    known = known[trainable(known, frame["resolved_at"].max(), RenewalPolicy())]
    assert len(result.rows_of("danger")) == len(result.rows_of("constant")) == len(known) > 100
    pd.testing.assert_frame_equal(
        result.rows_of("danger")[[*KEY, "outcome"]].sort_values(KEY, ignore_index=True),
        known[[*KEY, "outcome"]].sort_values(KEY, ignore_index=True),
    )
    assert np.allclose(table[P_COLUMNS].sum(axis=1), 1)


def test_what_is_scored_does_not_depend_on_the_outcome(frame, result):
    scored = result.rows_of("danger")
    last = frame["resolved_at"].max() - timedelta(days=30)
    rest = frame[(frame["as_of"] >= result.cutoffs[0]) & ~frame["intervention"]]
    assert set(scored["fingerprint"]) == set(rest.loc[rest["not_after"] <= last, "fingerprint"])


def test_renewals_that_cannot_be_scored_yet_take_places_all_the_same(frame, result):
    scored = result.rows_of("danger")
    at_moments = frame[frame["as_of"].isin(scored["as_of"])]
    others = result.unscored[result.unscored["model"] == "danger"]
    assert len(others) > 50
    assert set(map(tuple, at_moments[KEY].to_numpy())) == {
        tuple(row) for table in (scored, others) for row in table[KEY].to_numpy()
    }
    assert not scored.merge(others, on=KEY).size
    alone = BacktestResult(result.predictions, result.unscored.head(0), result.cutoffs, 1, result.policy)
    moved = result.ranks_of("danger") - alone.ranks_of("danger")
    assert moved.min() == 0
    assert moved.max() > 0
    assert result.ranks_of("danger").max() <= at_moments.groupby("as_of").size().max()


def test_models_see_features_and_weights_that_long_lifetimes_do_not_sway(frame):
    seen = []

    class Looking(Constant):
        def fit(self, X, y, sample_weight=None):
            seen.append((X, y, sample_weight))
            return super().fit(X, y, sample_weight)

        def proba_frame(self, X):
            assert list(X.columns) == list(FEATURES)
            return super().proba_frame(X)

    cutoff = default_cutoffs(frame, 1)[0]
    backtest(frame, {"looking": Looking}, [cutoff])
    ((X, y, weights),) = seen
    rows = frame[trainable(frame, cutoff, RenewalPolicy())]
    assert list(X.columns) == list(FEATURES)
    assert list(X.index) == list(rows.index)
    assert list(y) == list(rows["outcome"])
    assert weights.mean() == pytest.approx(1)
    # Not by what the looks came to: how many there are tells the outcome.
    assert np.allclose(weights * rows["validity_days"], weights[0] * rows["validity_days"].iloc[0])


@pytest.mark.parametrize("seed", range(5))
def test_what_comes_later_changes_no_forecast(seed):
    frame = make_frame(seed)
    rng = np.random.default_rng(seed)
    cutoffs = default_cutoffs(frame, 2)
    cutoff = cutoffs[0]
    before = backtest(frame, {"danger": Shares}, cutoffs).predictions

    later = (frame["as_of"] >= cutoff) | ~(frame["resolved_at"] <= cutoff)
    touched = frame.index[later & (rng.random(len(frame)) < 0.5)]
    assert len(touched) > 50
    changed = frame.copy()
    numbers = [name for name, feature in FEATURES.items() if feature.kind != "category"]
    changed.loc[touched, numbers] = rng.normal(size=(len(touched), len(numbers)))
    changed.loc[touched, "outcome"] = rng.choice(OUTCOMES, len(touched))
    # A renewal that is not resolved by the cutoff may come to be so at any time after it.
    unresolved = touched[~(frame.loc[touched, "resolved_at"] <= cutoff)]
    changed.loc[unresolved, "resolved_at"] = cutoff + days(rng.integers(1, 90, len(unresolved)))
    after = backtest(changed, {"danger": Shares}, cutoffs).predictions

    others = frame.loc[frame.index.difference(touched), KEY]
    pair = [
        table[table["cutoff"] == cutoff].merge(others).set_index(KEY)[P_COLUMNS] for table in (before, after)
    ]
    both = pair[0].index.intersection(pair[1].index)
    assert len(both) > 10
    pd.testing.assert_frame_equal(pair[0].loc[both], pair[1].loc[both], check_exact=True)


def test_what_was_known_does_change_forecasts(frame):
    cutoff = default_cutoffs(frame, 1)
    changed = frame.copy()
    changed.loc[trainable(frame, cutoff[0], RenewalPolicy()).to_numpy().nonzero()[0][:50], "outcome"] = (
        "failed"
    )
    one, other = (backtest(table, {"m": Shares}, cutoff).predictions for table in (frame, changed))
    assert not np.allclose(one["p_failed"], other["p_failed"])


def test_a_perfect_forecast_scores_one_and_a_constant_one_the_base_rate(frame):
    cutoff = default_cutoffs(frame, 1)  # one training, so that the constant is one
    result = backtest(frame, {"constant": Constant}, cutoff, given={"perfect": perfect(frame)}, k=1000)
    table = result.summary("failed").set_index("model")
    assert list(table.index) == ["perfect", "constant"]
    assert table.loc["perfect", ["auprc", "auprc_low", "auprc_high", "auroc", "caught"]].eq(1).all()
    assert table.loc["perfect", ["brier", "calibration_error"]].eq(0).all()
    base = (result.rows_of("constant")["outcome"] == "failed").mean()
    assert table.loc["constant", "auprc"] == pytest.approx(base)
    assert table.loc["constant", "auroc"] == pytest.approx(0.5)


@pytest.mark.parametrize("indexed", [False, True])
def test_given_probabilities_hold_everything_to_the_rows_they_cover(frame, indexed):
    cutoffs = default_cutoffs(frame, 3)
    tables = {}
    for name, keep in (("one", 0.7), ("two", 0.6)):
        table = perfect(frame).sample(frac=keep, random_state=1 if name == "one" else 2)
        tables[name] = table.set_index(KEY) if indexed else table
    result = backtest(frame, MODELS, cutoffs, given=tables)
    rows = {name: set(map(tuple, result.rows_of(name)[KEY].to_numpy())) for name in result.models}
    assert rows["danger"] == rows["constant"] == rows["one"] == rows["two"]
    covered = [set(table.reset_index().set_index(KEY).index) for table in tables.values()]
    unrestricted = backtest(frame, MODELS, cutoffs).rows_of("danger")
    assert rows["one"] == set(unrestricted.set_index(KEY).index) & covered[0] & covered[1]
    restricted = result.rows_of("danger").set_index(KEY)[P_COLUMNS]  # scored on fewer, trained on the same
    pd.testing.assert_frame_equal(restricted, unrestricted.set_index(KEY).loc[restricted.index, P_COLUMNS])
    scored = result.rows_of("one")
    assert (scored["p_failed"] == (scored["outcome"] == "failed")).all()


def test_summary_figures_are_those_of_the_measures(result: BacktestResult):
    for outcome in OUTCOMES:
        table = result.summary(outcome)
        assert table["auprc"].is_monotonic_decreasing
        for record in table.to_dict("records"):
            rows = result.rows_of(record["model"])
            y, p = rows["outcome"] == outcome, rows[f"p_{outcome}"]
            assert record["auprc"] == auprc(y, p) == result.auprc(record["model"], outcome)
            both = pd.concat([rows, result.unscored[result.unscored["model"] == record["model"]]])
            assert record["caught"] == pytest.approx(
                caught_at_k(
                    both["outcome"] == outcome,
                    both[f"p_{outcome}"],
                    both["as_of"],
                    both["fingerprint"],
                    result.k,
                ),
                nan_ok=True,
            )
            assert record["auprc_low"] <= record["auprc"] <= record["auprc_high"]
    pd.testing.assert_frame_equal(result.summary(), result.summary())
    assert result.best_rule("failed", ["constant", "danger"]) == "danger"
    assert result.best_rule("failed", ["constant"]) == "constant"


def test_intervals_widen_when_rows_of_a_lineage_go_together(frame, result):
    alone = result.predictions.assign(lineage=[f"l{row}" for row in range(len(result.predictions))])
    loose = BacktestResult(alone, result.unscored, result.cutoffs, result.k, result.policy)
    widths = [
        table.summary().set_index("model").eval("auprc_high - auprc_low")["danger"]
        for table in (result, loose)
    ]
    assert widths[0] > widths[1] > 0


def test_a_difference_is_told_from_noise_by_resampling_both_alike(frame, result):
    gain = result.difference("danger", "constant")
    assert gain.low <= gain.mean <= gain.high
    assert gain.mean == pytest.approx(result.auprc("danger") - result.auprc("constant"), abs=0.03)
    loss = result.difference("constant", "danger")
    assert (loss.mean, loss.low, loss.high) == pytest.approx((-gain.mean, -gain.high, -gain.low))
    assert result.difference("danger", "danger") == (0.0, 0.0, 0.0)
    assert not result.difference("danger", "danger").wins
    assert gain.wins
    assert not loss.wins
    # What moves both moves the difference less: the paired interval is narrower than the two together.
    row = result.summary().set_index("model")
    apart = (row["auprc_high"] - row["auprc_low"]).sum()
    assert gain.high - gain.low < apart
    shuffled = replace(result, predictions=result.predictions.sample(frac=1, random_state=1))
    assert shuffled.difference("danger", "constant") == pytest.approx(gain)


def test_by_cutoff_adds_up(result):
    table = result.by_cutoff("failed")
    assert len(table) == 2 * len(result.cutoffs)
    assert table.groupby("model")["rows"].sum().eq(len(result.rows_of("danger"))).all()
    assert table[["auprc", "auroc"]].stack().between(0, 1).all()


def test_description_and_dictionary(result):
    figures = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    rows = result.rows_of("danger")
    assert figures["rows"] == len(rows)
    assert figures["renewals"] == rows["fingerprint"].nunique() == sum(figures["outcomes"].values())
    assert figures["outcomes"]["failed"] == rows.loc[rows["outcome"] == "failed", "fingerprint"].nunique() > 0
    assert set(figures["summary"]) == {*OUTCOMES, "late"}
    assert figures["summary"]["failed"][0]["model"] == "danger"
    text = result.describe()
    assert "\n" not in text
    assert f"{len(rows):,} rows" in text
    assert f"{rows['as_of'].nunique()} moments after 3 cutoffs" in text


def test_an_outcome_that_did_not_come_about_gives_null(frame):
    quiet = frame[frame["outcome"] != "retired"].reset_index(drop=True)
    figures = backtest(quiet, MODELS, default_cutoffs(quiet, 1)).to_dict()["summary"]["retired"]
    assert [record["auprc"] for record in figures] == [None, None]
    json.dumps(figures, allow_nan=False)


def test_progress_is_told_in_shares(frame):
    steps: list[float] = []
    backtest(frame, MODELS, default_cutoffs(frame, 3), progress=steps.append)
    assert steps == sorted(steps)
    assert steps[0] == pytest.approx(1 / 3 / len(MODELS))
    assert steps[-1] == 1


def test_the_longer_the_history_the_more_often_models_are_trained(frame):
    assert len(default_cutoffs(frame)) == 5
    times = ["as_of", "not_before", "not_after", "resolved_at"]
    early = frame["as_of"].min()

    def stretched(factor: int) -> list[datetime]:
        return default_cutoffs(frame.assign(**{it: early + (frame[it] - early) * factor for it in times}))

    longer = stretched(6)
    assert 5 < len(longer) < 20
    assert timedelta(days=150) < longer[1] - longer[0] <= timedelta(days=183)
    assert len(stretched(60)) == 20


def test_default_cutoffs_lie_late_and_evenly_after_there_is_something_to_learn(frame):
    policy = RenewalPolicy()
    cutoffs = default_cutoffs(frame, 4)
    gaps = {end - start for start, end in pairwise(cutoffs)}
    assert max(gaps) - min(gaps) < timedelta(milliseconds=1)
    scored = frame[trainable(frame, frame["resolved_at"].max(), policy)]["as_of"]
    assert (scored >= cutoffs[0]).mean() == pytest.approx(0.4, abs=0.05)
    assert cutoffs[-1] < scored.max()

    late = frame[frame["as_of"] >= START + days([440])[0]].reset_index(drop=True)
    first = default_cutoffs(late, 4)[0]
    assert late[trainable(late, first, policy)]["outcome"].nunique() >= 2
    assert late[trainable(late, first - timedelta(days=1), policy)]["outcome"].nunique() < 2
    backtest(late, MODELS, default_cutoffs(late, 4))


def test_what_cannot_be_done_is_said(frame):
    cutoffs = default_cutoffs(frame, 2)
    with pytest.raises(ModelError, match="too little to train on at the cutoff 2024-01-21"):
        backtest(frame, MODELS, [START + timedelta(days=20)])
    with pytest.raises(ModelError, match="choose earlier cutoffs"):
        backtest(frame, MODELS, [frame["as_of"].max()])
    with pytest.raises(ModelError, match="covers none of the rows"):
        backtest(frame, MODELS, cutoffs, given={"truth": perfect(frame).head(1)})
    with pytest.raises(ModelError, match="too little history for a backtest"):
        default_cutoffs(frame[frame["outcome"].isin(["on_time"])])
    with pytest.raises(ModelError, match="no renewal of the frame is resolved"):
        default_cutoffs(frame[frame["outcome"] == "open"])
    with pytest.raises(SchemaError, match="the frame lacks resolved_at"):
        backtest(frame.drop(columns="resolved_at"), MODELS, cutoffs)
    with pytest.raises(SchemaError, match="given 'truth' lacks p_failed"):
        backtest(frame, MODELS, cutoffs, given={"truth": perfect(frame).drop(columns="p_failed")})
    with pytest.raises(InputError, match="more than one row"):
        backtest(frame, MODELS, cutoffs, given={"truth": pd.concat([perfect(frame)] * 2)})
    with pytest.raises(InputError, match="danger is both"):
        backtest(frame, MODELS, cutoffs, given={"danger": perfect(frame)})
    with pytest.raises(InputError, match="at least one cutoff"):
        backtest(frame, MODELS, [])
    result = backtest(frame, MODELS, cutoffs)
    with pytest.raises(InputError, match="'soon' is no outcome"):
        result.summary("soon")
    with pytest.raises(InputError, match="'oracle' was not part"):
        result.auprc("oracle")


def test_late_is_slipped_or_failed(frame):
    result = backtest(frame, MODELS, default_cutoffs(frame, 2))
    rows = result.rows_of("danger")
    late = rows["outcome"].isin(["slipped", "failed"])
    expected = average_precision_score(late, rows["p_slipped"] + rows["p_failed"])
    assert result.auprc("danger", "late") == pytest.approx(expected)
    p = np.clip(rows["p_slipped"] + rows["p_failed"], 1e-15, 1 - 1e-15)
    figures = result.summary("late").set_index("model").loc["danger"]
    assert figures["log_loss"] == pytest.approx(log_loss(late, p))


def test_a_difference_in_log_loss_is_positive_for_the_better(frame):
    """The truth beats everything in log loss, too, and beyond noise."""
    result = backtest(frame, MODELS, default_cutoffs(frame, 2), given={"truth": perfect(frame)})
    better = result.difference("truth", "danger", "failed", "log_loss")
    assert better.wins
    worse = result.difference("danger", "truth", "failed", "log_loss")
    assert worse.mean == pytest.approx(-better.mean)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"p_failed": np.nan}, "rows that are no probabilities"),
        ({"p_failed": 5.0}, "p_failed 5"),
        ({"p_failed": -0.1}, "p_failed -0.1"),
        ({"p_failed": "0.1x"}, "no numbers"),
    ],
)
def test_what_is_no_probability_is_scored_by_nobody(frame, change, fault):
    cutoffs = default_cutoffs(frame, 1)
    with pytest.raises(InputError, match=f"given 'odd' holds .*{fault}"):
        backtest(frame, MODELS, cutoffs, given={"odd": perfect(frame).assign(**change)})

    class Odd(Constant):
        def proba_frame(self, X):
            return super().proba_frame(X).assign(**change)

    with pytest.raises(ModelError, match=f"'odd', trained as of .*, gave .*{fault}"):
        backtest(frame, {"odd": Odd}, cutoffs)


def test_what_cannot_be_backtested_is_refused(frame):
    cutoffs = default_cutoffs(frame, 2)
    naive = frame.assign(as_of=frame["as_of"].dt.tz_localize(None))
    twice = pd.concat([frame, frame.head(3)])
    for table, moments, k, fault in (
        (frame, pd.DatetimeIndex([]), 10, "at least one cutoff"),
        (frame, [pd.NaT], 10, "no moment"),
        (naive, cutoffs, 10, "no time zone"),
        (twice, cutoffs, 10, "3 rows twice"),
        (frame, cutoffs, -3, "k is -3"),
        (frame, cutoffs, "10", "k is '10'"),
    ):
        with pytest.raises(InputError, match=fault):
            backtest(table, MODELS, moments, k=k)
    with pytest.raises(InputError, match="n is 0"):
        default_cutoffs(frame, 0)
    result = backtest(frame, MODELS, pd.DatetimeIndex(cutoffs))
    first, second = result.models[:2]
    for call, fault in (
        (lambda: result.difference(first, second, "failed", "brier"), "'brier' is no measure"),
        (lambda: result.by_horizon("failed", []), "at least one horizon"),
        (lambda: result.ranks_of(first, "bogus"), "'bogus' is no outcome"),
    ):
        with pytest.raises(InputError, match=fault):
            call()
    blind = backtest(frame.drop(columns=["days_left", "days_to_slip"]), {"rate": Constant}, cutoffs)
    for call in (lambda: blind.by_horizon("late"), lambda: at_capacity(blind, "late")):
        with pytest.raises(InputError, match="no days_to_slip"):
            call()
