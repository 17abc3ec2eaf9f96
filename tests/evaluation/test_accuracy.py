"""The figures of benchmarks/accuracy.py, on a small backtest whose models have the names it knows."""

import contextlib
import importlib.util
import io
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from certforecast.errors import ModelError
from certforecast.evaluation import (
    BacktestResult,
    backtest,
    calibration,
    coverage_by_group,
    default_cutoffs,
    timing,
)
from certforecast.models import RULES
from tests.evaluation.conftest import OUTCOMES, P_COLUMNS, Constant, Shares, Timed, make_frame


@pytest.fixture(scope="module")
def accuracy() -> ModuleType:
    folder = Path(__file__).parents[2] / "benchmarks"
    spec = importlib.util.spec_from_file_location("accuracy", folder / "accuracy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))  # it imports its neighbour, as a script
        patch.setitem(sys.modules, "accuracy", module)  # its dataclasses ask for it
        spec.loader.exec_module(module)
        sys.modules.pop("report", None)
    return module


class Dull(Timed):
    """Says when, and nothing of whom."""

    def proba_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(np.tile(self.shares, (len(X), 1)), X.index, P_COLUMNS)


class Coarse(Shares):
    """Tells the dangerous half from the other."""

    def proba_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        return super().proba_frame(X.assign(lineage_failed_rate=X["lineage_failed_rate"].round() / 2 + 0.25))


@pytest.fixture(scope="module")
def small() -> BacktestResult:
    """Ours knows something, a rival half of it, the other rules nothing."""
    frame = make_frame(lineages=30)
    models = {"certforecast": Timed, **dict.fromkeys(RULES, Constant), "logistic": Dull}
    models[next(iter(RULES))] = Coarse
    return backtest(frame, models, default_cutoffs(frame, 3))


@pytest.fixture(scope="module")
def told(accuracy, small) -> tuple[dict[str, float], str]:
    """The figures, and what is shown to people."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        figures = accuracy.measured("tiny", small)
    return figures, shown.getvalue()


def with_truth(result: BacktestResult) -> BacktestResult:
    """The same with what came about, as a forecast of it."""
    rows = result.rows_of("certforecast").assign(model="truth")
    rows[P_COLUMNS] = (rows["outcome"].to_numpy()[:, None] == OUTCOMES).astype(float)
    others = result.unscored[result.unscored["model"] == "certforecast"].assign(model="truth")
    return replace(
        result,
        predictions=pd.concat([result.predictions, rows], ignore_index=True),
        unscored=pd.concat([result.unscored, others], ignore_index=True),
    )


def test_gains_are_those_of_the_scores_and_intervals_those_of_pairs(told, small) -> None:
    figures, _ = told
    for outcome in ("failed", "late"):
        scores = small.summary(outcome).set_index("model")
        brier = timing(small, outcome).set_index("model")["ibs"]
        here = {
            name.removeprefix(f"tiny_{outcome}_"): value
            for name, value in figures.items()
            if f"_{outcome}_" in name
        }
        others = scores.drop("certforecast")
        rivals = {
            "auprc": (others["auprc"].idxmax(), 1),
            "log_loss": (others["log_loss"].idxmin(), -1),
            "ibs": (brier.drop("certforecast").idxmin(), -1),
        }
        for measure, (rival, sign) in rivals.items():
            score = brier if measure == "ibs" else scores[measure]
            gain = small.difference("certforecast", rival, outcome, measure)
            assert here[measure] == pytest.approx(score["certforecast"], abs=5.1e-5)
            assert here[f"{measure}_best_rival"] == pytest.approx(score[rival], abs=5.1e-5)
            assert here[f"{measure}_gain"] == pytest.approx(
                sign * (score["certforecast"] - score[rival]), abs=5.1e-5
            )
            assert here[f"{measure}_gain_low"] == pytest.approx(gain.low, abs=5.1e-5)
            assert here[f"{measure}_gain_high"] == pytest.approx(gain.high, abs=5.1e-5)
        best = scores.loc[list(RULES), "auprc"].max()
        assert here["auprc_best_rule"] == pytest.approx(best, abs=5.1e-5)
        skill = (scores.loc["certforecast", "auprc"] - best) / (1 - best)
        assert here["real_skill"] == pytest.approx(skill, abs=5.1e-5)
        calibrated = calibration(small, outcome).set_index("model").loc["certforecast"]
        assert here["calibration_error"] == pytest.approx(calibrated["error"], abs=5.1e-5)
        assert here["calibration_error_floor"] == pytest.approx(calibrated["floor"], abs=5.1e-5)
        assert here["coverage_90"] == pytest.approx(coverage_by_group(small)["coverage"].iloc[0], abs=5.1e-5)
        assert "auprc_truth" not in here
    # Of the mean over the resamples and the score itself, the second is the figure.
    mean = small.difference("certforecast", next(iter(RULES)), "late").mean
    assert abs(mean - figures["tiny_late_auprc_gain"]) > 1e-4


def test_the_table_shows_the_paired_interval_beside_each_model(told, small) -> None:
    _, shown = told
    assert shown.count("lead in AUPRC") == 3
    lines = [line for line in shown.splitlines() if "logistic" in line]
    for line, outcome in zip(lines, ("failed", "slipped", "late"), strict=True):
        for measure in ("auprc", "log_loss"):
            gain = small.difference("certforecast", "logistic", outcome, measure)
            assert f"{gain.low:+.3f} to {gain.high:+.3f}" in line
    (ours, *_) = [line for line in shown.splitlines() if "certforecast" in line]
    assert " to " not in ours


def test_the_truth_is_no_rival_and_takes_the_place_of_skill(accuracy, told, small) -> None:
    plain, figures = told[0], accuracy.measured("tiny", with_truth(small))
    assert figures["tiny_failed_auprc_truth"] == 1
    assert figures["tiny_failed_calibration_error_truth"] == 0
    assert "tiny_failed_real_skill" not in figures
    for name in ("auprc_gain", "log_loss_gain", "ibs_gain", "ibs_best_rival", "auprc_best_rival"):
        assert figures[f"tiny_failed_{name}"] == plain[f"tiny_failed_{name}"]


def test_what_has_no_figure_is_left_out(accuracy, small, monkeypatch) -> None:
    """Nothing slips, and no rival says when what slips comes."""
    monkeypatch.setattr(
        accuracy, "worst_fold", lambda result, outcome: {"failed": -0.25}.get(outcome, np.nan)
    )
    quiet = small.predictions.assign(outcome=small.predictions["outcome"].replace("slipped", "on_time"))
    quiet = quiet[quiet["model"] != "logistic"]
    timed = {"certforecast": small.timing["certforecast"]}
    figures = accuracy.measured("tiny", replace(small, predictions=quiet, timing=timed))
    assert "tiny_slipped_auprc" not in figures
    assert "tiny_slipped_ibs_gain" not in figures
    assert "tiny_slipped_ibs" in figures
    assert figures["tiny_failed_real_skill_worst_fold"] == -0.25
    assert "tiny_late_real_skill_worst_fold" not in figures
    assert all(np.isfinite(value) for value in figures.values())


def folds(*rows: tuple[int, str, float, int]) -> object:
    class Result:
        def by_cutoff(self, outcome: str) -> pd.DataFrame:
            assert outcome == "failed"
            return pd.DataFrame(rows, columns=["cutoff", "model", "auprc", "renewals"])

    return Result()


def rules(cutoff: int, best: float, renewals: int) -> list[tuple[int, str, float, int]]:
    return [(cutoff, rule, best if rule == list(RULES)[-1] else best / 2, renewals) for rule in RULES]


def test_the_worst_fold_is_the_least_skill_against_the_best_rule_of_one(accuracy) -> None:
    result = folds(
        (1, "certforecast", 0.6, 20),
        *rules(1, 0.5, 20),
        (2, "certforecast", 0.5, 25),
        (2, "logistic", 0.9, 25),  # no rule
        *rules(2, 0.6, 25),
        (3, "certforecast", 0.0, 19),  # too few to tell
        *rules(3, 0.9, 19),
    )
    assert accuracy.worst_fold(result, "failed") == pytest.approx((0.5 - 0.6) / (1 - 0.6))
    few = folds((3, "certforecast", 0.0, 19), *rules(3, 0.9, 19))
    assert np.isnan(accuracy.worst_fold(few, "failed"))


class Broken(Constant):
    """Gives no probabilities."""

    def proba_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        return super().proba_frame(X) * np.nan


def test_a_rival_that_breaks_is_named_and_left_out(
    accuracy: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = make_frame(lineages=30)
    cutoffs = default_cutoffs(frame, 1)
    result = accuracy.compared(frame, {"certforecast": Constant, "logistic": Broken}, cutoffs)
    assert list(result.models) == ["certforecast"]
    assert "left out: 'logistic', trained as of" in capsys.readouterr().err
    with pytest.raises(ModelError, match="'certforecast', trained as of"):
        accuracy.compared(frame, {"certforecast": Broken, "logistic": Constant}, cutoffs)
