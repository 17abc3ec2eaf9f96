"""Calibration of a backtest: how far forecasts are off, what is noise in that, and for whom they are off."""

from collections.abc import Iterator
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from certforecast.errors import InputError
from certforecast.evaluation import metrics
from certforecast.evaluation.resampling import RESAMPLES, Lineages, interval, ratio
from certforecast.evaluation.result import (
    BacktestResult,
    calibration_errors,
    pair,
    require_outcome,
    weights_of,
)

__all__ = ["GROUPS", "Group", "calibration", "calibration_by_group", "floor_of_calibration_error"]

Floats = npt.NDArray[np.float64]
Group = Literal["issuer", "owner", "validity"]

#: By what renewals are grouped: columns of :attr:`BacktestResult.facts`.
GROUPS: Final[tuple[Group, ...]] = ("issuer", "owner", "validity")

#: What a renewal is called whose group nobody knows.
UNKNOWN: Final = "unknown"

_SEED: Final = 1
_BEYOND: Final = 0.95


def calibration(result: BacktestResult, outcome: str = "failed") -> pd.DataFrame:
    """Say how far the probabilities of each model are off, and how far right ones would seem to be.

    The calibration error is an average of distances, so it is above 0 for perfect forecasts, too, and the
    more so the fewer renewals there are. Two remedies stand beside it: the error less its bias, estimated by
    resampling as Kumar et al. (2019, "Verified uncertainty calibration") do, here of whole lineages; and the
    floor, which forecasts that are right would show on the same rows.

    Parameters
    ----------
    result : BacktestResult
    outcome : str
        As for :meth:`BacktestResult.summary`.

    Returns
    -------
    DataFrame of shape (n_models, 11)
        ``model``; ``forecast``, the mean probability, and ``observed``, the share that came about; ``error``,
        the calibration error; ``debiased``, at least 0, with ``low`` and ``high``, its 90 % interval (the
        basic bootstrap one: percentiles would carry the bias twice); ``floor`` and ``floor_high``, the
        mean error of forecasts that are right and what it stays below in 95 of 100 cases; ``excess``, the
        error above the floor, at least 0; ``beyond_noise``, whether the error is above ``floor_high``.
    """
    require_outcome(outcome)
    records = []
    for model in result.models:
        rows = result.rows_of(model)
        y, p = pair(rows, outcome)
        weights = weights_of(rows)
        error = metrics.calibration_error(y, p, weights=weights)
        drawn = calibration_errors(y, p, Lineages(rows["lineage"], weights), weights)
        low, high = interval(2 * error - drawn)
        floors = floor_of_calibration_error(p, rows["fingerprint"], weights=weights)
        records.append(
            {
                "model": model,
                "forecast": metrics.mean(p, weights),
                "observed": metrics.mean(y, weights),
                "error": error,
                "debiased": max(0.0, 2 * error - float(drawn.mean())),
                "low": max(0.0, low),
                "high": max(0.0, high),
                "floor": float(floors.mean()),
                "floor_high": float(np.quantile(floors, _BEYOND)),
                "excess": max(0.0, error - float(floors.mean())),
                "beyond_noise": bool(error > np.quantile(floors, _BEYOND)),
            }
        )
    return pd.DataFrame.from_records(records)


def floor_of_calibration_error(
    p: Floats, renewals: "pd.Series[str]", draws: int = RESAMPLES, weights: Floats | None = None
) -> Floats:
    """Simulate the calibration errors of forecasts that are right.

    Each renewal draws one number between 0 and 1, and the outcome comes about on those of its rows whose
    probability is above it: on every row as often as forecast, and on the rows of a renewal as much together
    as their forecasts allow. That renewals fail together, too, is not in it, so the true floor is higher.

    Parameters
    ----------
    p : ndarray of shape (n_rows,)
        The forecasts.
    renewals : Series of str, shape (n_rows,)
        Which renewal each row is about.
    draws : int
    weights : ndarray of shape (n_rows,), optional
        For how many each renewal stands. Few that stand for many make the floor higher.

    Returns
    -------
    ndarray of shape (draws,)
    """
    stands_for = np.ones(len(p)) if weights is None else weights
    bins = metrics.calibration_bins(p, weights=stands_for)

    def by_bin(rows: Floats) -> Floats:
        return np.asarray(np.bincount(bins, weights=stands_for * rows, minlength=metrics.BINS))

    forecast, whole = by_bin(p), stands_for.sum()
    return np.array(
        [
            float(np.abs(by_bin(came_about.astype(np.float64)) - forecast).sum() / whole)
            for came_about in _imagined(p, renewals, draws)
        ]
    )


def _imagined(p: Floats, renewals: "pd.Series[str]", draws: int) -> Iterator[npt.NDArray[np.bool_]]:
    """Draw what comes about if forecasts are right, a renewal at a time; arrays of shape (n_rows,)."""
    codes, names = pd.factorize(renewals)
    rng = np.random.default_rng(_SEED)
    for _ in range(draws):
        yield rng.random(len(names))[codes] < p


def calibration_by_group(
    result: BacktestResult, group: Group, outcome: str = "failed", model: str | None = None
) -> pd.DataFrame:
    """Say for which issuers, owners or classes of validity the forecasts of a model are off.

    Parameters
    ----------
    result : BacktestResult
    group : {"issuer", "owner", "validity"}
    outcome : str
        As for :meth:`BacktestResult.summary`.
    model : str, optional
        Default: the first.

    Returns
    -------
    DataFrame of shape (n_groups, 12)
        ``group``; ``value``, largest first; ``rows``, ``renewals``, ``lineages``; ``forecast`` (mean),
        ``observed`` (share); ``difference``, observed less forecast, with ``low`` and ``high``, its 90 %
        interval by resampling lineages, which is too narrow where the outcome came about hardly ever;
        ``noise_low`` and ``noise_high``, between which nine of ten differences would be if the forecasts were
        right, as for :func:`floor_of_calibration_error`.

    Raises
    ------
    InputError
        If there is no such group, model or outcome.
    """
    require_outcome(outcome)
    table = grouped(result, group, model)
    y, p = pair(table, outcome)
    weights = weights_of(table)
    codes, values = pd.factorize(table["value"])
    lineages = Lineages(table["lineage"], weights)
    inside = codes[:, None] == np.arange(len(values))
    drawn = ratio(lineages.totals(inside * (y - p)[:, None]), lineages.totals(inside))
    votes = inside * weights[:, None]
    sizes, sums = votes.sum(axis=0), inside.T @ (weights * p)
    noise = np.stack(
        [(votes[right].sum(axis=0) - sums) / sizes for right in _imagined(p, table["fingerprint"], RESAMPLES)]
    )
    records = []
    for number, value in enumerate(values):
        rows = table[inside[:, number]]
        low, high = interval(drawn[:, number])
        records.append(
            {
                "group": group,
                "value": value,
                "rows": len(rows),
                "renewals": rows["fingerprint"].nunique(),
                "lineages": rows["lineage"].nunique(),
                "forecast": metrics.mean(p[inside[:, number]], weights[inside[:, number]]),
                "observed": metrics.mean(y[inside[:, number]], weights[inside[:, number]]),
                "difference": metrics.mean((y - p)[inside[:, number]], weights[inside[:, number]]),
                "low": low,
                "high": high,
                "noise_low": interval(noise[:, number])[0],
                "noise_high": interval(noise[:, number])[1],
            }
        )
    found = pd.DataFrame.from_records(records)
    return found.sort_values(["renewals", "value"], ascending=[False, True], ignore_index=True)


def grouped(result: BacktestResult, group: str, model: str | None = None) -> pd.DataFrame:
    """Give the scored predictions of a model with ``value``, the group of each."""
    if group not in GROUPS:
        raise InputError(f"{group!r} is no group; choose one of {', '.join(GROUPS)}")
    table = result.described(model or result.models[0])
    return table.assign(value=table[group].astype(object).where(table[group].notna(), UNKNOWN).astype(str))
