"""When to do what: the most valuable schedule that keeps every limit, and a bound on what any could be."""

from typing import TYPE_CHECKING

from certforecast.lazy import lazy

if TYPE_CHECKING:
    from certforecast.planning.schedule.problem import NEVER, Limit, Problem, Schedule
    from certforecast.planning.schedule.solving import solve

__all__ = ["NEVER", "Limit", "Problem", "Schedule", "solve"]

__getattr__ = lazy(__name__, {"problem": ["NEVER", "Limit", "Problem", "Schedule"], "solving": ["solve"]})
