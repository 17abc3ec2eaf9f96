"""Weekly counts as time series: seasonal naive, exponential smoothing and ARIMA, chosen by AICc."""

import json
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm  # noqa: TID253 (a benchmark)

__all__ = ["RIVALS", "forecasts"]

RIVALS = ("seasonal_naive", "ets", "arima")
_SEASON = 52
_ORDERS = [(p, d, q) for d in (0, 1) for p in range(4) for q in range(4) if p + q <= 2]


def forecasts(
    series: list[list[float]], weeks: int, levels: list[int], python: Path | None = None
) -> dict[str, list[Any]]:
    """Forecast each series by each rival.

    Parameters
    ----------
    series : list of list of float
    weeks : int
        Ahead.
    levels : list of int
        Of the intervals, in percent.
    python : Path, optional
        An interpreter that has statsforecast: its AutoETS and AutoARIMA are used instead.
    """
    if python is not None:
        script = Path(__file__).with_name("weekly_statsforecast.py")
        asked = json.dumps({"series": series, "weeks": weeks, "levels": levels})
        done = subprocess.run(
            [str(python), str(script)], input=asked, text=True, capture_output=True, check=True
        )
        return json.loads(done.stdout)
    found: dict[str, list[Any]] = {name: [] for name in RIVALS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for values in series:
            y = np.array(values, np.float64)
            for name, method in (("seasonal_naive", _naive), ("ets", _ets), ("arima", _arima)):
                found[name].append(method(y, weeks, levels))
    return found


def _naive(y: np.ndarray, weeks: int, levels: list[int]) -> dict[str, Any]:
    mean = np.tile(y[-_SEASON:], -(-weeks // _SEASON))[:weeks]
    spread = np.std(y[_SEASON:] - y[:-_SEASON]) * np.sqrt(1 + np.arange(weeks) // _SEASON)
    return _told(mean, spread, levels)


def _ets(y: np.ndarray, weeks: int, levels: list[int]) -> dict[str, Any]:
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    fits = [
        ETSModel(pd.Series(y), error="add", trend=trend, damped_trend=damped).fit(disp=False)
        for trend, damped in ((None, False), ("add", False), ("add", True))
    ]
    best = min(fits, key=lambda fit: fit.aicc)
    made = best.get_prediction(start=len(y), end=len(y) + weeks - 1)
    return _told(made.predicted_mean, np.sqrt(made.forecast_variance), levels)


def _arima(y: np.ndarray, weeks: int, levels: list[int]) -> dict[str, Any]:
    from statsmodels.tsa.arima.model import ARIMA

    fits = []
    for order in _ORDERS:
        try:
            fits.append(ARIMA(y, order=order, trend="c" if order[1] == 0 else "n").fit())
        except (ValueError, np.linalg.LinAlgError):
            continue
    best = min(fits, key=lambda fit: fit.aicc)
    made = best.get_forecast(weeks)
    return _told(made.predicted_mean, made.se_mean, levels)


def _told(mean: np.ndarray, spread: np.ndarray, levels: list[int]) -> dict[str, Any]:
    bounds = {}
    for level in levels:
        away = norm.ppf(0.5 + level / 200) * spread
        bounds[str(level)] = [(mean - away).tolist(), (mean + away).tolist()]
    return {"mean": np.asarray(mean).tolist(), "bounds": bounds}
