"""The four tables in memory, for whatever asks for a store."""

from typing import TYPE_CHECKING

from certforecast.history.tables import Tables

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MemoryStore"]


class MemoryStore:
    """A store that holds tables as they are given, and checks nothing.

    Parameters
    ----------
    tables : dict of str to Table
        As :meth:`certforecast.simulation.Fleet.tables` gives them.
    """

    def __init__(self, tables: "dict[str, pa.Table]") -> None:
        import ibis

        backend = ibis.duckdb.connect()
        for name, table in tables.items():
            backend.con.register("given", table)
            backend.con.table("given").create(name)
            backend.con.unregister("given")
        self._tables = Tables(**{name: backend.table(name) for name in tables})

    def tables(self) -> Tables:
        """Give the four tables as ibis expressions."""
        return self._tables
