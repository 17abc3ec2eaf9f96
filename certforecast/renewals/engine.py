"""Intermediate results that stay on the engine: computed once, never brought to the caller."""

import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["keep"]


def keep(table: "ir.Table") -> "ir.Table":
    """Compute a table now (DuckDB) or on first use (elsewhere), and keep it for as long as it is referred to.

    Parameters
    ----------
    table : ibis table
        Any expression.

    Returns
    -------
    ibis table
        The same rows. On DuckDB a temporary table; on other engines what :meth:`ibis.Table.cache` gives: on
        Spark, a cached data frame.

    Notes
    -----
    :meth:`ibis.Table.cache` also holds on to whatever the result was computed from. That is right where
    results are computed late; on DuckDB it would only fill the memory.
    """
    import ibis

    backend = table.get_backend()
    if backend.name != "duckdb":
        return table.cache()
    name = ibis.util.gen_name("kept")
    # What ibis holds to be never null may well be, after a window's last row.
    schema = {column: kind(nullable=True) for column, kind in table.schema().items()}
    kept: ir.Table = backend.create_table(name, table, schema=schema, temp=True)
    weakref.finalize(kept.op(), _drop, backend, name)
    return kept


def _drop(backend: "ir.BaseBackend", name: str) -> None:
    with suppress(Exception):  # the store may be closed by now, and the table gone with it
        backend.drop_table(name, force=True)
