"""What each feature adds to the probability of an outcome: contributions that sum to the forecast."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from certforecast.errors import InputError, ModelError
from certforecast.renewals import OUTCOMES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool
    from certforecast.models.recalibration import Recalibrated

    Floats = npt.NDArray[np.float64]

__all__ = ["EXPLAINED", "Contributions", "explain"]

#: What can be explained, and the outcomes it takes together.
EXPLAINED: Final = {**{name: (name,) for name in OUTCOMES}, "late": ("slipped", "failed")}

#: Points of the Gauss-Legendre quadrature along the path.
_POINTS = 16

#: Rows at a time: more would not fit the processor's cache.
_ROWS = 4096

#: What may be missing to the forecast before an explanation is refused.
_LEAK = 1e-6


@dataclass(frozen=True)
class Contributions:
    """How the features make up the probability of an outcome.

    Attributes
    ----------
    outcome : str
        Which.
    base : float
        The probability if nothing were known of the renewal; NaN without rows.
    probability : Series of float, shape (n_rows,)
        The forecast: the base and the row's contributions.
    values : DataFrame of shape (n_rows, n_features)
        The contributions, as differences of probability: 0.01 is a percentage point.
    features : DataFrame of shape (n_rows, n_features)
        The values of the features themselves.
    """

    outcome: str
    base: float
    probability: "pd.Series[float]"
    values: "pd.DataFrame"
    features: "pd.DataFrame"

    def by_topic(self) -> "pd.DataFrame":
        """Sum the contributions of features that speak of the same thing; shape (n_rows, n_topics)."""
        from certforecast.features.topics import topic_of

        return self.values.T.groupby(topic_of, sort=False).sum().T


def explain(
    model: "OutcomePool | OutcomeClassifier | Recalibrated", X: "pd.DataFrame", outcome: str = "failed"
) -> Contributions:
    """Share the probability of an outcome among the features.

    The log-odds of every part of the model are sums over features: Shapley values for trees (see
    :func:`certforecast.models.treeshap.boosted_contributions`), coefficients times distance from the mean
    for regressions. All features then come in at the same pace, and each is credited with what it moves the
    model's probability on the way: the Aumann-Shapley value [1]_, also known as integrated gradients [2]_,
    over contributions to log-odds. What it changes that the slip point has passed is credited
    to ``days_to_slip``.

    Parameters
    ----------
    model : OutcomePool, OutcomeClassifier or Recalibrated
        Fitted.
    X : DataFrame of shape (n_rows, n_columns)
        Features, as :func:`certforecast.models.forecast` gives them; other columns are left out.
    outcome : {"failed", "slipped", "late", "on_time", "retired"}
        ``late`` is slipped or failed.

    Returns
    -------
    Contributions

    Raises
    ------
    InputError
        If the outcome is none of these.
    ModelError
        If the model is not fitted or gives no probabilities of outcomes, as a `RenewalHazard`; or if it is
        unknown how a part of it comes to its probabilities.

    References
    ----------
    .. [1] R. Aumann and L. Shapley (1974), Values of non-atomic games.
    .. [2] M. Sundararajan, A. Taly, Q. Yan (2017), Axiomatic attribution for deep networks, ICML.
    """
    import numpy as np
    import pandas as pd

    if outcome not in EXPLAINED:
        raise InputError(f"outcome {outcome!r} is none of {', '.join(EXPLAINED)}")
    if not hasattr(model, "classes_"):
        raise ModelError(
            f"this {type(model).__name__} cannot be explained: it is not fitted, or gives no probabilities "
            "of outcomes"
        )
    known = getattr(model, "feature_names_in_", None)
    inputs = X if known is None else X[list(known)]
    goal = np.isin(model.classes_, EXPLAINED[outcome]).astype(np.float64)
    if inputs.empty:
        return Contributions(
            outcome,
            float("nan"),
            pd.Series(index=X.index, name=f"p_{outcome}", dtype="float64"),
            pd.DataFrame(index=X.index, columns=list(inputs), dtype="float64"),
            inputs,
        )
    starts = range(0, len(inputs), _ROWS)
    parts = [_explained(model, inputs.iloc[start : start + _ROWS], goal) for start in starts]
    values = np.concatenate([told for _, _, told in parts])
    probability = np.concatenate([given for _, given, _ in parts])
    return Contributions(
        outcome,
        parts[0][0],
        pd.Series(probability, index=X.index, name=f"p_{outcome}"),
        pd.DataFrame(values, index=X.index, columns=list(inputs)),
        inputs,
    )


def _explained(model: Any, X: "pd.DataFrame", goal: "Floats") -> "tuple[float, Floats, Floats]":
    """Give the base, the probabilities, and the contributions of every column."""
    import numpy as np

    from certforecast.models.classifier import SLIP_COLUMN
    from certforecast.models.paths import path_of

    path = path_of(model, X)
    slopes = [0.0] * len(path.leaves)
    points, weights = np.polynomial.legendre.leggauss(_POINTS)
    for t, weight in zip((points + 1) / 2, weights / 2, strict=True):
        p, pull = path.at(t)
        slopes = [
            sum_ + weight * slope
            for sum_, slope in zip(slopes, pull(np.broadcast_to(goal, p.shape)), strict=True)
        ]
    columns = {str(name): place for place, name in enumerate(X)}
    told = np.zeros((len(X), len(columns)))
    for leaf, slope in zip(path.leaves, slopes, strict=True):
        places = [columns[name] for name in leaf.columns]
        told[:, places] += (np.asarray(slope)[:, None, :] @ leaf.parts)[:, 0]
    ends = [path.at(t)[0] @ goal for t in (0.0, 1.0)]
    base = float(ends[0][0])
    _close(told, ends[1] - ends[0] - told.sum(axis=1))
    ended = path.end() @ goal
    if SLIP_COLUMN in columns:
        told[:, columns[SLIP_COLUMN]] += ended - ends[1]
    given = model.predict_proba(X) @ goal
    if np.abs(base + told.sum(axis=1) - given).max(initial=0.0) > _LEAK:
        raise ModelError(
            f"this {type(model).__name__} cannot be explained: its probabilities come about otherwise than "
            "certforecast.models.paths says"
        )
    return base, given, told


def _close(told: "Floats", missing: "Floats") -> None:
    """Spread the quadrature's error over the contributions, in proportion to their size."""
    import numpy as np

    sizes = np.abs(told)
    totals = sizes.sum(axis=1, keepdims=True)
    told += np.divide(sizes, totals, out=np.zeros_like(sizes), where=totals > 0) * missing[:, None]
