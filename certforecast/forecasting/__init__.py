"""The load of renewals ahead, what would change it, and what to do when everything must be replaced at once."""

from typing import TYPE_CHECKING

from certforecast.lazy import lazy

if TYPE_CHECKING:
    from certforecast.forecasting.load import LoadForecast, forecast_load, observed_load
    from certforecast.forecasting.scenario import Scenario, scenario, shipped

__all__ = ["LoadForecast", "Scenario", "forecast_load", "observed_load", "scenario", "shipped"]

__getattr__ = lazy(
    __name__,
    {
        "load": ["LoadForecast", "forecast_load", "observed_load"],
        "scenario": ["Scenario", "shipped"],
    },
)
