"""Who the model is compared with: rules, rates, regressions, and models of other libraries."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from certforecast.models.baselines import RULES
from certforecast.models.rivals.packages import needed

__all__ = ["RIVALS", "Rival"]


@dataclass(frozen=True, slots=True)
class Rival:
    """How to make one rival.

    Attributes
    ----------
    path : str
        ``module:class`` of its estimator.
    package : str or None
        What has to be importable for it; None if certforecast alone does.
    tells_times : bool
        Whether it has ``predict_incidence``.
    parameters : mapping of str to object
        Of the class.
    """

    path: str
    package: str | None = None
    tells_times: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def extra(self) -> str | None:
        """The extra that brings the package."""
        return "rivals" if self.package else None

    @property
    def available(self) -> bool:
        """Whether its package is there."""
        return self.package is None or find_spec(self.package) is not None

    def new(self) -> Any:
        """Make the unfitted estimator.

        Raises
        ------
        ModelError
            If its package is missing.
        """
        if self.package:
            needed(self.package)
        module, _, name = self.path.partition(":")
        return getattr(import_module(module), name)(**self.parameters)


def _rivals() -> dict[str, Rival]:
    models, here = "certforecast.models", "certforecast.models.rivals"
    logistic = f"{models}.classifier:OutcomeClassifier"

    def timed(place: str, package: str | None) -> Rival:
        return Rival(f"{here}.{place}", package, tells_times=True)

    return {
        **{name: Rival(f"{models}.baselines:{rule.__name__}") for name, rule in RULES.items()},
        "overall rates": Rival(f"{models}.baselines:PriorRate"),
        "logistic": Rival(logistic, parameters={"method": "logistic"}),
        "logistic, all features": Rival(
            logistic, parameters={"method": "logistic", "lean": False, "C": 0.002}
        ),
        "LightGBM": Rival(f"{here}.lightgbm:LightGBMOutcomes", "lightgbm"),
        "LightGBM hazards": timed("stacked:LightGBMHazards", "lightgbm"),
        "boosted hazards": timed("stacked:StackedHazards", None),
        "Aalen-Johansen": timed("lifelines:AalenJohansen", "lifelines"),
        "Cox (lifelines)": timed("lifelines:Cox", "lifelines"),
        "Coxnet (scikit-survival)": timed("scikit_survival:Coxnet", "sksurv"),
        "survival forest (scikit-survival)": timed("scikit_survival:SurvivalForest", "sksurv"),
        "boosted Cox (scikit-survival)": timed("scikit_survival:BoostedCox", "sksurv"),
        "SurvivalBoost (hazardous)": timed("hazardous:SurvivalBooster", "hazardous"),
    }


#: The rivals by the name under which they are compared.
RIVALS: Final = _rivals()
