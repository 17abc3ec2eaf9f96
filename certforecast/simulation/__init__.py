"""A fleet with known true probabilities."""

from certforecast.simulation.fleet import Fleet
from certforecast.simulation.rates import Rates

__all__ = ["Fleet", "Rates"]
