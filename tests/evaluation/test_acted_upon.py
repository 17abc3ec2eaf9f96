"""What is scored where some renewals were acted upon: as without us, if some were held out by lot."""

import json
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from certforecast.evaluation import (
    BacktestResult,
    CaughtDisplay,
    PrecisionRecallDisplay,
    ReliabilityDisplay,
    at_capacity,
    backtest,
    backtest_report,
    brier_multiclass,
    calibration,
    calibration_by_group,
    calibration_error,
    caught_at_k,
    coverage_by_group,
    integrated_brier,
    log_loss,
    money,
    timing,
    write_page,
)
from certforecast.evaluation.capacity import _by_renewal, found_by_looks
from certforecast.evaluation.metrics import calibration_bins, mean, median
from certforecast.evaluation.plots import _wilson
from certforecast.evaluation.reliability import _imagined, floor_of_calibration_error
from certforecast.evaluation.resampling import RESAMPLES, Lineages, interval
from certforecast.settings import CostSettings, EffectSettings
from tests.evaluation.conftest import OUTCOMES, P_COLUMNS, START, Timed, days

mpl.use("Agg")

SHARE, TESTED = 0.2, START + days([100.0])[0]
COSTS, EFFECTS = CostSettings(default_criticality=0.5), EffectSettings(escalate=0.5)


class Rough(Timed):
    """Says too seldom that a renewal in trouble fails, and too often that another does."""

    def fit(self, X: pd.DataFrame, y: np.ndarray, sample_weight: np.ndarray | None = None) -> "Rough":
        return self

    def proba_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        failed = 0.05 + 0.3 * X["lineage_failed_rate"].to_numpy()
        table = np.column_stack([0.95 - failed, np.full(len(X), 0.05), failed, np.zeros(len(X))])
        return pd.DataFrame(table, X.index, P_COLUMNS)

    def predict_interval(self, X: pd.DataFrame) -> pd.DataFrame:
        table = super().predict_interval(X)
        return table.assign(high=table["high"] - 5 * X["lineage_failed_rate"])


def fleet(*, acting: bool, holding: bool = True, renewals: int = 3000) -> pd.DataFrame:
    """Two looks at each renewal; in between a third gets into trouble, and is acted upon but for some.

    Of those in trouble 60 % fail, of the others 5 %. The features tell half of it.
    """
    rng = np.random.default_rng(0)
    trouble = rng.random(renewals) < 1 / 3
    hint = np.clip(0.5 * trouble + rng.uniform(0, 0.5, renewals), 0, 1)
    failed = rng.random(renewals) < np.where(trouble, 0.6, 0.05)
    held = trouble & (rng.random(renewals) < SHARE) & acting
    acted = trouble & ~held & acting
    held &= holding
    learned = np.arange(renewals) < 100
    issued = np.where(learned, 0.0, 100 + 10 * rng.integers(0, 20, renewals))
    ended = np.where(failed, 41.0, rng.uniform(25, 39, renewals))
    outcome = np.where(failed, "failed", np.where(ended > 36, "slipped", "on_time"))
    table = pd.DataFrame(
        {
            "fingerprint": [f"f{number:05d}" for number in range(renewals)],
            "lineage": [f"l{number // 2}" for number in range(renewals)],
            "lineage_failed_rate": hint,
            "issued": issued,
            "outcome": np.where(acted, "on_time", outcome),
            "ended": np.where(acted, 21.0, ended),
            "intervention": acted,
            "held_out": held,
            "issuer_org": "Test",
            "owner": np.where(rng.random(renewals) < 0.5, "one", "other"),
            "criticality": 0.5,
            "validity_profile": "47 days",
        }
    )
    looks = [table.assign(look=look)[table["ended"] > look] for look in (0.0, 30.0)]
    rows = pd.concat(looks, ignore_index=True)
    start = START + days(rows["issued"].to_numpy())
    rows["as_of"], rows["not_after"] = start + days(rows["look"].to_numpy()), start + days([40.0])[0]
    rows["resolved_at"] = start + days(rows["ended"].to_numpy())
    rows["in_service_at"] = rows["resolved_at"].where(rows["outcome"] != "failed")
    rows["intervened_at"] = pd.Series(start + days([20.0])[0]).where(rows["intervention"])
    rows["held_out_at"] = pd.Series(start + days([20.0])[0]).where(rows["held_out"])
    rows["holdout_share"] = np.where(rows["held_out"], SHARE, np.nan)
    rows["days_left"], rows["days_to_slip"] = 40.0 - rows["look"], 36.0 - rows["look"]
    until = START + days([300.5])[0]
    rows = rows[rows["as_of"] < until].reset_index(drop=True)
    unknown = rows["resolved_at"] > until
    rows.loc[unknown, "outcome"] = "open"
    rows.loc[unknown, ["resolved_at", "in_service_at"]] = pd.NaT
    return rows


def scored(frame: pd.DataFrame) -> BacktestResult:
    return backtest(frame, {"rough": Rough}, [TESTED.to_pydatetime()], k=4)


@pytest.fixture(scope="module")
def natural() -> BacktestResult:
    """What would be seen if nobody acted."""
    return scored(fleet(acting=False))


@pytest.fixture(scope="module")
def held() -> BacktestResult:
    return scored(fleet(acting=True))


@pytest.fixture(scope="module")
def dropped() -> BacktestResult:
    return scored(fleet(acting=True, holding=False))


def figures(result: BacktestResult) -> dict[str, float]:
    """Every figure that our actions change."""
    summary, calibrated = result.summary("failed").iloc[0], calibration(result).iloc[0]
    horizon = result.by_horizon("failed", [20.0]).iloc[0]
    owner = calibration_by_group(result, "owner").set_index("value").loc["one"]
    found = {name: summary[name] for name in ("auprc", "brier", "log_loss", "calibration_error")}
    return {
        **found,
        "observed": calibrated["observed"],
        "forecast": calibrated["forecast"],
        "debiased": calibrated["debiased"],
        "horizon": horizon["base_rate"],
        "horizon_loss": horizon["log_loss"],
        "by_cutoff": result.by_cutoff("failed")["brier"].iloc[0],
        "group": owner["difference"],
        "base_rate": PrecisionRecallDisplay.from_backtest(result).base_rate,
        "looked_at": at_capacity(result, k=1000)["precision"].iloc[0],
        "ibs": timing(result)["ibs"].iloc[0],
        "brier_30": timing(result)["brier_30"].iloc[0],
    }


def test_held_out_renewals_make_up_for_what_was_acted_upon(natural, held, dropped) -> None:
    truth, ours, naive = (figures(result) for result in (natural, held, dropped))
    for name, value in truth.items():
        assert abs(ours[name] - value) < 0.4 * abs(naive[name] - value), name


def test_every_measure_is_that_of_rows_repeated_as_often_as_they_stand_for(held) -> None:
    """A weight of five is five such renewals: what scikit-learn and the plain measures say of those."""
    rows = held.rows_of("rough")
    assert set(rows["weight"]) == {1.0, 5.0}
    times = rows["weight"].astype(int)
    many = rows.loc[rows.index.repeat(times)].reset_index(drop=True)
    copy = many.groupby(["fingerprint", "as_of"]).cumcount()
    many["fingerprint"] += "/" + copy.astype(str)
    y, p = many["outcome"] == "failed", many["p_failed"]
    found = held.summary("failed").iloc[0]
    assert found["auprc"] == pytest.approx(average_precision_score(y, p))
    assert held.auprc("rough") == found["auprc"]
    assert found["auroc"] == pytest.approx(roc_auc_score(y, p))
    assert found["brier"] == pytest.approx(brier_score_loss(y, p))
    assert found["log_loss"] == pytest.approx(sklearn_log_loss(y, p))
    assert found["calibration_error"] == pytest.approx(calibration_error(y, p))
    weighted = (rows["outcome"], rows[P_COLUMNS], list(OUTCOMES), rows["weight"])
    repeated = (many["outcome"], many[P_COLUMNS], list(OUTCOMES))
    for measure in (log_loss, brier_multiclass):
        assert measure(*weighted) == pytest.approx(measure(*repeated))
        assert measure(*weighted[:3]) != pytest.approx(measure(*repeated))
    for name in ("auprc", "auroc", "brier", "log_loss"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]

    shown = PrecisionRecallDisplay.from_backtest(held)
    precision, recall = shown.curves["rough"]
    assert -np.diff(recall) @ precision[:-1] == pytest.approx(found["auprc"])
    bins = ReliabilityDisplay.from_backtest(held, bins=6).bins["rough"]
    expected = many.assign(y=y).groupby(calibration_bins(p, 6))[["p_failed", "y"]].mean()
    np.testing.assert_allclose(bins["forecast"], expected["p_failed"])
    np.testing.assert_allclose(bins["observed"], expected["y"])
    assert bins["rows"].sum() == len(rows)
    # Those that stand for many are less sure than as many lineages.
    whole = ReliabilityDisplay.from_backtest(held, bins=1).bins["rough"].iloc[0]
    weight = rows["weight"]
    lineages = rows["lineage"].nunique() * weight.sum() ** 2 / (len(rows) * (weight**2).sum())
    assert lineages < 0.8 * rows["lineage"].nunique()
    assert (whole["low"], whole["high"]) == pytest.approx(_wilson(np.mean(y), lineages))


def without_weights(result: BacktestResult) -> BacktestResult:
    return replace(
        result, predictions=result.predictions.assign(weight=1.0), facts=result.facts.assign(weight=1.0)
    )


def test_caught_counts_the_renewals_that_a_caught_one_stands_for(held) -> None:
    rows, ranks = held.rows_of("rough"), held.ranks_of("rough")
    failed = rows[rows["outcome"] == "failed"].assign(rank=ranks)
    each = failed.groupby("fingerprint").agg(best=("rank", "min"), weight=("weight", "first"))
    share = each.loc[each["best"] <= held.k, "weight"].sum() / each["weight"].sum()
    plain = (each["best"] <= held.k).mean()
    assert share != pytest.approx(plain)
    found = held.summary("failed").iloc[0]
    assert found["caught"] == pytest.approx(share)
    assert found["caught_low"] < share < found["caught_high"]
    shown = CaughtDisplay.from_backtest(held)
    assert shown.caught["rough"][held.k] == pytest.approx(share)
    y, moments = rows["outcome"] == "failed", rows["as_of"]
    alone = caught_at_k(y, rows["p_failed"], moments, rows["fingerprint"], 2, rows["weight"])
    assert alone != caught_at_k(y, rows["p_failed"], moments, rows["fingerprint"], 2)


def test_shares_and_sums_of_looks_count_by_weight_and_numbers_do_not(held) -> None:
    one, plain = (at_capacity(result, k=70).iloc[0] for result in (held, without_weights(held)))
    for name in ("came", "looks", "found", "false_alarms", "false_alarms_low", "false_alarms_high"):
        assert one[name] == plain[name]
    for name in ("caught", "precision", "in_time"):
        assert one[name] != pytest.approx(plain[name], rel=0.01)
        assert one[f"{name}_low"] < one[name] < one[f"{name}_high"]
    each = _by_renewal(held.described("rough", every=True), "failed", 70)
    failed, weight = each[each["event"]], each.loc[each["event"], "weight"]
    assert one["caught"] == pytest.approx(np.average(failed["found"], weights=weight))
    assert one["in_time"] == pytest.approx(
        np.average(failed["found"] & (failed["warning"] >= 7), weights=weight)
    )
    looked = each[each["look"]]
    assert one["precision"] == pytest.approx(np.average(looked["found"], weights=looked["weight"]))
    assert one["warning_days"] == np.median(np.repeat(failed["warning"], weight.astype(int)))
    # More than half of what failed is found with 30 looks only if each counts for those like it.
    assert at_capacity(held, k=30)["warning_days"].tolist() == [40.0]
    assert at_capacity(without_weights(held), k=30)["warning_days"].tolist() == [0.0]
    assert found_by_looks(held, looks=[70])["caught"].tolist() == [one["caught"]]
    facts = held.facts[held.facts["scored"]].drop_duplicates("fingerprint")
    outages = facts.loc[facts["outcome"] == "failed", "weight"].sum()
    slips = facts.loc[facts["outcome"] == "slipped", "weight"].sum()
    everything = money(held, COSTS, EFFECTS, k=10_000).iloc[0]
    cost = 0.5 * COSTS.outage_per_day * COSTS.outage_days
    assert everything["loss"] == pytest.approx(outages * cost + slips * COSTS.slip, rel=0.02)
    cheap = money(held, COSTS.model_copy(update={"escalate": 1.0}), EFFECTS, k=10_000).iloc[0]
    assert cheap["paying_looks"] == len(facts)
    assert cheap["net"] == pytest.approx(cheap["averted"] - facts["weight"].sum())


def test_a_few_that_stand_for_many_may_be_further_off_by_chance(held) -> None:
    """A renewal that stands for five moves a share as five that come and go together."""
    rows = held.rows_of("rough")
    times = rows["weight"].astype(int)
    many = rows.loc[rows.index.repeat(times)]
    whole, floors = (
        calibration(held).iloc[0],
        floor_of_calibration_error(many["p_failed"].to_numpy(), many["fingerprint"]),
    )
    assert whole["floor"] == pytest.approx(floors.mean())
    assert whole["floor"] > calibration(without_weights(held)).iloc[0]["floor"]
    names = [f"{name}/{number}" for number, name in enumerate(many["lineage"])]
    copied = replace(held, predictions=many.assign(weight=1.0, lineage=names))
    assert calibration(copied).iloc[0]["error"] == pytest.approx(whole["error"])
    described = held.described("rough")
    group = described["owner"] == "one"
    noise = [
        np.average(drawn[group] - described.loc[group, "p_failed"], weights=described.loc[group, "weight"])
        for drawn in _imagined(described["p_failed"].to_numpy(), described["fingerprint"], RESAMPLES)
    ]
    found = calibration_by_group(held, "owner").set_index("value").loc["one"]
    assert (found["noise_low"], found["noise_high"]) == pytest.approx(interval(np.array(noise)))
    assert found["low"] < found["difference"] < found["high"]


def test_intervals_cover_by_weight(held) -> None:
    rows = held.described("rough").join(held.timing["rough"].interval)
    rows = rows[rows["outcome"].isin(["on_time", "slipped"])]
    within = rows["duration"].between(rows["low"], rows["high"])
    found = coverage_by_group(held).iloc[0]
    assert found["coverage"] == pytest.approx(np.average(within, weights=rows["weight"]))
    assert found["coverage"] != pytest.approx(within.mean(), abs=1e-6)
    assert found["coverage_low"] < found["coverage"] < found["coverage_high"]
    width = np.repeat(rows["high"] - rows["low"], rows["weight"].astype(int))
    assert found["width"] == width.median() != (rows["high"] - rows["low"]).median()


def test_the_brier_score_counts_a_held_out_renewal_once_until_then(held) -> None:
    """Five times from the day on which those like it leave, so no row is lost and none counts twice."""
    facts = held.facts[held.facts["duration"].notna()]
    assert facts["acted"].any()
    lost = facts["event"] == "censored"
    assert (lost & ~facts["acted"]).any()
    said = held.timing["rough"]
    weights = np.where(
        (facts["held_days"].notna() & (facts["held_days"] < facts["duration"])).to_numpy()[:, None]
        & (facts["held_days"].to_numpy()[:, None] <= np.array(said.days)),
        5.0,
        1.0,
    )
    came = (facts["outcome"] == "failed") & ~lost
    shown = (came, facts["duration"], lost, said.incidence[facts.index, 2].astype(float), said.days)
    found = timing(held)["ibs"].iloc[0]
    assert found == pytest.approx(integrated_brier(*shown, weights, facts["acted"]))
    assert found != pytest.approx(integrated_brier(*shown, weights))
    assert found != pytest.approx(integrated_brier(*shown), rel=0.05)


def test_open_renewals_that_were_held_out_count_too() -> None:
    frame = fleet(acting=True)
    facts = scored(frame).facts
    still = facts[(facts["outcome"] == "open") & facts["held_days"].notna()]
    assert len(still) > 0
    assert (still["weight"] == 5).all()
    assert (facts["weight"] == np.where(facts["held_days"].notna(), 5, 1)).all()


def test_it_is_said_when_nothing_stands_for_what_was_acted_upon(natural, held, dropped, tmp_path) -> None:
    assert (natural.caveat, natural.acted_upon, natural.held_out) == (None, 0, 0)
    assert held.caveat is None
    rows = held.rows_of("rough")
    assert held.held_out == rows.loc[rows["weight"] > 1, "fingerprint"].nunique() > 50
    assert dropped.caveat is not None
    acted = dropped.facts.loc[dropped.facts["acted"], "fingerprint"].nunique()
    assert dropped.caveat.startswith(f"{acted:,} renewals that we acted upon are not scored")
    assert dropped.describe().endswith(f"cutoffs; {dropped.caveat}")
    assert held.describe().endswith("cutoffs")
    report = json.loads(json.dumps(backtest_report(dropped), allow_nan=False))
    assert (report["caveat"], report["acted_upon"]) == (dropped.caveat, acted)
    for result, count in ((dropped, 1), (held, 0)):
        write_page(result, tmp_path / "page.html")
        assert (tmp_path / "page.html").read_text().count("none was held out") == count


def test_without_the_columns_of_a_hold_out_each_row_stands_for_itself(held) -> None:
    bare = fleet(acting=True).drop(columns=["held_out_at", "holdout_share"])
    result = scored(bare)
    assert (result.predictions["weight"] == 1).all()
    assert result.facts["held_days"].isna().all()
    assert result.caveat is not None
    # Results of before have no such column.
    old = replace(result, predictions=result.predictions.drop(columns="weight"))
    pd.testing.assert_frame_equal(old.summary("failed"), result.summary("failed"))


def test_resamples_carry_weights() -> None:
    lineage, values = pd.Series(["a", "b", "b"]), np.array([1.0, 2.0, 3.0])
    weights = np.array([5.0, 1.0, 2.0])
    plain, weighted = Lineages(lineage), Lineages(lineage, weights)
    np.testing.assert_allclose(weighted.totals(values), plain.totals(values * weights))
    table = np.column_stack([values, values**2])
    np.testing.assert_allclose(weighted.totals(table), plain.totals(table * weights[:, None]))
    for one, other in zip(weighted.weights(), plain.weights(), strict=True):
        np.testing.assert_allclose(one, other * weights)


def test_means_medians_and_bins_by_weight() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 8):
        values, weights = rng.integers(0, 6, size).astype(float), rng.integers(1, 4, size)
        many = np.repeat(values, weights)
        assert median(values, weights) == np.median(many)
        assert median(values) == np.median(values)
        assert mean(values, weights) == pytest.approx(many.mean())
        np.testing.assert_array_equal(
            np.repeat(calibration_bins(values, 4, weights), weights), calibration_bins(many, 4)
        )
    assert np.isnan(mean([]))
    assert np.isnan(median([]))
    assert calibration_bins([0.1, 0.2], 4, [1.0, 0.0]).tolist() == [2, 3]
