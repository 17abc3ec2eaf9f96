"""Rolling-origin backtests, measures of forecasts, and their plots."""

from typing import TYPE_CHECKING

from certforecast.lazy import lazy

if TYPE_CHECKING:
    from certforecast.evaluation.backtesting import Forecaster, backtest, default_cutoffs
    from certforecast.evaluation.challenging import Challenge, challenge
    from certforecast.evaluation.effects import (
        ContributionsDisplay,
        ImportanceDisplay,
        PartialDependenceDisplay,
    )
    from certforecast.evaluation.metrics import (
        auprc,
        auroc,
        brier,
        brier_multiclass,
        calibration_error,
        caught_at_k,
        log_loss,
    )
    from certforecast.evaluation.plots import CaughtDisplay, PrecisionRecallDisplay, ReliabilityDisplay
    from certforecast.evaluation.result import SCORED, BacktestResult, Difference
    from certforecast.evaluation.standard import backtest_history
    from certforecast.evaluation.survival import brier_by_time, coverage, integrated_brier

__all__ = [
    "SCORED",
    "BacktestResult",
    "CaughtDisplay",
    "Challenge",
    "ContributionsDisplay",
    "Difference",
    "Forecaster",
    "ImportanceDisplay",
    "PartialDependenceDisplay",
    "PrecisionRecallDisplay",
    "ReliabilityDisplay",
    "auprc",
    "auroc",
    "backtest",
    "backtest_history",
    "brier",
    "brier_by_time",
    "brier_multiclass",
    "calibration_error",
    "caught_at_k",
    "challenge",
    "coverage",
    "default_cutoffs",
    "integrated_brier",
    "log_loss",
]

# The module of `backtest` has another name: a submodule, once imported, would hide a function named like it.
__getattr__ = lazy(
    __name__,
    {
        "backtesting": ["Forecaster", "backtest", "default_cutoffs"],
        "challenging": ["Challenge", "challenge"],
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
        "result": ["SCORED", "BacktestResult", "Difference"],
        "survival": ["brier_by_time", "coverage", "integrated_brier"],
        "standard": ["backtest_history"],
    },
)
