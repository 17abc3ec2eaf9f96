"""certforecast: forecasts certificate renewals, ranks what to do, renews, and proves it on the wire.

The public names below are loaded on first use, so that ``import certforecast`` stays cheap. Functions named
like their package stay in it: ``from certforecast.renewals import renewals`` and ``from certforecast.features
import features``.

Examples
--------
>>> import certforecast as cf
>>> with cf.History(None) as history:
...     history.counts()["certificates"]
0
"""

from typing import TYPE_CHECKING

from certforecast.lazy import lazy
from certforecast.version import __version__

if TYPE_CHECKING:
    from certforecast.clock import parse_moment
    from certforecast.errors import CertForecastError
    from certforecast.evaluation import backtest
    from certforecast.execution import Executor
    from certforecast.features import FEATURES, training_frame
    from certforecast.forecasting import forecast_load, what_if
    from certforecast.history import History
    from certforecast.models import OutcomeClassifier, OutcomePool, forecast, load_model, save_model, train
    from certforecast.planning import Plan, make_plan
    from certforecast.policy import RenewalPolicy
    from certforecast.settings import Settings, load_settings
    from certforecast.simulation import Fleet

__all__ = [
    "FEATURES",
    "CertForecastError",
    "Executor",
    "Fleet",
    "History",
    "OutcomeClassifier",
    "OutcomePool",
    "Plan",
    "RenewalPolicy",
    "Settings",
    "__version__",
    "backtest",
    "forecast",
    "forecast_load",
    "load_model",
    "load_settings",
    "make_plan",
    "parse_moment",
    "save_model",
    "train",
    "training_frame",
    "what_if",
]

__getattr__ = lazy(
    __name__,
    {
        "clock": ["parse_moment"],
        "errors": ["CertForecastError"],
        "evaluation": ["backtest"],
        "execution": ["Executor"],
        "features": ["FEATURES", "training_frame"],
        "forecasting": ["forecast_load", "what_if"],
        "history": ["History"],
        "models": ["OutcomeClassifier", "OutcomePool", "forecast", "load_model", "save_model", "train"],
        "planning": ["Plan", "make_plan"],
        "policy": ["RenewalPolicy"],
        "settings": ["Settings", "load_settings"],
        "simulation": ["Fleet"],
    },
)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
