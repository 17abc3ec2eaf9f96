"""certforecast: forecasts certificate renewals, ranks what to do, renews, and proves it on the wire.

The public names below are loaded on first use, so that ``import certforecast`` stays cheap.

Examples
--------
>>> import certforecast as cf
>>> with cf.History(None) as history:
...     len(cf.renewals(history, as_of=cf.parse_moment("2026-10-01")))
0
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from certforecast.clock import parse_moment
    from certforecast.errors import CertForecastError
    from certforecast.evaluation import backtest
    from certforecast.execution import Executor
    from certforecast.features import FEATURES, features, training_frame
    from certforecast.history import History
    from certforecast.models import OutcomeClassifier, forecast, load_model, save_model, train
    from certforecast.planning import Plan, make_plan
    from certforecast.policy import RenewalPolicy
    from certforecast.renewals import renewals
    from certforecast.settings import Settings, load_settings
    from certforecast.simulation import Fleet

_HOMES = {
    "CertForecastError": "errors",
    "Executor": "execution",
    "FEATURES": "features",
    "Fleet": "simulation",
    "History": "history",
    "OutcomeClassifier": "models",
    "Plan": "planning",
    "RenewalPolicy": "policy",
    "Settings": "settings",
    "backtest": "evaluation",
    "features": "features",
    "forecast": "models",
    "load_model": "models",
    "load_settings": "settings",
    "make_plan": "planning",
    "parse_moment": "clock",
    "renewals": "renewals",
    "save_model": "models",
    "train": "models",
    "training_frame": "features",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("certforecast")
    if name in _HOMES:
        return getattr(import_module(f"certforecast.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
