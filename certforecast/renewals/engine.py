"""Intermediate results that stay on the engine: computed once, never brought to the caller."""

import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["keep"]


def keep(table: "ir.Table") -> "ir.Table":
    """Compute a table now, and keep it on its engine for as long as it is referred to.

    Parameters
    ----------
    table : ibis table
        Any expression.

    Returns
    -------
    ibis table
        The same rows. On DuckDB a temporary table, on Spark a checkpoint on its executors, on other engines
        what :meth:`ibis.Table.cache` gives.

    Notes
    -----
    :meth:`ibis.Table.cache` would do for DuckDB and Spark, but holds on to whatever the result was computed
    from. On DuckDB that fills the memory. On Spark every later query is planned with all that went before,
    and as stages refer to earlier ones more than once, plans would grow without bound.
    """
    import ibis

    backend: Any = table.get_backend()
    name = ibis.util.gen_name("kept")
    # What ibis holds to be never null may well be, after a window's last row.
    schema = {column: kind(nullable=True) for column, kind in table.schema().items()}
    if backend.name == "duckdb":
        kept = backend.create_table(name, table, schema=schema, temp=True)
        weakref.finalize(kept.op(), _drop, backend.drop_table, name)
        return kept
    if backend.name == "pyspark":
        backend.create_view(name, table)
        rows = backend.raw_sql(f"SELECT * FROM `{name}`").localCheckpoint(eager=True)  # noqa: S608
        rows.createOrReplaceTempView(name)
        kept = backend.table(name)
        weakref.finalize(kept.op(), _drop, backend.drop_view, name)
    else:
        kept = table.cache()
    return kept.cast(schema)  # engines that know one kind of timestamp only tell it otherwise


def _drop(drop: Any, name: str) -> None:
    with suppress(Exception):  # the store may be closed by now, and the table gone with it
        drop(name, force=True)
