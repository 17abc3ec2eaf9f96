"""The executor: renew, install, prove on the wire, and roll back what cannot be proven."""

from typing import TYPE_CHECKING

from certforecast.lazy import lazy

if TYPE_CHECKING:
    from certforecast.execution.executor import Executor
    from certforecast.execution.results import ActionResult, StepTime

__all__ = ["ActionResult", "Executor", "StepTime"]

__getattr__ = lazy(__name__, {"executor": ["Executor"], "results": ["ActionResult", "StepTime"]})
