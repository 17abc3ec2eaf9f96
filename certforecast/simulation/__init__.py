"""What can be played: a fleet with known true probabilities, a year with somebody who steps in, a sandbox."""

from typing import TYPE_CHECKING

from certforecast.lazy import lazy

if TYPE_CHECKING:
    from certforecast.simulation.fleet import Fleet
    from certforecast.simulation.rates import Rates
    from certforecast.simulation.replay import Capacity, Replay
    from certforecast.simulation.sandbox import Sandbox

__all__ = ["Capacity", "Fleet", "Rates", "Replay", "Sandbox"]

__getattr__ = lazy(
    __name__,
    {
        "fleet": ["Fleet"],
        "rates": ["Rates"],
        "replay": ["Capacity", "Replay"],
        "sandbox": ["Sandbox"],
    },
)
