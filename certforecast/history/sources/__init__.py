"""Where certificate history lives: one file a source, found through entry points.

A source is a class with a `name`, and a `read` that yields batches. Others add theirs by an entry
point in the group ``certforecast.sources``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

from certforecast.errors import InputError

__all__ = ["Batch", "Rejected", "Source", "source", "source_names"]

GROUP = "certforecast.sources"


@dataclass(frozen=True, slots=True)
class Rejected:
    """Input that is no row: where it stood, why it was refused, and what it was."""

    position: str
    reason: str
    content: str = ""


@dataclass(slots=True)
class Batch:
    """Rows read in one go.

    Rows are dictionaries with the columns of the table they are for; a missing nullable column is null,
    and `source` and `known_at` must be filled. `positions` gives for each row of a table where it stood in
    the input (``"fleet.json#12"``), for the quarantine.
    """

    certificates: list[dict[str, Any]] = field(default_factory=list)
    observations: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    hosts: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    positions: dict[str, list[str]] = field(default_factory=dict)


@runtime_checkable
class Source(Protocol):
    """A place where certificate history lives."""

    name: str

    def read(self) -> Iterator[Batch]:
        """Yield batches of rows.

        Raises
        ------
        SourceError
            If the place is missing or is not what the source reads. One bad row raises nothing: it is
            yielded as `Rejected`.
        """
        ...


def source_names() -> list[str]:
    """List the names of all installed sources."""
    return sorted(point.name for point in entry_points(group=GROUP))


def source(name: str) -> type[Source]:
    """Load a source class by name.

    Raises
    ------
    InputError
        If no installed source has that name.
    """
    for point in entry_points(group=GROUP, name=name):
        loaded: type[Source] = point.load()
        return loaded
    raise InputError(f"no source is called {name!r}; there are: {', '.join(source_names())}")
