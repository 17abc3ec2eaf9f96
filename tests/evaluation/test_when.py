"""Forecasts of when: scores over time with censoring, and coverage."""

import pytest

from certforecast.errors import InputError
from certforecast.evaluation import brier_by_time, coverage_by_group, integrated_brier, timing
from certforecast.evaluation.backtesting import DAYS
from certforecast.evaluation.resampling import interval
from certforecast.evaluation.when import resampled_ibs


def test_scores_are_those_of_the_measure_on_all_rows(timed) -> None:
    facts = timed.facts[timed.facts["duration"].notna()]
    lost = facts["event"] == "censored"
    assert 0 < lost.sum() < len(facts)
    assert (~facts["scored"]).any()
    for outcome, parts in (("failed", [2]), ("late", [1, 2])):
        found = timing(timed, outcome).set_index("model").loc["timed"]
        given = timed.timing["timed"].incidence[facts.index][:, parts].sum(axis=1, dtype=float)
        came = facts["outcome"].isin(["slipped", "failed"][2 - len(parts) :]) & ~lost
        shown = (came, facts["duration"], lost, given, DAYS)
        assert found["ibs"] == pytest.approx(integrated_brier(*shown))
        assert found["brier_7"] == pytest.approx(brier_by_time(*shown)[DAYS.index(7)])
        assert found["ibs_low"] <= found["ibs"] <= found["ibs_high"]


def test_every_model_says_when_a_failure_comes_and_only_some_say_more(timed, result) -> None:
    failed = timing(timed, "failed")
    assert list(failed["model"]) == ["timed", "constant"]  # the better first
    assert list(timing(timed, "late")["model"]) == ["timed"]
    table = timed.described("constant", every=True)
    table = table[table["duration"].notna()]
    given = table["p_failed"].to_numpy()[:, None] * (table["days_left"].to_numpy()[:, None] <= DAYS)
    lost = table["event"] == "censored"
    expected = integrated_brier((table["outcome"] == "failed") & ~lost, table["duration"], lost, given, DAYS)
    assert failed.set_index("model").loc["constant", "ibs"] == pytest.approx(expected)
    assert timing(result).empty
    with pytest.raises(InputError, match="'soon' is no outcome"):
        timing(timed, "soon")


def test_a_difference_in_the_integrated_brier_score_is_paired(timed, result) -> None:
    table = timing(timed, "failed").set_index("model")
    gain = timed.difference("timed", "constant", measure="ibs")
    assert gain.low < gain.mean < gain.high
    assert gain.mean == pytest.approx(table.loc["constant", "ibs"] - table.loc["timed", "ibs"], rel=0.2)
    assert gain.mean > 0
    other = timed.difference("constant", "timed", measure="ibs")
    assert (other.mean, other.low, other.high) == pytest.approx((-gain.mean, -gain.high, -gain.low))
    assert timed.difference("timed", "timed", "late", "ibs") == (0.0, 0.0, 0.0)
    # The draws are those of the intervals, the same for both: what is hard for both cancels out.
    drawn = {model: resampled_ibs(timed, model, "failed") for model in timed.models}
    for model, row in table.iterrows():
        assert (row["ibs_low"], row["ibs_high"]) == interval(drawn[model])
    assert (gain.low, gain.high) == interval(drawn["constant"] - drawn["timed"])
    assert gain.high - gain.low < (table["ibs_high"] - table["ibs_low"]).sum()
    with pytest.raises(InputError, match="'constant' does not say when 'late' comes about"):
        timed.difference("timed", "constant", "late", "ibs")
    with pytest.raises(InputError, match="'danger' does not say when"):
        result.difference("danger", "constant", measure="ibs")
    with pytest.raises(InputError, match="'oracle' was not part"):
        timed.difference("timed", "oracle", "late", "ibs")


def test_coverage_counts_every_look(timed) -> None:
    whole = coverage_by_group(timed).iloc[0]
    rows = timed.described("timed").join(timed.timing["timed"].interval)
    rows = rows[rows["outcome"].isin(["on_time", "slipped"])]
    within = rows["duration"].between(rows["low"], rows["high"])
    assert whole["coverage"] == pytest.approx(within.mean())
    assert 0.6 < whole["coverage"] < 0.95
    assert whole["coverage_low"] < whole["coverage"] < whole["coverage_high"]
    assert whole["renewals"] == rows["fingerprint"].nunique()
    for group in ("issuer", "owner", "validity"):
        table = coverage_by_group(timed, group)
        assert table["renewals"].sum() == whole["renewals"]
        assert table["coverage"].min() <= whole["coverage"] <= table["coverage"].max()


def test_without_intervals_there_is_nothing_to_cover(timed, result) -> None:
    with pytest.raises(InputError, match="'danger' gave no intervals"):
        coverage_by_group(result)
    with pytest.raises(InputError, match="'constant' gave no intervals"):
        coverage_by_group(timed, model="constant")
