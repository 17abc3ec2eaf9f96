"""What happened: the four tables, X.509 parsing, the store, and the sources it is filled from."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from certforecast.history.store import History, Import, TableCount, Tables

__all__ = ["History", "Import", "TableCount", "Tables"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("certforecast.history.store"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
