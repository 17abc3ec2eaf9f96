"""The history store: one DuckDB file with the four tables, a quarantine and a list of imports."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from certforecast.clock import Clock, as_utc, system_clock
from certforecast.errors import StoreError
from certforecast.history.layout import connect, prepare
from certforecast.history.merging import TableCount, merge
from certforecast.history.schema import TABLES, Table
from certforecast.history.sources import NO_MARKS, Batch, Mark, Marks, Rejected, Source
from certforecast.history.tables import Tables
from certforecast.history.validation import check, from_rows
from certforecast.history.wholes import parse_wholes

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd
    from ibis.backends import BaseBackend

    from certforecast.history.lake import Lake

__all__ = ["History", "Import"]


@dataclass(slots=True)
class Import:
    """What one import did.

    Attributes
    ----------
    source : str
        Name of the source.
    tables : dict of str to TableCount
        New, updated and unchanged rows by table.
    quarantined : int
        Rows set aside that were not set aside before.
    skipped : int
        Places that were not read, because nothing in them had changed since an earlier import.
    """

    source: str
    tables: dict[str, TableCount] = field(default_factory=lambda: {name: TableCount() for name in TABLES})
    quarantined: int = 0
    skipped: int = 0

    @property
    def new(self) -> int:
        """Rows that were not there before, over all tables."""
        return sum(count.new for count in self.tables.values())

    @property
    def changed(self) -> int:
        """Rows that are new or updated, over all tables."""
        return sum(count.new + count.updated for count in self.tables.values())


class History:
    """Certificate history in a DuckDB file.

    Parameters
    ----------
    path : path or None
        The file; made, with its folder, if it is not there. None keeps everything in memory.
    clock : callable
        Gives the present, for the list of imports, and as a bound to what can be known.

    Raises
    ------
    StoreError
        If the file is not a store, was written by a newer version, or is in use by another process.

    Examples
    --------
    >>> with History(None) as history:
    ...     history.counts()["certificates"]
    0
    """

    def __init__(self, path: Path | str | None, *, clock: Clock = system_clock) -> None:
        self.path = None if path is None else Path(path)
        self._clock = clock
        self._lock = threading.RLock()
        self._connection = connect(self.path)
        try:
            prepare(self._connection, f"store {self.path}" if self.path else "store in memory")
        except BaseException as error:
            self._connection.close()
            self._explain(error)
            raise

    @classmethod
    def open(
        cls,
        place: "Path | str | BaseBackend",
        *,
        database: str | None = None,
        tables: Mapping[str, str] | None = None,
    ) -> "History | Lake":
        """Open history wherever it lies.

        Parameters
        ----------
        place : path or ibis backend
            A store's file; or, to be read only, a folder that holds for each table ``NAME.parquet``, a folder
            ``NAME`` of (partitioned) Parquet, a Delta table or an Iceberg table; or an ibis connection to
            Spark, DuckDB or a warehouse.
        database : str, optional
            Where a connection's tables are, if not in its current database.
        tables : mapping of str to str, optional
            What a connection's tables are called, where it is not as in
            :mod:`certforecast.history.schema`: ``{"certificates": "pki.certs"}``.

        Raises
        ------
        StoreError
            If there are no such tables, or they lack a column that is needed.
        """
        from certforecast.history.lake import open_connection, open_folder

        if not isinstance(place, str | Path):
            return open_connection(place, database, tables)
        return open_folder(Path(place)) if Path(place).is_dir() else cls(place)

    # -- life ---------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._explain(error)

    def _explain(self, error: BaseException | None) -> None:
        """Turn what DuckDB says of a damaged file or a full disk into words."""
        import duckdb

        if isinstance(error, duckdb.Error) and not isinstance(error, duckdb.ProgrammingError):
            raise StoreError(
                f"store {self.path or 'in memory'} cannot be read or written: {str(error).splitlines()[0]}; "
                "if the file is damaged, put back a copy or import its sources into another"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # -- writing ------------------------------------------------------------------------------

    def ingest(
        self, source: Source, *, progress: Callable[[int], None] | None = None, again: bool = False
    ) -> Import:
        """Import what a source gives.

        Each batch is stored in one transaction, together with how far the source has been read. So an import
        that ends early, by an error or a kill, keeps what it stored, and the next one goes on from there.
        Importing the same thing twice changes nothing, and costs little. Rows that break a rule go to the
        quarantine.

        Parameters
        ----------
        source : Source
            For example ``PemSource("certs/")``.
        progress : callable, optional
            Called with the number of rows read so far.
        again : bool
            Read everything, also what has not changed since an earlier import.

        Raises
        ------
        SourceError
            If the source cannot be read.
        """
        done = Import(source.name)
        rows = 0
        read_arrow = getattr(source, "read_arrow", None)
        try:
            if read_arrow is not None:
                for name, arrow in read_arrow():
                    with self._transaction():
                        self._take(TABLES[name], arrow, None, done)
                    rows += arrow.num_rows
                    if progress:
                        progress(rows)
            else:
                for batch in source.read(NO_MARKS if again else self.marks(source.name)):
                    with self._transaction():
                        rows += self._take_batch(batch, done)
                    if progress:
                        progress(rows)
        except BaseException:
            if rows:
                with suppress(Exception):  # the first error is the one to report
                    self._note(done)
            raise
        self._note(done)
        return done

    def append(self, batch: Batch, *, source: str = "api") -> Import:
        """Import one batch of rows, as :meth:`ingest` does. Safe to call from several threads."""
        done = Import(source)
        with self._transaction():
            self._take_batch(batch, done)
        self._note(done)
        return done

    def _take_batch(self, batch: Batch, done: Import) -> int:
        rows = len(batch.rejected) + len(batch.wholes)
        self._set_aside("", batch.rejected, done)
        if batch.wholes:
            table = TABLES["certificates"]
            arrow, positions, rejected = parse_wholes(batch.wholes, done.source, self._clock())
            self._set_aside(table.name, rejected, done)
            self._take(table, arrow, positions, done)
        for name, table in TABLES.items():
            given: list[dict[str, Any]] = getattr(batch, name)
            if given:
                rows += len(given)
                arrow, positions, rejected = from_rows(table, given, batch.positions.get(name, ()))
                self._set_aside(name, rejected, done)
                self._take(table, arrow, positions, done)
        self._set_marks(done.source, batch.marks)
        done.skipped += batch.skipped
        return rows

    def _take(self, table: Table, arrow: pa.Table, positions: list[str] | None, done: Import) -> None:
        good, rejected = check(table, arrow, positions)
        self._set_aside(table.name, rejected, done)
        if good.num_rows:
            done.tables[table.name] += merge(self._connection, table, good)

    def _set_aside(self, table: str, rejected: list[Rejected], done: Import) -> None:
        if not rejected:
            return
        now = self._clock()
        rows = pa.table(
            {
                "at": [now] * len(rejected),
                "source": [done.source] * len(rejected),
                "table_name": [table] * len(rejected),
                "position": [row.position for row in rejected],
                "reason": [row.reason for row in rejected],
                "content": [row.content for row in rejected],
            }
        )
        self._connection.register("set_aside", rows)
        try:
            ((fresh,),) = self._connection.execute(
                "INSERT INTO quarantine SELECT DISTINCT * FROM set_aside"
                " ANTI JOIN quarantine USING (source, position, reason, content)"
            ).fetchall()
        finally:
            self._connection.unregister("set_aside")
        done.quarantined += int(fresh)

    def _set_marks(self, source: str, marks: list[Mark]) -> None:
        if not marks:
            return
        latest = {mark.place: mark.state for mark in marks}
        rows = pa.table({"place": list(latest), "state": list(latest.values())})
        self._connection.register("marked", rows)
        try:
            self._connection.execute(
                "DELETE FROM marks WHERE source = ? AND place IN (SELECT place FROM marked)", [source]
            )
            self._connection.execute("INSERT INTO marks SELECT ?, place, state FROM marked", [source])
        finally:
            self._connection.unregister("marked")

    def _note(self, done: Import) -> None:
        with self._transaction():
            self._connection.execute(
                "INSERT INTO imports VALUES ($at, $source, $new, $updated, $quarantined)",
                {
                    "at": self._clock(),
                    "source": done.source,
                    "new": done.new,
                    "updated": done.changed - done.new,
                    "quarantined": done.quarantined,
                },
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._connection.execute("BEGIN")
            try:
                yield
            except BaseException:
                with suppress(Exception):  # the first error is the one to report
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    # -- reading ------------------------------------------------------------------------------

    def tables(self) -> Tables:
        """Give the four tables as ibis expressions."""
        import ibis

        backend = ibis.duckdb.from_connection(self._connection)
        return Tables(*(backend.table(name).select(table.columns) for name, table in TABLES.items()))

    def counts(self) -> dict[str, int]:
        """Count the rows of every table, the quarantine and the imports."""
        names = [*TABLES, "quarantine", "imports"]
        return {name: self._scalar(f"SELECT count(*) FROM {name}") for name in names}  # noqa: S608

    def quarantine(self) -> "pd.DataFrame":
        """List what was set aside: ``at, source, table_name, position, reason, content``, newest first."""
        return self._frame('FROM quarantine ORDER BY "at" DESC, source, position')

    def imports(self) -> "pd.DataFrame":
        """List the imports, newest first."""
        return self._frame('FROM imports ORDER BY "at" DESC')

    def provenance(self) -> "pd.DataFrame":
        """List which sources knew each certificate: ``fingerprint, source, known_at``, the earliest first."""
        return self._frame(
            "SELECT fingerprint, provenance.source, provenance.known_at"
            " FROM provenance JOIN certificates USING (fact) ORDER BY ALL"
        )

    def marks(self, source: str) -> Marks:
        """Give how far a source's places have been read: place to state."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT place, state FROM marks WHERE source = ?", [source]
            ).fetchall()
        return dict(rows)

    def last_known_at(self) -> "datetime | None":
        """Give the latest `known_at` of all rows, None for an empty store."""
        latest = [self._scalar(f"SELECT max(known_at) FROM {name}") for name in TABLES]  # noqa: S608
        return max((as_utc(moment) for moment in latest if moment is not None), default=None)

    def export(self, folder: Path | str) -> None:
        """Write the four tables as Parquet files that the source ``tables`` reads back."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        with self._lock:
            for name, table in TABLES.items():
                columns, order = (
                    ", ".join(f'"{column}"' for column in listed) for listed in (table.columns, table.key)
                )
                path = str(target / f"{name}.parquet").replace("'", "''")
                self._connection.execute(
                    f"COPY (SELECT {columns} FROM {name} ORDER BY {order}) TO '{path}'"  # noqa: S608
                    " (FORMAT parquet, COMPRESSION zstd)"
                )

    def _frame(self, query: str) -> "pd.DataFrame":
        with self._lock:
            frame: pd.DataFrame = self._connection.sql(query).to_arrow_table().to_pandas()
        return frame

    def _scalar(self, query: str) -> Any:
        with self._lock:
            rows = self._connection.execute(query).fetchall()  # all: a result left open blocks the next
        return rows[0][0] if rows else None
