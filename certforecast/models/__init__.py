"""Estimators, the rules they must beat, training, saved models and tracking."""

from typing import TYPE_CHECKING

from certforecast.lazy import lazy

if TYPE_CHECKING:
    from certforecast.models.baselines import RULES, FewestDaysLeft, IssuerRate, PastDue, PriorRate
    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.contributions import Contributions, explain
    from certforecast.models.forecasting import forecast
    from certforecast.models.hazard import RenewalHazard
    from certforecast.models.narration import Reason, explain_forecasts, reasons
    from certforecast.models.pool import OutcomePool
    from certforecast.models.saved import load_model, model_metadata, save_model
    from certforecast.models.tracking import promote
    from certforecast.models.training import Trained, landmarks, train

__all__ = [
    "RULES",
    "Contributions",
    "FewestDaysLeft",
    "IssuerRate",
    "OutcomeClassifier",
    "OutcomePool",
    "PastDue",
    "PriorRate",
    "Reason",
    "RenewalHazard",
    "Trained",
    "explain",
    "explain_forecasts",
    "forecast",
    "landmarks",
    "load_model",
    "model_metadata",
    "promote",
    "reasons",
    "save_model",
    "train",
]

# The module of `forecast` has another name: a submodule, once imported, would hide a function named like it.
__getattr__ = lazy(
    __name__,
    {
        "baselines": ["RULES", "FewestDaysLeft", "IssuerRate", "PastDue", "PriorRate"],
        "classifier": ["OutcomeClassifier"],
        "contributions": ["Contributions", "explain"],
        "hazard": ["RenewalHazard"],
        "forecasting": ["forecast"],
        "narration": ["Reason", "explain_forecasts", "reasons"],
        "pool": ["OutcomePool"],
        "saved": ["load_model", "model_metadata", "save_model"],
        "tracking": ["promote"],
        "training": ["Trained", "landmarks", "train"],
    },
)
