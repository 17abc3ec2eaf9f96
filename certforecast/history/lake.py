"""History that lies elsewhere, read where it lies: Parquet, Delta, Iceberg, and whatever ibis speaks to."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from certforecast.clock import as_utc
from certforecast.errors import StoreError
from certforecast.history.layout import set_up
from certforecast.history.schema import TABLES, Table
from certforecast.history.tables import Tables

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb
    import ibis.expr.types as ir
    import pandas as pd
    from ibis.backends import BaseBackend

__all__ = ["Lake"]


class Lake:
    """The reading half of :class:`~certforecast.history.History`, over tables that others fill.

    Made by :meth:`History.open <certforecast.history.History.open>`.

    Parameters
    ----------
    found : mapping of str to ibis table
        The tables there are, by the names of :mod:`certforecast.history.schema`. Columns may come in any
        order and in types that can be cast; nullable ones may be missing, and so may all tables but
        ``certificates``.
    where : str
        What messages call the place.
    close : callable, optional
        Called at the end.

    Raises
    ------
    StoreError
        If there is no table ``certificates``, or a column is missing or of another kind.
    """

    path = None

    def __init__(
        self, found: Mapping[str, "ir.Table"], where: str, close: Callable[[], object] | None = None
    ) -> None:
        self.where = where
        self._close = close
        if "certificates" not in found:
            raise StoreError(f"{where} has no table certificates; name a place that has one")
        self._tables = Tables(
            *(
                _conform(found[name], table, where) if name in found else _empty(found["certificates"], table)
                for name, table in TABLES.items()
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened; a connection that was handed in stays open."""
        if self._close is not None:
            self._close()

    def tables(self) -> Tables:
        """Give the four tables as ibis expressions."""
        return self._tables

    def counts(self) -> dict[str, int]:
        """Count the rows of every table; nothing is ever set aside or imported here."""
        numbers = {
            name: int(table.count().execute()) for name, table in zip(TABLES, self._tables, strict=True)
        }
        return {**numbers, "quarantine": 0, "imports": 0}

    def last_known_at(self) -> "datetime | None":
        """Give the latest `known_at` of all rows, None if there are none."""
        latest = [table.aggregate(at=table.known_at.max()).to_pyarrow()["at"][0] for table in self._tables]
        return max((as_utc(moment.as_py()) for moment in latest if moment.is_valid), default=None)

    def quarantine(self) -> "pd.DataFrame":
        """Give an empty list: rows are checked by whoever fills the lake."""
        import pandas as pd

        return pd.DataFrame(columns=["at", "source", "table_name", "position", "reason", "content"])

    def imports(self) -> "pd.DataFrame":
        """Give an empty list: nothing is imported here."""
        import pandas as pd

        return pd.DataFrame(columns=["at", "source", "new", "updated", "quarantined"])

    def ingest(self, *_: object, **__: object) -> NoReturn:
        """Refuse.

        Raises
        ------
        StoreError
            Always.
        """
        raise StoreError(
            f"{self.where} is only read: import into a store of its own (a .duckdb file), and write its "
            "tables there with 'History.export'"
        )

    append = ingest


def open_folder(folder: Path) -> Lake:
    """Open a folder: for each table ``NAME.parquet``, or a folder ``NAME`` of Parquet, Delta or Iceberg."""
    import duckdb
    import ibis

    connection = duckdb.connect()
    set_up(connection)
    backend = ibis.duckdb.from_connection(connection)
    try:
        found = {name: backend.table(name) for name in TABLES if _attach(connection, folder, name)}
        return Lake(found, f"folder {folder}", connection.close)
    except duckdb.Error as error:
        connection.close()
        raise StoreError(f"folder {folder} cannot be read: {str(error).splitlines()[0]}") from error
    except BaseException:
        connection.close()
        raise


def open_connection(
    backend: "BaseBackend", database: str | None = None, tables: Mapping[str, str] | None = None
) -> Lake:
    """Open tables of an ibis connection; `tables` gives their names where they differ from ours."""
    named = {name: name for name in TABLES} | dict(tables or {})
    if unknown := named.keys() - TABLES.keys():
        raise StoreError(f"tables names {', '.join(sorted(unknown))}; there are only {', '.join(TABLES)}")
    if backend.name == "duckdb":
        _utc(backend)
    found = {}
    for name, theirs in named.items():
        *path, last = theirs.split(".")
        place: Any = tuple(path) if len(path) > 1 else path[0] if path else database
        if name in (tables or {}) or last in backend.list_tables(database=place):
            found[name] = backend.table(last, database=place)
    return Lake(found, f"the {backend.name} connection")


def _utc(backend: Any) -> None:
    backend.raw_sql("SET TimeZone = 'UTC'")  # times without a zone are UTC here


def _attach(connection: "duckdb.DuckDBPyConnection", folder: Path, name: str) -> bool:
    """Make a view of a table, whatever it lies in; say whether it is there."""
    file, inside = folder / f"{name}.parquet", folder / name
    if file.is_file():
        _view(connection, name, [str(file)])
    elif (inside / "_delta_log").is_dir():
        deltalake = _library("deltalake", "a Delta table", inside)
        connection.register(name, deltalake.DeltaTable(str(inside)).to_pyarrow_dataset())
    elif (inside / "metadata").is_dir():
        _attach_iceberg(connection, inside, name)
    elif inside.is_dir() and next(inside.rglob("*.parquet"), None):
        _view(connection, name, [str(inside / "**" / "*.parquet")])
    else:
        return False
    return True


def _attach_iceberg(connection: "duckdb.DuckDBPyConnection", folder: Path, name: str) -> None:
    iceberg = _library("pyiceberg.table", "an Iceberg table", folder)
    written = list((folder / "metadata").glob("*.metadata.json"))
    if not written:
        raise StoreError(f"{folder} has a folder metadata without a *.metadata.json: no Iceberg table")
    latest = max(written, key=lambda path: (path.stat().st_mtime_ns, path.name))
    table = iceberg.StaticTable.from_metadata(str(latest))
    tasks = list(table.scan().plan_files())
    # Files can be read as they are unless rows were deleted or columns changed since.
    plain = tasks and len(table.schemas()) == 1 and not any(task.delete_files for task in tasks)
    if plain:
        _view(connection, name, [task.file.file_path.removeprefix("file://") for task in tasks])
    else:
        connection.register(name, table.scan().to_arrow())


def _view(connection: "duckdb.DuckDBPyConnection", name: str, paths: list[str]) -> None:
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
    connection.execute(
        f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{listed}], union_by_name = true,"  # noqa: S608
        " hive_partitioning = true)"
    )


def _library(module: str, what: str, place: Path) -> Any:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise StoreError(f"{place} is {what}: pip install 'certforecast[lake]' to read it") from error


def _conform(found: "ir.Table", table: Table, where: str) -> "ir.Table":
    """Give the table's columns in its own types."""
    import ibis

    columns: dict[str, ir.Value] = {}
    for name, kind in ibis.Schema.from_pyarrow(table.schema).items():
        if name in found.columns:
            theirs = found[name].type()
            if not theirs.castable(kind):
                raise StoreError(
                    f"{where}: column {name} of {table.name} is {theirs}, and should be {kind}; "
                    "cast it in a view"
                )
            columns[name] = found[name].cast(kind)
        elif kind.nullable:
            columns[name] = ibis.null(kind)
        else:
            raise StoreError(
                f"{where}: {table.name} has no column {name}, which is needed; it has "
                f"{', '.join(found.columns)}. Give it in a view, or name another table"
            )
    return found.select(**columns)


def _empty(beside: "ir.Table", table: Table) -> "ir.Table":
    """Give a table without rows, on the engine of another."""
    import ibis

    kinds = ibis.Schema.from_pyarrow(table.schema).items()
    nothing = beside.filter(ibis.literal(False))
    return nothing.select(**{name: ibis.null(kind(nullable=True)) for name, kind in kinds})
