"""How much more weeks vary than independent lineages would, learned from earlier forecasts."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from certforecast.forecasting.situation import Situation

if TYPE_CHECKING:
    from certforecast.forecasting.load import LoadForecast

__all__ = ["dispersion", "inflated"]

Floats = npt.NDArray[np.float64]

#: Weeks ahead that earlier forecasts are held against.
_WEEKS: Final = 13
#: Weight, in weeks, of no dispersion at all.
_PSEUDO_WEEKS: Final = 6.0
_MOST: Final = 25.0
#: Renewals that a moment must have behind it to be learned from.
_LEAST: Final = 30


def dispersion(
    earlier: Sequence[Situation], now: Situation, forecast: Callable[[Situation, int], "LoadForecast"]
) -> float:
    """Give the factor by which squared errors of earlier forecasts exceed their variance; at least 1.

    Parameters
    ----------
    earlier : sequence of Situation
        The fleet as it was known at earlier moments.
    now : Situation
        What came of it, as far as it is known now.
    forecast : callable
        Forecasts so many weeks from a situation.
    """
    from certforecast.forecasting.load import observed_counts

    squares, terms = 0.0, 0.0
    for situation in earlier:
        weeks = min(_WEEKS, int((now.as_of - situation.as_of).total_seconds() / 604_800))
        if len(situation.past) < _LEAST or not weeks:
            continue
        made = forecast(situation, weeks)
        came = observed_counts(now, situation.as_of, weeks, made.by, made.groups)["renewals"]
        draws = made.draws["renewals"]
        mean, variance = draws.mean(axis=0), draws.var(axis=0)
        enough = variance > 0.1
        error = (came - mean)[enough] ** 2 / variance[enough]
        squares += float(error.sum()) * _WEEKS / max(error.size, 1)
        terms += _WEEKS if error.size else 0.0
    factor = (squares + _PSEUDO_WEEKS) / (terms + _PSEUDO_WEEKS)
    return float(np.clip(factor, 1.0, _MOST))


def inflated(draws: Floats, factor: float, rng: np.random.Generator) -> Floats:
    """Spread draws so that their variance grows by a factor and their mean stays: gamma factors of mean 1."""
    mean, variance = draws.mean(axis=0), draws.var(axis=0)
    more = np.where(variance > 0, (factor - 1.0) * variance / np.maximum(mean**2 + variance, 1e-12), 0.0)
    shape = 1.0 / np.maximum(more, 1e-9)
    return np.where(more > 0, draws * rng.gamma(shape, 1.0 / shape, draws.shape), draws)
