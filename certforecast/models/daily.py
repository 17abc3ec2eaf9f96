"""The reference for forecasts of when: how past renewals were spread over the days ahead."""

from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from certforecast.renewals import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DailyShares"]


class DailyShares:
    """No skill: every renewal ends as the past ones did on average, and after as many days.

    The share of each outcome that has come about by each day, over the rows learned from. As they are all
    settled, this is the estimate of Aalen and Johansen (1978).

    Attributes
    ----------
    shares_ : dict of str to float
        How often each outcome came about.
    """

    #: It learns from durations, so :func:`certforecast.models.training.fit_rows` gives them.
    times: Final = True

    def fit(
        self,
        X: Any,  # noqa: ARG002 (the interface of all)
        y: Any,
        sample_weight: Any = None,
        *,
        landmarks: pd.DataFrame | None = None,
    ) -> Self:
        """Learn from outcomes, and from the ``duration`` of each row in `landmarks`; `X` is not looked at."""
        if landmarks is None or "duration" not in landmarks:
            raise ValueError("landmarks with the duration of each row are needed")
        weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, np.float64)
        self._weights = weights / weights.sum()
        self._outcomes, self._durations = np.asarray(y), landmarks["duration"].to_numpy(np.float64)
        self.shares_ = {name: float(self._weights[self._outcomes == name].sum()) for name in OUTCOMES}
        return self

    def proba_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        """Give ``p_on_time, p_slipped, p_failed, p_retired``; shape (n_rows, 4)."""
        return pd.DataFrame({f"p_{name}": share for name, share in self.shares_.items()}, index=X.index)

    def predict_incidence(self, X: pd.DataFrame, times: "Sequence[float]") -> npt.NDArray[np.float64]:
        """Give the probability that each outcome has come about; shape (n_rows, 4, n_times)."""
        by = self._durations[:, None] <= np.asarray(times, np.float64)
        shares = [self._weights[came] @ by[came] for came in (self._outcomes == name for name in OUTCOMES)]
        return np.tile(np.stack(shares), (len(X), 1, 1))
