"""What the model says of the renewals that are open now, ready to be drawn from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from certforecast.errors import ModelError
from certforecast.models.forecasting import inputs_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FirstRenewals", "first_renewals"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Rows whose curves are asked for at once.
_ROWS_AT_ONCE: Final = 5_000
_LEVELS: Final = np.linspace(0.0, 1.0, 65)
#: On time, slipped, failed, retired: the places in :data:`certforecast.renewals.OUTCOMES`.
_FAILED, _RETIRED = 2, 3


@dataclass(frozen=True)
class FirstRenewals:
    """Outcome probabilities and, given each outcome, quantiles of when.

    Attributes
    ----------
    known : ndarray of bool, shape (n_rows,)
        Rows of the table that the model spoke of.
    chance : ndarray of shape (n_rows, 4)
        Cumulative over the outcomes.
    when : ndarray of shape (n_rows, 4, n_levels)
        Days ahead at evenly spaced levels.
    """

    known: npt.NDArray[np.bool_]
    chance: Floats
    when: Floats

    def draw(self, rows: Ints, rng: np.random.Generator, outages: Floats) -> tuple[Ints, Floats, Any]:
        """Draw each row's outcome, when its successor is in service, and which services end instead."""
        outcome = np.minimum((rng.random(len(rows))[:, None] > self.chance[rows]).sum(axis=1), 3)
        level = rng.random(len(rows)) * (len(_LEVELS) - 1)
        low = np.floor(level).astype(np.int64)
        share = level - low
        begin, end = self.when[rows, outcome, low], self.when[rows, outcome, low + 1]
        at = begin + share * (end - begin)
        at = np.where(outcome == _FAILED, at + rng.choice(outages, len(rows)), at)
        return outcome, np.maximum(at, 1e-6), outcome == _RETIRED


def first_renewals(table: "pd.DataFrame", rows: "pd.DataFrame", model: Any) -> FirstRenewals:
    """Ask a model about the live rows of a table.

    Parameters
    ----------
    table : DataFrame of shape (n_rows, n_columns)
        ``fingerprint``; rows that are in `rows` are asked about.
    rows : DataFrame
        As :func:`certforecast.features.features` gives it.
    model : OutcomePool
        One that says when.

    Raises
    ------
    ModelError
        If the model does not say when.
    """
    import pandas as pd

    if not hasattr(model, "predict_incidence"):
        raise ModelError(
            f"{type(model).__name__} does not say when renewals come: use an OutcomePool with times"
        )
    size = len(table)
    place = pd.Series(np.arange(len(rows)), rows["fingerprint"]).reindex(table["fingerprint"]).to_numpy()
    live = np.flatnonzero(~np.isnan(place) & (table["kind"] == "live").to_numpy())
    known = np.zeros(size, bool)
    known[live] = True
    chance, when = np.ones((size, 4)), np.zeros((size, 4, len(_LEVELS)))
    for start in range(0, len(live), _ROWS_AT_ONCE):
        some = live[start : start + _ROWS_AT_ONCE]
        X = inputs_of(model, rows.iloc[place[some].astype(int)]).reset_index(drop=True)
        times = _days(float(X["days_left"].max()))
        incidence = model.predict_incidence(X, times)
        whole = np.maximum(incidence[:, :, -1:], 1e-12)
        chance[some] = np.cumsum(incidence[:, :, -1], axis=1)
        chance[some, -1] = 1.0
        when[some] = _quantiles(incidence / whole, times)
        when[some, _FAILED] = X["days_left"].to_numpy()[:, None]
    return FirstRenewals(known, chance, when)


def _days(last: float) -> Floats:
    """Give days to ask about, each a little further from the next than the one before."""
    near = np.arange(0.0, 61.0)
    far = 60.0 * 1.03 ** np.arange(1, 120)
    days = np.concatenate([near, far])
    return np.append(days[days < last], last)


def _quantiles(curves: Floats, times: Floats) -> Floats:
    """Invert curves that rise to 1: shape (n, 4, n_times) to (n, 4, n_levels)."""
    flat = curves.reshape(-1, curves.shape[-1])
    found = np.empty((len(flat), len(_LEVELS)))
    for number, curve in enumerate(flat):
        rises = np.concatenate([[True], np.diff(curve) > 0])
        found[number] = np.interp(_LEVELS, curve[rises], times[rises])
    return found.reshape(*curves.shape[:2], -1)
