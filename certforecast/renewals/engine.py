"""Intermediate results that stay on the engine: computed once, never brought to the caller."""

import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from certforecast.renewals.recording import Rows, active, drop

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import ibis.expr.schema as sch
    import ibis.expr.types as ir

    from certforecast.renewals.recording import Recording

__all__ = ["any_row", "brought", "keep"]


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
    # What ibis holds to be never null may well be, after a window's last row.
    schema = ibis.schema({column: kind(nullable=True) for column, kind in table.schema().items()})
    if (recording := active()) is not None:
        kept = recording.make(backend, table, schema)
        weakref.finalize(kept.op(), _let_go, backend, kept.op().name, recording)
        return kept
    name = ibis.util.gen_name("kept")
    if backend.name == "duckdb":
        kept = backend.create_table(name, table, schema=schema, temp=True)
        weakref.finalize(kept.op(), drop, backend, [name])
        return kept
    if backend.name == "pyspark":
        backend.create_view(name, table)
        rows = backend.raw_sql(f"SELECT * FROM `{name}`").localCheckpoint(eager=True)  # noqa: S608
        rows.createOrReplaceTempView(name)
        kept = backend.table(name)
        weakref.finalize(kept.op(), _drop_view, backend, name)
    else:
        kept = table.cache()
    return kept.cast(schema)  # engines that know one kind of timestamp only tell it otherwise


def brought(
    to: "ir.Table", moments: "Sequence[datetime]", schema: "sch.SchemaLike", rows: Rows, *parameters: Any
) -> "ir.Table":
    """Bring rows, which hang on the moments and some parameters alone, to an engine.

    Parameters
    ----------
    to : ibis table
        Any on the engine.
    moments : sequence of datetime
    schema : mapping of str to type
        Columns of the rows.
    rows : callable
        Gives a frame: ``rows(moments, *parameters)``.
    """
    import ibis

    told = ibis.schema(schema)
    if (recording := active()) is not None:
        backend: Any = to.get_backend()
        kept = recording.bring(backend, moments, told, rows, *parameters)
        weakref.finalize(kept.op(), _let_go, backend, kept.op().name, recording)
        return kept
    return ibis.memtable(rows(moments, *parameters), schema=told)


def any_row(table: "ir.Table") -> bool:
    """Say whether a table has rows."""
    question = table.limit(1).count() > 0
    recording = active()
    return bool(question.execute()) if recording is None else recording.ask(table.get_backend(), question)


def _drop_view(backend: Any, name: str) -> None:
    with suppress(Exception):  # the session may be closed by now, and the view gone with it
        backend.drop_view(name, force=True)


def _let_go(backend: Any, name: str, recording: "Recording") -> None:
    recording.dropped(name)
    drop(backend, [name])
