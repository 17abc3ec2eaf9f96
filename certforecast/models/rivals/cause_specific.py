"""Cumulative incidences from one survival model for each cause."""

from abc import abstractmethod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from certforecast.models.rivals.survival import Floats, SurvivalRival

__all__ = ["CauseSpecific"]

#: After so large a cumulative hazard nothing is left.
_CERTAIN: Final = 50.0
#: A cause with fewer events gets no model of its own.
_LEAST_EVENTS: Final = 20


class CauseSpecific(SurvivalRival):
    """A model of the hazard of each cause, in which the others are censored [1]_.

    Parameters
    ----------
    max_rows, random_state
        As for every survival rival.

    Attributes
    ----------
    causes_ : dict of str to object
        The fitted models: of ``renewed``, and of ``retired`` if that was seen to come before the expiry.

    References
    ----------
    .. [1] R. Prentice et al. (1978), The analysis of failure times in the presence of competing risks,
       Biometrics 34(4).
    """

    @abstractmethod
    def _model(self, Z: Floats, came: npt.NDArray[np.bool_], days: Floats, weights: Floats) -> Any:
        """Fit a model of the time until one cause; `Z` of shape (n_rows, n_columns), the others (n_rows,)."""

    @abstractmethod
    def _hazard(self, model: Any, Z: Floats) -> Floats:
        """Give the cumulative hazard on `grid`; shape (n_rows, n_grid)."""

    def _learn(self, Z: Floats, event: npt.NDArray[np.str_], days: Floats, weights: Floats) -> None:
        self.causes_ = {
            cause: self._model(Z, event == cause, days, weights)
            for cause in ("renewed", "retired")
            if (event == cause).sum() >= _LEAST_EVENTS
        }

    def _curves(self, Z: Floats) -> dict[str, Floats]:
        nothing = np.zeros((len(Z), len(self.grid)))
        steps = {
            cause: np.diff(np.maximum.accumulate(hazard, axis=1), axis=1, prepend=0.0)
            for cause, model in self.causes_.items()
            for hazard in [np.clip(self._hazard(model, Z), 0.0, _CERTAIN)]
        }
        total = sum(steps.values(), start=nothing)
        before = np.exp(-(np.cumsum(total, axis=1) - total))
        # Within a step the causes share what ends in proportion to their hazards.
        ended = before * -np.expm1(-total) / np.maximum(total, 1e-300)
        return {
            cause: np.cumsum(ended * steps.get(cause, nothing), axis=1) for cause in ("renewed", "retired")
        }
