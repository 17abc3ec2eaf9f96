"""Calibration errors, what is noise in them, and calibration by group."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from certforecast.errors import InputError
from certforecast.evaluation import calibration, calibration_by_group
from certforecast.evaluation.reliability import floor_of_calibration_error


def told(result, rng: np.random.Generator, shift: float = 0.0):
    """The same rows with outcomes drawn, renewal by renewal, from probabilities that are `shift` too low."""
    rows = result.rows_of("danger").copy()
    codes, names = pd.factorize(rows["fingerprint"])
    truth, drawn = rng.uniform(0.1, 0.5, len(names))[codes], rng.random(len(names))[codes]
    rows["p_failed"] = truth - shift
    rows["p_on_time"], rows["p_slipped"], rows["p_retired"] = 1 - rows["p_failed"], 0.0, 0.0
    rows["outcome"] = np.where(drawn < truth, "failed", "on_time")
    return replace(result, predictions=rows)


def test_forecasts_that_are_right_stay_below_the_floor_and_others_do_not(result) -> None:
    rng = np.random.default_rng(0)
    right = pd.concat([calibration(told(result, rng)) for _ in range(20)])
    assert right["beyond_noise"].mean() <= 0.2  # 5 % are to be
    assert right["floor"].mean() == pytest.approx(right["error"].mean(), rel=0.2)
    assert right["debiased"].mean() < 0.75 * right["error"].mean()
    wrong = calibration(told(result, rng, shift=0.1)).iloc[0]
    assert wrong["beyond_noise"]
    assert wrong["low"] > 0
    assert wrong["observed"] - wrong["forecast"] > 0.05
    assert wrong["low"] <= wrong["debiased"] <= wrong["high"]
    assert wrong["debiased"] <= wrong["error"]


def test_the_floor_counts_renewals_not_rows() -> None:
    p = np.random.default_rng(0).uniform(0.05, 0.4, 200)
    names = pd.Series([f"f{row}" for row in range(200)])
    once = floor_of_calibration_error(p, names).mean()
    together = floor_of_calibration_error(np.repeat(p, 5), names.repeat(5)).mean()
    apart = floor_of_calibration_error(np.repeat(p, 5), pd.Series(range(1000)).astype(str)).mean()
    assert together == pytest.approx(once, rel=0.1)
    assert apart < 0.6 * together
    # By chance, a share of n renewals is off by about its standard deviation.
    one_bin = floor_of_calibration_error(np.full(400, 0.2), pd.Series(range(400)).astype(str))
    assert one_bin.mean() == pytest.approx(np.sqrt(0.2 * 0.8 / 400) * np.sqrt(2 / np.pi), rel=0.2)


@pytest.mark.parametrize("group", ["issuer", "owner", "validity"])
def test_groups_add_up_to_the_whole(result, group) -> None:
    table = calibration_by_group(result, group, "failed", "constant")
    rows = result.rows_of("constant")
    assert table["rows"].sum() == len(rows)
    assert table["renewals"].sum() == rows["fingerprint"].nunique()
    assert (table["rows"] * table["observed"]).sum() == pytest.approx((rows["outcome"] == "failed").sum())
    assert (table["rows"] * table["forecast"]).sum() == pytest.approx(rows["p_failed"].sum())
    np.testing.assert_allclose(table["difference"], table["observed"] - table["forecast"])
    assert ((table["low"] <= table["difference"]) & (table["difference"] <= table["high"])).all()
    assert table["renewals"].is_monotonic_decreasing


def test_a_group_that_fails_more_often_than_forecast_is_found(result) -> None:
    table = calibration_by_group(result, "owner", "failed", "constant").set_index("value")
    assert set(table.index) == {"careless", "careful", "unknown"}
    assert table.loc["careless", "low"] > 0  # the constant forecast knows nothing of owners
    assert table.loc["careful", "high"] < 0
    assert table.loc["careless", "difference"] > table.loc["careless", "noise_high"] > 0
    # Of nineteen that never failed where a quarter were to, more is to be expected than chance may do.
    few = table.loc["unknown"]
    assert few["observed"] == 0
    assert few["difference"] < few["noise_low"] < 0
    # The more renewals, the less chance may do.
    widths = (table["noise_high"] - table["noise_low"]).loc[table["renewals"].sort_values().index]
    assert widths.is_monotonic_decreasing


def test_groups_are_named(result) -> None:
    with pytest.raises(InputError, match="'colour' is no group; choose one of issuer, owner, validity"):
        calibration_by_group(result, "colour")
    with pytest.raises(InputError, match="'oracle' was not part"):
        calibration_by_group(result, "owner", model="oracle")
