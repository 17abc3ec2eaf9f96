"""Everything a backtest found, in one document."""

from typing import Any

import pandas as pd

from certforecast.evaluation.capacity import at_capacity, found_by_looks, money
from certforecast.evaluation.reliability import GROUPS, calibration, calibration_by_group
from certforecast.evaluation.result import SCORED, BacktestResult, as_records, drawn_scores, told_apart
from certforecast.evaluation.when import coverage_by_group, timing
from certforecast.settings import CostSettings, EffectSettings

__all__ = ["REPORTED", "backtest_report"]

#: The outcomes that decide what to do; the others are in ``summary`` only.
REPORTED = ("failed", "late", "slipped")


def backtest_report(
    result: BacktestResult,
    costs: CostSettings | None = None,
    effects: EffectSettings | None = None,
    *,
    ours: str | None = None,
) -> dict[str, Any]:
    """Put every measure of a backtest together, ready for JSON.

    Parameters
    ----------
    result : BacktestResult
    costs, effects : CostSettings, EffectSettings, optional
        For the money. Default: those of the settings.
    ours : str, optional
        The model that is compared with the others, and looked at by group. Default: the first.

    Returns
    -------
    dict
        What :meth:`BacktestResult.to_dict` gives, and tables as lists of records: ``differences``,
        ``horizons``, ``calibration``, ``calibration_by_group``, ``capacity`` and ``found_by_looks``, each by
        outcome; ``money``; ``timing``, by outcome, and ``coverage``, both empty unless a model says when. NaN
        becomes None.

    Raises
    ------
    InputError
        If `ours` was not part of the backtest.
    """
    ours = ours or result.models[0]
    says = result.timing.get(ours)
    intervals = [None, *GROUPS] if says is not None and says.interval is not None else []
    return {
        **result.to_dict(),
        "ours": ours,
        "differences": {name: as_records(differences(result, ours, name)) for name in REPORTED},
        "horizons": {name: as_records(result.by_horizon(name)) for name in REPORTED},
        "calibration": {name: as_records(calibration(result, name)) for name in SCORED},
        "calibration_by_group": {
            name: [
                row for group in GROUPS for row in as_records(calibration_by_group(result, group, name, ours))
            ]
            for name in REPORTED
        },
        "capacity": {name: as_records(at_capacity(result, name)) for name in REPORTED},
        "found_by_looks": {name: as_records(found_by_looks(result, name)) for name in REPORTED},
        "money": as_records(money(result, costs, effects, ahead=ours)),
        "timing": {name: as_records(timing(result, name)) for name in REPORTED},
        "coverage": [
            row for group in intervals for row in as_records(coverage_by_group(result, group, ours))
        ],
    }


def differences(result: BacktestResult, ours: str, outcome: str) -> pd.DataFrame:
    """Say by how much a model is better than each other one, on the same resamples.

    Returns
    -------
    DataFrame of shape (n_models - 1, 7)
        ``model``, the other one; ``auprc`` and ``log_loss``, positive where `ours` is better, each with
        ``..._low`` and ``..._high``.
    """
    measures = ("auprc", "log_loss")
    first = {measure: drawn_scores(result, ours, outcome, measure) for measure in measures}
    rows = []
    for other in result.models:
        if other != ours:
            row: dict[str, Any] = {"model": other}
            for measure, drawn in first.items():
                gain = told_apart(drawn, drawn_scores(result, other, outcome, measure), measure)
                row |= {measure: gain.mean, f"{measure}_low": gain.low, f"{measure}_high": gain.high}
            rows.append(row)
    return pd.DataFrame(rows)
