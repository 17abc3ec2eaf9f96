"""Rolling-origin backtests, measures of forecasts, and their plots."""

from typing import TYPE_CHECKING

from certforecast.lazy import lazy

if TYPE_CHECKING:
    from certforecast.evaluation.backtesting import Forecaster, backtest, default_cutoffs
    from certforecast.evaluation.capacity import at_capacity, money
    from certforecast.evaluation.challenging import Challenge, challenge
    from certforecast.evaluation.effects import (
        ContributionsDisplay,
        ImportanceDisplay,
        PartialDependenceDisplay,
    )
    from certforecast.evaluation.groups import GroupCalibrationDisplay
    from certforecast.evaluation.metrics import (
        auprc,
        auroc,
        brier,
        brier_multiclass,
        calibration_error,
        caught_at_k,
        log_loss,
    )
    from certforecast.evaluation.page import write_page
    from certforecast.evaluation.plots import CaughtDisplay, PrecisionRecallDisplay, ReliabilityDisplay
    from certforecast.evaluation.reliability import GROUPS, calibration, calibration_by_group
    from certforecast.evaluation.report import backtest_report
    from certforecast.evaluation.result import HORIZONS, SCORED, BacktestResult, Difference, Timing
    from certforecast.evaluation.standard import backtest_history
    from certforecast.evaluation.when import coverage_by_group, timing
    from certforecast.models.survival import brier_by_time, coverage, integrated_brier

__all__ = [
    "GROUPS",
    "HORIZONS",
    "SCORED",
    "BacktestResult",
    "CaughtDisplay",
    "Challenge",
    "ContributionsDisplay",
    "Difference",
    "Forecaster",
    "GroupCalibrationDisplay",
    "ImportanceDisplay",
    "PartialDependenceDisplay",
    "PrecisionRecallDisplay",
    "ReliabilityDisplay",
    "Timing",
    "at_capacity",
    "auprc",
    "auroc",
    "backtest",
    "backtest_history",
    "backtest_report",
    "brier",
    "brier_by_time",
    "brier_multiclass",
    "calibration",
    "calibration_by_group",
    "calibration_error",
    "caught_at_k",
    "challenge",
    "coverage",
    "coverage_by_group",
    "default_cutoffs",
    "integrated_brier",
    "log_loss",
    "money",
    "timing",
    "write_page",
]

# The module of `backtest` has another name: a submodule, once imported, would hide a function named like it.
__getattr__ = lazy(
    __name__,
    {
        "backtesting": ["Forecaster", "backtest", "default_cutoffs"],
        "reliability": ["GROUPS", "calibration", "calibration_by_group"],
        "capacity": ["at_capacity", "money"],
        "challenging": ["Challenge", "challenge"],
        "groups": ["GroupCalibrationDisplay"],
        "effects": ["ContributionsDisplay", "ImportanceDisplay", "PartialDependenceDisplay"],
        "metrics": [
            "auprc",
            "auroc",
            "brier",
            "brier_multiclass",
            "calibration_error",
            "caught_at_k",
            "log_loss",
        ],
        "plots": ["CaughtDisplay", "PrecisionRecallDisplay", "ReliabilityDisplay"],
        "page": ["write_page"],
        "report": ["backtest_report"],
        "result": ["HORIZONS", "SCORED", "BacktestResult", "Difference", "Timing"],
        ".models.survival": ["brier_by_time", "coverage", "integrated_brier"],
        "standard": ["backtest_history"],
        "when": ["coverage_by_group", "timing"],
    },
)
