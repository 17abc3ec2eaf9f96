"""Rehearsals: a dry renewal long before it is due. Everything is tried, nothing is installed.

One check a file, or a few that belong together; :mod:`certforecast.execution.rehearsal.registry` lists them.
"""

from typing import TYPE_CHECKING

from certforecast.lazy import lazy

if TYPE_CHECKING:
    from certforecast.execution.rehearsal.findings import CheckResult, Finding, Rehearsal
    from certforecast.execution.rehearsal.rehearsing import rehearse

__all__ = ["CheckResult", "Finding", "Rehearsal", "rehearse"]

__getattr__ = lazy(
    __name__,
    {"findings": ["CheckResult", "Finding", "Rehearsal"], "rehearsing": ["rehearse"]},
)
