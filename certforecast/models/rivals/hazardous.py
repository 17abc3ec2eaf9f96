"""SurvivalBoost of hazardous: boosting of competing risks by a proper score."""

from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from certforecast.models.durations import CENSORED
from certforecast.models.hazard import EDGES
from certforecast.models.rivals.packages import needed
from certforecast.models.rivals.survival import Floats, SurvivalRival

__all__ = ["SurvivalBooster"]

_CODES: Final = {CENSORED: 0, "renewed": 1}
_OTHER: Final = 2


class SurvivalBooster(SurvivalRival):
    """SurvivalBoost [1]_, for renewed against what ends otherwise. It takes no weights.

    Its incidences may fall with time; they are held up where they do.

    Parameters
    ----------
    n_iter : int
        Boosting rounds.
    max_rows, random_state
        As for every survival rival.

    Attributes
    ----------
    model_ : hazardous.SurvivalBoost
        Fitted.

    References
    ----------
    .. [1] J. Alberge et al. (2025), Survival models: proper scoring rule and stochastic optimization with
       competing risks, AISTATS.
    """

    #: It predicts anew for each of them.
    grid: ClassVar[tuple[float, ...]] = (0.0, *map(float, EDGES))

    weighted = False

    def __init__(self, n_iter: int = 60, max_rows: int = 2_000, random_state: int = 0) -> None:
        super().__init__(max_rows, random_state)
        self.n_iter = n_iter

    def _learn(
        self,
        Z: Floats,
        event: npt.NDArray[np.str_],
        days: Floats,
        weights: Floats,  # noqa: ARG002 (it takes none)
    ) -> None:
        codes = np.array([_CODES.get(name, _OTHER) for name in event])
        # Few horizons for each row: more take as many times longer.
        self.model_ = (
            needed("hazardous")
            .SurvivalBoost(
                n_iter=self.n_iter,
                ipcw_strategy="kaplan-meier",
                n_horizons_per_observation=2,
                show_progressbar=False,
                random_state=self.random_state,
            )
            .fit(Z, pd.DataFrame({"event": codes, "duration": days}))
        )

    def _curves(self, Z: Floats) -> dict[str, Floats]:
        given = self.model_.predict_cumulative_incidence(Z, np.asarray(self.grid))[:, 1]
        renewed = np.maximum.accumulate(given, axis=1)
        return {"renewed": renewed - renewed[:, :1], "retired": np.zeros_like(renewed)}
