"""The load of renewals ahead, what would change it, and what to do when all must be replaced at once."""

from typing import TYPE_CHECKING

from certforecast.lazy import lazy

if TYPE_CHECKING:
    from certforecast.forecasting.drill import Drill, revocation_drill
    from certforecast.forecasting.load import LoadForecast, forecast_load, observed_load
    from certforecast.forecasting.scenario import Scenario, read_scenario, shipped
    from certforecast.forecasting.whatif import WhatIf, what_if

__all__ = [
    "Drill",
    "LoadForecast",
    "Scenario",
    "WhatIf",
    "forecast_load",
    "observed_load",
    "read_scenario",
    "revocation_drill",
    "shipped",
    "what_if",
]

# Modules have other names than functions: a submodule, once imported, would hide a function named like it.
__getattr__ = lazy(
    __name__,
    {
        "drill": ["Drill", "revocation_drill"],
        "load": ["LoadForecast", "forecast_load", "observed_load"],
        "scenario": ["Scenario", "read_scenario", "shipped"],
        "whatif": ["WhatIf", "what_if"],
    },
)
