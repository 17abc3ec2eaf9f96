"""What happened: the four tables, X.509 parsing, the store, and the sources it is filled from."""

from typing import TYPE_CHECKING

from certforecast.lazy import lazy

if TYPE_CHECKING:
    from certforecast.history.merging import TableCount
    from certforecast.history.store import History, Import
    from certforecast.history.tables import Tables

__all__ = ["History", "Import", "TableCount", "Tables"]

__getattr__ = lazy(
    __name__, {"merging": ["TableCount"], "store": ["History", "Import"], "tables": ["Tables"]}
)
