"""Looks at a capacity: what is found, how early, and what that is worth."""

import numpy as np
import pandas as pd
import pytest

from certforecast.errors import InputError
from certforecast.evaluation import BacktestResult, at_capacity, backtest, default_cutoffs, money
from certforecast.evaluation.capacity import found_by_looks, looked_into
from certforecast.policy import RenewalPolicy
from certforecast.settings import CostSettings, EffectSettings
from tests.evaluation.conftest import OUTCOMES, P_COLUMNS, START, Constant, days

COSTS = CostSettings(outage_per_day=1000, outage_days=1, slip=50, escalate=40, default_criticality=0.5)
EFFECTS = EffectSettings(escalate=0.5)


def by_hand() -> BacktestResult:
    """Two moments, 20 days apart; a slips, b fails, c is fine, d cannot be scored."""
    rows = pd.DataFrame(
        [
            # moment, renewal, p_slipped, p_failed, days_left, days_to_slip, criticality
            (0, "a", 0.9, 0.00, 40, 31, 1.0),
            (0, "b", 0.0, 0.10, 40, 31, 1.0),
            (0, "c", 0.0, 0.30, 40, 31, 0.1),
            (0, "d", 0.0, 0.20, 40, 31, None),
            (20, "a", 0.9, 0.00, 20, 11, 1.0),
            (20, "b", 0.0, 0.80, 20, 11, 1.0),
            (20, "c", 0.0, 0.10, 20, 11, 0.1),
            (20, "d", 0.0, 0.90, 20, 11, None),
        ],
        columns=["day", "fingerprint", "p_slipped", "p_failed", "days_left", "days_to_slip", "criticality"],
    )
    rows["as_of"] = START + days(rows["day"].to_numpy(float))
    rows["lineage"] = rows["fingerprint"]
    rows["outcome"] = rows["fingerprint"].map({"a": "slipped", "b": "failed", "c": "on_time", "d": "open"})
    rows = rows.assign(cutoff=START, model="m", p_retired=0.0, owner=None, issuer="i", validity="90 days")
    rows["p_on_time"] = 1 - rows["p_slipped"] - rows["p_failed"]
    rows["scored"] = rows["outcome"] != "open"
    facts = [
        "as_of",
        "fingerprint",
        "lineage",
        "outcome",
        "scored",
        "days_left",
        "days_to_slip",
        "criticality",
    ]
    table = ["cutoff", "as_of", "fingerprint", "lineage", "model", *P_COLUMNS]
    return BacktestResult(
        rows.loc[rows["scored"], [*table, "outcome"]].reset_index(drop=True),
        rows.loc[~rows["scored"], table].reset_index(drop=True),
        cutoffs=(START.to_pydatetime(),),
        k=1,
        policy=RenewalPolicy(),
        facts=rows[[*facts, "owner", "issuer", "validity"]],
    )


def test_each_renewal_is_looked_into_once_the_highest_first() -> None:
    score = pd.Series([3.0, 2.0, 1.0, np.nan, 5.0, 4.0, 9.0])
    moments = pd.Series([1, 1, 1, 2, 2, 2, 3])
    ids = pd.Series(["a", "b", "c", "a", "b", "c", "a"])
    assert looked_into(score, moments, ids, 1).tolist() == [True, False, False, False, True, False, False]
    assert looked_into(score, moments, ids, 2).tolist() == [True, True, False, False, False, True, False]
    for k in (0, -1, 2.5, "10"):
        with pytest.raises(InputError, match="k is"):
            looked_into(score, moments, ids, k)  # type: ignore[arg-type]
    assert looked_into(score.head(0), moments.head(0), ids.head(0), 1).shape == (0,)
    tied = looked_into(pd.Series([1.0, 1.0]), pd.Series([1, 1]), pd.Series(["z", "a"]), 1)
    assert tied.tolist() == [False, True]


def test_found_false_alarms_and_warning_by_hand() -> None:
    result = by_hand()
    # First c is looked into (0.30), then d (0.90), which cannot be scored: b is missed.
    one = at_capacity(result).iloc[0]
    assert (one["came"], one["looks"], one["found"], one["false_alarms"]) == (1, 1, 0, 1)
    assert (one["caught"], one["precision"], one["warning_days"], one["in_time"]) == (0, 0, 0, 0)
    # First c and d, then b, 20 days before its expiry.
    two = at_capacity(result, k=2).iloc[0]
    assert (two["found"], two["caught"], two["warning_days"], two["in_time"]) == (1, 1, 20, 1)
    late = at_capacity(result, "late", k=1).iloc[0]
    assert (late["came"], late["looks"], late["found"]) == (
        2,
        1,
        1,
    )  # a, 31 days before its slip point; then d
    assert late["warning_days"] == 15.5  # of a and b
    assert found_by_looks(result, looks=[1, 2])["caught"].tolist() == [0, 1]


def test_what_is_past_its_slip_point_is_not_found_in_time_to_be_late() -> None:
    result = by_hand()
    result.facts["days_to_slip"] = -1.0
    assert at_capacity(result, "late").iloc[0]["looks"] == 0
    assert at_capacity(result, "failed").iloc[0]["looks"] == 1


def test_money_by_hand() -> None:
    result = by_hand()
    one = money(result, COSTS, EFFECTS).iloc[0]
    # Expected losses: a 45, b 100, c 30, d 100 at first (b before d, by name); then a 45, c 10, d 450.
    assert one["loss"] == 50 + 1000
    assert one["averted"] == 500
    assert one["share"] == pytest.approx(500 / 525)
    assert one["looks"] == 1  # that at d is not known to be worth anything
    assert (one["lead"], one["lead_low"], one["lead_high"]) == (0, 0, 0)
    three = money(result, COSTS, EFFECTS, k=3).iloc[0]
    assert (three["looks"], three["averted"]) == (3, 525)
    assert three["paying_looks"] == 1  # only b averts more than 40
    assert three["net"] == 500 - 40
    nothing = money(result, COSTS, EffectSettings(escalate=0)).iloc[0]
    assert nothing["averted"] == 0
    assert np.isnan(nothing["share"])


def test_a_slip_that_has_happened_cannot_be_averted() -> None:
    result = by_hand()
    result.facts["days_to_slip"] = -1.0
    assert money(result, COSTS, EFFECTS, k=3).iloc[0][["loss", "averted"]].tolist() == [1000, 500]


def test_the_truth_averts_more_and_the_lead_is_told_from_noise(frame) -> None:
    truth = frame[["as_of", "fingerprint"]].copy()
    truth[P_COLUMNS] = (frame["outcome"].to_numpy()[:, None] == OUTCOMES).astype(float)
    cutoffs = default_cutoffs(frame, 2)
    result = backtest(frame, {"constant": Constant}, cutoffs, given={"truth": truth}, k=3)
    table = money(result, COSTS, EFFECTS, ahead="truth").set_index("model")
    assert table.loc["truth", "averted"] > table.loc["constant", "averted"]
    assert table.loc["constant", "lead_low"] > 0
    assert table.loc["constant", "lead"] == table.loc["truth", "averted"] - table.loc["constant", "averted"]
    assert (table["averted_low"] <= table["averted"]).all()
    assert (table["averted"] <= table["averted_high"]).all()
    assert table["share"].between(0, 1).all()
    found = at_capacity(result).set_index("model")
    assert found.loc["truth", "precision"] > found.loc["constant", "precision"]
    with pytest.raises(InputError, match="'oracle' was not part"):
        money(result, ahead="oracle")
