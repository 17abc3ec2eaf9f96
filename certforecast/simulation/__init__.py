"""What can be played: a fleet with known true probabilities, and a sandbox of real TLS endpoints."""

from typing import TYPE_CHECKING

from certforecast.lazy import lazy

if TYPE_CHECKING:
    from certforecast.simulation.fleet import Fleet
    from certforecast.simulation.rates import Rates
    from certforecast.simulation.sandbox import Sandbox

__all__ = ["Fleet", "Rates", "Sandbox"]

__getattr__ = lazy(__name__, {"fleet": ["Fleet"], "rates": ["Rates"], "sandbox": ["Sandbox"]})
