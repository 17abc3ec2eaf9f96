"""What a run says of itself: parameters, figures and tags."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from certforecast.features import FEATURES
from certforecast.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool

__all__ = ["Record", "metric_name", "run_record", "training_record", "versions"]

#: Rows that the forecasts of a new model are held against; to look at more would take time.
_LOOKED_AT: Final = 2_000


@dataclass(frozen=True, slots=True)
class Record:
    """What is logged of a run.

    Attributes
    ----------
    params : dict
        What was chosen.
    metrics : dict of str to float
        What was found. NaN is left out.
    tags : dict of str to str
        What it was made of.
    data_fingerprint : str
        Hash of the landmark rows.
    """

    params: dict[str, Any]
    metrics: dict[str, float]
    tags: dict[str, str]
    data_fingerprint: str


def run_record(settings: Settings, as_of: datetime, data_fingerprint: str) -> Record:
    """Say what every run has: the settings, the moment, the data, and the versions of the libraries."""
    model = {"method": settings.model.method, "landmark_every_days": settings.model.landmark_every_days}
    params = {
        "as_of": as_of.isoformat(),
        "data_fingerprint": data_fingerprint,
        **model,
        **{f"policy.{name}": value for name, value in asdict(settings.policy).items()},
    }
    made_with = {f"version.{name}": version for name, version in versions().items()}
    tags = {"as_of": as_of.isoformat(), "data_fingerprint": data_fingerprint, **made_with}
    return Record(params, {}, tags, data_fingerprint)


def training_record(
    settings: Settings,
    as_of: datetime,
    data_fingerprint: str,
    model: "OutcomePool | OutcomeClassifier",
    rows: "pd.DataFrame",
) -> Record:
    """Say how a model came about.

    Metrics are the numbers of ``rows`` and ``renewals``, of each outcome, too; the ``weight`` of each member
    of a pool, and on how many renewals it was judged; the share of renewals that came within nine-in-ten
    intervals before these were corrected; and how the forecasts fit rows that were learned from. That fit
    is no measure of skill, for which there is the backtest; but a misfit says that something is wrong.

    Parameters are those of :func:`certforecast.models.origin.origin`.
    """
    common = run_record(settings, as_of, data_fingerprint)
    outcomes = rows.drop_duplicates("fingerprint")["outcome"].value_counts()
    metrics = {"rows": len(rows), "renewals": int(outcomes.sum())}
    metrics |= {f"renewals_{name}": int(count) for name, count in outcomes.items()}
    for name, weight in getattr(model, "weights_", {}).items():
        metrics[f"weight/{metric_name(name)}"] = weight
    if hasattr(model, "judged_"):
        metrics["judged_renewals"] = model.judged_
    return Record(
        common.params, {**metrics, **_coverage(model), **_fit(model, rows)}, common.tags, data_fingerprint
    )


def versions() -> dict[str, str]:
    """Give the versions that a model's bytes depend on, by library."""
    import pandas as pd
    import scipy
    import sklearn
    import skops

    from certforecast.version import __version__

    return {
        "certforecast": __version__,
        "numpy": np.__version__,
        "pandas": pd.__version__,
        "scikit-learn": sklearn.__version__,
        "scipy": scipy.__version__,
        "skops": skops.__version__,
    }


def metric_name(text: str) -> str:
    """Give a name that MLflow takes: letters, digits, and a few signs."""
    return "".join(sign for sign in text if sign.isalnum() or sign in " -_./")


def _coverage(model: Any) -> dict[str, float]:
    times = getattr(model, "times_", None)
    if times is None or not times.renewals_:
        return {}
    # The observed quantiles, read the other way: the share observed up to a forecast level.
    low, high = np.interp([0.05, 0.95], times.levels_, np.linspace(0.0, 1.0, len(times.levels_)))
    return {"times/renewals": times.renewals_, "times/coverage_90_uncorrected": float(high - low)}


def _fit(model: Any, rows: "pd.DataFrame") -> dict[str, float]:
    """Hold forecasts against what came about, on rows at even distances."""
    if rows.empty:
        return {}
    looked = rows.iloc[:: -(-len(rows) // _LOOKED_AT)]
    given = model.proba_frame(looked[list(FEATURES)])
    found = {}
    for name in model.classes_:
        came = (looked["outcome"] == name).to_numpy()
        found[f"fit/{name}/forecast"] = float(given[f"p_{name}"].mean())
        found[f"fit/{name}/observed"] = float(came.mean())
    names = ["p_" + name for name in looked["outcome"]]
    told = given.to_numpy()[np.arange(len(given)), given.columns.get_indexer(names)]
    return {**found, "fit/log_loss": float(-np.log(np.maximum(told, np.finfo(float).eps)).mean())}
