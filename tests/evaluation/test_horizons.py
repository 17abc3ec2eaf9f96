"""Scores by how many days are left."""

import numpy as np
import pandas as pd
import pytest

from certforecast.errors import InputError
from certforecast.evaluation import HORIZONS, auroc, brier, calibration_error


def test_each_horizon_is_scored_on_what_expires_within_it(result) -> None:
    table = result.by_horizon("failed").set_index(["horizon", "model"])
    assert list(table.index.get_level_values(0).unique()) == list(HORIZONS)
    for model in result.models:
        rows = result.described(model)
        for horizon in HORIZONS:
            near, found = rows[rows["days_left"] <= horizon], table.loc[(horizon, model)]
            y = near["outcome"] == "failed"
            assert found["rows"] == len(near)
            assert found["renewals"] == near["fingerprint"].nunique()
            assert found["base_rate"] == pytest.approx(y.mean())
            assert found["brier"] == pytest.approx(brier(y, near["p_failed"]))
            assert found["auroc"] == pytest.approx(auroc(y, near["p_failed"]), nan_ok=True)
            assert found["calibration_error"] == pytest.approx(calibration_error(y, near["p_failed"]))
            assert found["auprc_low"] <= found["auprc_high"]
    assert table["rows"].groupby("model").apply(lambda rows: rows.is_monotonic_increasing).all()
    everything = result.by_horizon("failed", [1000]).set_index("model")
    whole = result.summary("failed").set_index("model").loc[everything.index]
    shared = [name for name in everything if name in whole]
    pd.testing.assert_frame_equal(everything[shared], whole[shared])


@pytest.mark.parametrize("outcome", ["late", "slipped"])
def test_lateness_is_asked_of_what_is_not_past_its_slip_point(result, outcome) -> None:
    table = result.by_horizon(outcome, [7, 14]).set_index(["horizon", "model"])
    rows = result.described("danger")
    assert (rows["days_to_slip"] <= 0).sum() > 20
    for horizon in (7, 14):
        near = rows[(rows["days_to_slip"] > 0) & (rows["days_to_slip"] <= horizon)]
        found = table.loc[(horizon, "danger")]
        assert found["rows"] == len(near) > 0
        y = near["outcome"].isin(["slipped", "failed"] if outcome == "late" else ["slipped"])
        p = near["p_slipped"] + (near["p_failed"] if outcome == "late" else 0)
        assert found["base_rate"] == pytest.approx(y.mean())
        assert found["brier"] == pytest.approx(brier(y, p))
        assert 0 < found["base_rate"] < 1


def test_a_horizon_without_rows_has_no_figures(result) -> None:
    table = result.by_horizon("failed", [-9.0])
    assert (table["rows"] == 0).all()
    assert table[["auprc", "auroc", "brier", "log_loss", "auprc_low"]].isna().all().all()
    with pytest.raises(InputError, match="'soon' is no outcome"):
        result.by_horizon("soon")


def test_facts_tell_of_every_row_whose_it_is_and_how_it_ended(frame, result) -> None:
    facts = result.facts
    assert len(facts) == len(result.rows_of("danger")) + (result.unscored["model"] == "danger").sum()
    assert not facts.duplicated(["as_of", "fingerprint"]).any()
    assert set(facts["issuer"]) == {"Common Trust", "Rare Trust"}
    assert set(facts["owner"].dropna()) == {"careful", "careless"}
    scored = facts[facts["scored"]]
    assert (scored["event"] != "censored").all()
    assert (scored.loc[scored["outcome"] == "failed", "event"] == "failed").all()
    failed = scored[scored["event"] == "failed"]
    np.testing.assert_allclose(failed["duration"], failed["days_left"].clip(0.01))
    # What ended in a way that is known at once counts no sooner than what takes its grace to be known.
    until = frame["resolved_at"].max() - pd.Timedelta(days=30)
    seen = (until - facts["as_of"]) / pd.Timedelta(days=1)
    known = facts["duration"].notna()
    assert (facts.loc[known, "duration"] <= seen[known] + 1e-9).all()
    assert (facts.loc[known & (facts["outcome"] == "open"), "event"] == "censored").all()
    assert (seen[~known] <= 0).all()
    described = result.described("danger", every=True)
    assert described[["p_on_time", "p_failed"]].notna().all().all()
