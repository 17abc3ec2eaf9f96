"""Kinds of things that packages may add to, found through entry points."""

from importlib.metadata import entry_points
from typing import Any

__all__ = ["kinds", "load_kind"]


def kinds(group: str) -> list[str]:
    """List the names in a group of entry points."""
    return sorted({point.name for point in entry_points(group=group)})


def load_kind(group: str, kind: str) -> Any:
    """Load what a group of entry points has under a name.

    Raises
    ------
    ValueError
        If it has nothing of that name, or what it has cannot be imported.
    """
    for point in entry_points(group=group, name=kind):
        try:
            return point.load()
        except Exception as error:
            raise ValueError(f"{kind!r} of {group} cannot be loaded: {error}") from error
    raise ValueError(
        f"no {group.rpartition('.')[2].rstrip('s')} is of kind {kind!r}; there are: {', '.join(kinds(group))}"
    )
