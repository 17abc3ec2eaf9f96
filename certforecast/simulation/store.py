"""A fleet's tables in memory, for whatever asks for a store."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from certforecast.history.lake import Lake

__all__ = ["in_memory"]


def in_memory(tables: "dict[str, pa.Table]") -> "Lake":
    """Open tables as they are; nothing is checked beyond their columns.

    Parameters
    ----------
    tables : dict of str to Table
        As :meth:`certforecast.simulation.Fleet.tables` gives them.
    """
    import duckdb
    import ibis

    from certforecast.history.lake import Lake
    from certforecast.history.layout import set_up

    connection = duckdb.connect()
    set_up(connection)
    for name, table in tables.items():  # what ibis 12 would say to DuckDB 2 for this, that does not parse
        connection.register("given", table)
        connection.table("given").create(name)
        connection.unregister("given")
    backend = ibis.duckdb.from_connection(connection)
    return Lake({name: backend.table(name) for name in tables}, "the simulated fleet", connection.close)
