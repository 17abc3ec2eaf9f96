"""Where certificate history lives: one file a source, found through entry points.

A source is a subclass of `Source`. Others add theirs by an entry point in the group
``certforecast.sources``; nothing else has to know of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final

from certforecast.errors import InputError

__all__ = [
    "NO_MARKS",
    "Batch",
    "Mark",
    "Marks",
    "Rejected",
    "Source",
    "Whole",
    "installed_sources",
    "source",
    "source_names",
]

GROUP: Final = "certforecast.sources"

#: How far each place was read by earlier imports: its name, and the state it was in.
Marks = Mapping[str, str]

NO_MARKS: Final[Marks] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Rejected:
    """Input that is no row: where it stood, why it was refused, and what it was."""

    position: str
    reason: str
    content: str = ""


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole certificate, not parsed yet: the store does that in bulk.

    Attributes
    ----------
    der : bytes
        One certificate. Chain certificates are passed over, unless `served`.
    known_at : datetime
        When the source had it: the file's time, the log's, the look's. The store takes an earlier time from
        the SCTs within, and lets no certificate be known before it begins.
    position : str
        Where it stood in the input.
    served : bool
        Whether a server served it as its own, so that it is a leaf whatever it says.
    """

    der: bytes
    known_at: datetime
    position: str
    served: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A place that has been read so far: the next import gets it back, and goes on from there.

    Stored together with the rows that came before it, so a killed import resumes and loses nothing.

    Attributes
    ----------
    place : str
        A file's path, a log's address; unique within the source.
    state : str
        A file's size and time, a position in a log: whatever tells what is new.
    """

    place: str
    state: str


@dataclass(slots=True)
class Batch:
    """Rows read in one go.

    Rows are dictionaries with the columns of the table they are for; a missing nullable column is null,
    and `source` and `known_at` must be filled. `positions` gives for each row of a table where it stood in
    the input (``"fleet.json#12"``), for the quarantine. `skipped` counts places that were not read because
    nothing in them has changed since their mark.
    """

    certificates: list[dict[str, Any]] = field(default_factory=list)
    observations: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    hosts: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    positions: dict[str, list[str]] = field(default_factory=dict)
    wholes: list[Whole] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    skipped: int = 0


class Source(ABC):
    """A place where certificate history lives.

    The first parameter of ``__init__`` is the place, a path or an address; all others are keywords with
    defaults and of plain types, so that the command line and the settings file can set them.

    Attributes
    ----------
    name : str
        What people call it, and what its rows carry in `source`.
    extra : str or None
        The extra of certforecast that brings `needs`.
    needs : tuple of str
        Modules it imports beyond what certforecast always has.
    fallback : bool
        Whether it is tried only on what no other source recognises.
    """

    name: ClassVar[str]
    extra: ClassVar[str | None] = None
    needs: ClassVar[tuple[str, ...]] = ()
    fallback: ClassVar[bool] = False

    @abstractmethod
    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:
        """Yield batches of rows; each is stored before the next is asked for.

        Parameters
        ----------
        marks : mapping of str to str
            What this source's earlier imports into the same store left, place by place. A source that
            cannot tell what is new may read everything again: the store keeps each fact once.

        Raises
        ------
        SourceError
            If the place is missing or is not what the source reads. One bad row raises nothing: it is
            yielded as `Rejected`.
        """

    @classmethod
    def recognises(cls, path: Path) -> str | None:
        """Say in a few words what a path holds if this source reads it, else None. A quick look only."""
        del path
        return None

    @classmethod
    def missing(cls) -> list[str]:
        """List the modules it needs that are not installed."""
        return [module for module in cls.needs if find_spec(module) is None]


def source_names() -> list[str]:
    """List the names of all installed sources."""
    return sorted(point.name for point in entry_points(group=GROUP))


def installed_sources() -> tuple[list[type[Source]], dict[str, str]]:
    """Load all installed sources.

    Returns
    -------
    sources : list of type of Source
        In the order of their names.
    broken : dict of str to str
        Those that cannot be loaded, and why: one bad package must not take the others along.
    """
    loaded, broken = list[type[Source]](), dict[str, str]()
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            loaded.append(point.load())
        except Exception as error:
            broken[point.name] = str(error)
    return loaded, broken


def source(name: str) -> type[Source]:
    """Load a source class by name.

    Raises
    ------
    InputError
        If no installed source has that name, or it needs an extra that is not installed.
    """
    for point in entry_points(group=GROUP, name=name):
        loaded: type[Source] = point.load()
        if missing := loaded.missing():
            raise InputError(
                f"source {name!r} needs {', '.join(missing)}: pip install 'certforecast[{loaded.extra}]'"
            )
        return loaded
    raise InputError(f"no source is called {name!r}; there are: {', '.join(source_names())}")
