"""The history store: one DuckDB file with the four tables, a quarantine and a list of imports."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from certforecast.clock import Clock, as_utc, system_clock
from certforecast.errors import InputError, StoreError
from certforecast.history.schema import SCHEMA_VERSION, TABLES, TIMESTAMP, Table
from certforecast.history.sources import Batch, Rejected, Source
from certforecast.history.validation import check, from_rows
from certforecast.history.x509 import certificate_row, is_chain_certificate

if TYPE_CHECKING:
    import duckdb
    import ibis.expr.types as ir
    import pandas as pd

__all__ = ["History", "Import", "TableCount", "Tables"]

#: What makes two rows the same fact. A precertificate and its final one share issuer, serial and dates.
_IDENTITY = {
    "certificates": (
        "CASE WHEN serial IS NULL THEN fingerprint"
        " ELSE concat_ws('|', issuer_dn, serial, epoch_us(not_before), epoch_us(not_after)) END"
    ),
    "observations": "concat_ws('|', epoch_us(observed_at), host, port, server_name, source)",
    "events": (
        "concat_ws('|', epoch_us(\"at\"), lineage, kind, coalesce(host, ''), coalesce(code, ''), source)"
    ),
    "hosts": "concat_ws('|', host, epoch_us(valid_from))",
}

#: Which of several rows for one fact is kept; `known_at` is always the earliest of all.
_PREFERENCE = {
    "certificates": (
        "is_precertificate, starts_with(fingerprint, '~'), serial IS NULL, known_at, fingerprint, issuer_dn"
    ),
    "observations": "known_at, fingerprint, error",
    "events": "known_at, actor, detail",
    "hosts": "known_at, owner",
}

#: Nothing can be known before it happened: a clock that says so is corrected.
_HAPPENED = {"observations": "observed_at", "events": '"at"'}


@dataclass(slots=True)
class TableCount:
    """What one import did to one table, in rows."""

    new: int = 0
    updated: int = 0
    unchanged: int = 0


@dataclass(slots=True)
class Import:
    """What one import did."""

    source: str
    tables: dict[str, TableCount] = field(default_factory=lambda: {name: TableCount() for name in TABLES})
    quarantined: int = 0

    @property
    def new(self) -> int:
        """Rows that were not there before, over all tables."""
        return sum(count.new for count in self.tables.values())

    @property
    def changed(self) -> int:
        """Rows that are new or updated, over all tables."""
        return sum(count.new + count.updated for count in self.tables.values())


@dataclass(frozen=True, slots=True)
class Tables:
    """The four tables as ibis expressions, on whatever engine they live."""

    certificates: "ir.Table"
    observations: "ir.Table"
    events: "ir.Table"
    hosts: "ir.Table"

    def at(self, moments: Sequence[datetime]) -> "Tables":
        """Give what was known at each of several moments.

        This is the one gate through which derived numbers see the store: every table gets a column
        ``as_of``, and a row appears once for each moment by which it was known (``known_at <= as_of``).
        What is computed from the result with ``as_of`` in every group, join and window is therefore
        a function of the past alone, for many moments in one pass.

        Parameters
        ----------
        moments : sequence of datetime
            At least one.
        """
        import ibis

        rows = ibis.memtable(
            {"as_of": sorted({as_utc(moment) for moment in moments})},
            schema={"as_of": "timestamp('UTC', 6)"},
        )
        return Tables(*(rows.inner_join(table, table.known_at <= rows.as_of) for table in self))

    def __iter__(self) -> Iterator["ir.Table"]:
        return iter((self.certificates, self.observations, self.events, self.hosts))


class History:
    """Certificate history in a DuckDB file.

    Parameters
    ----------
    path : path or None
        The file; made, with its folder, if it is not there. None keeps everything in memory.
    clock : callable
        Gives the present, for the list of imports.

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
        self._connection = _connect(self.path)
        try:
            self._prepare()
        except BaseException as error:
            self._connection.close()
            self._explain(error)
            raise

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

    def ingest(self, source: Source, *, progress: Callable[[int], None] | None = None) -> Import:
        """Import everything a source gives, in one transaction.

        Importing the same thing twice changes nothing. If the source raises, or the process dies, the store
        stays as it was. Rows that break a rule go to the quarantine.

        Parameters
        ----------
        source : Source
            For example ``PemSource("certs/")``.
        progress : callable, optional
            Called with the number of rows read so far.

        Raises
        ------
        SourceError
            If the source cannot be read.
        """
        done = Import(source.name)
        read_arrow = getattr(source, "read_arrow", None)
        with self._transaction():
            rows = 0
            if read_arrow is not None:
                for name, arrow in read_arrow():
                    rows += arrow.num_rows
                    self._take(TABLES[name], arrow, None, done)
                    if progress:
                        progress(rows)
            else:
                for batch in source.read():
                    rows += self._take_batch(batch, done)
                    if progress:
                        progress(rows)
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
        rows = len(batch.rejected)
        self._set_aside("", batch.rejected, done)
        _parse_wholes(batch, done.source)
        for name, table in TABLES.items():
            given: list[dict[str, Any]] = getattr(batch, name)
            if given:
                rows += len(given)
                arrow, positions, rejected = from_rows(table, given, batch.positions.get(name, ()))
                self._set_aside(name, rejected, done)
                self._take(table, arrow, positions, done)
        return rows

    def _take(self, table: Table, arrow: pa.Table, positions: list[str] | None, done: Import) -> None:
        good, rejected = check(table, arrow, positions)
        self._set_aside(table.name, rejected, done)
        if good.num_rows:
            self._merge(table, good, done.tables[table.name])

    def _merge(self, table: Table, rows: pa.Table, count: TableCount) -> None:
        """Upsert: one row a fact, the preferred one, with the earliest `known_at`."""
        name, identity, preference = table.name, _IDENTITY[table.name], _PREFERENCE[table.name]
        others = ", ".join(f'"{column}"' for column in table.columns if column != "known_at")
        known = f"greatest(known_at, {_HAPPENED[name]})" if name in _HAPPENED else "known_at"
        run = self._connection.execute
        self._connection.register("incoming", rows)
        try:
            run(
                f"CREATE OR REPLACE TEMP TABLE staged AS SELECT {others}, {known} AS known_at,"  # noqa: S608
                f" {identity} AS identity, 1 AS age FROM incoming"
            )
        finally:
            self._connection.unregister("incoming")
        if name == "certificates":
            self._join_by_fingerprint()
        # `present` holds the stored rows of the same facts; `settled` what should stand after the import.
        run(
            f"CREATE OR REPLACE TEMP TABLE present AS SELECT * FROM"  # noqa: S608
            f" (SELECT {others}, known_at, {identity} AS identity, 0 AS age FROM {name})"
            f" SEMI JOIN staged USING (identity)"
        )
        run(
            "CREATE OR REPLACE TEMP TABLE settled AS"  # noqa: S608
            f" SELECT {others}, min(known_at) OVER (PARTITION BY identity) AS known_at, identity"
            " FROM (FROM present UNION ALL BY NAME FROM staged)"
            f" QUALIFY row_number() OVER (PARTITION BY identity ORDER BY {preference}, age) = 1"
        )
        run(
            "CREATE OR REPLACE TEMP TABLE changed AS SELECT settled.identity FROM settled JOIN present"  # noqa: S608
            f" USING (identity) WHERE ({_row('settled', table)}) IS DISTINCT FROM ({_row('present', table)})"
        )
        facts, known_facts, updated = (
            self._scalar(f"SELECT count(*) FROM {temp}")  # noqa: S608
            for temp in ("settled", "present", "changed")
        )
        run(f"DELETE FROM {name} WHERE {identity} IN (FROM changed)")  # noqa: S608
        columns = ", ".join(f'"{column}"' for column in table.columns)
        run(
            f"INSERT INTO {name} ({columns}) SELECT {columns} FROM settled"  # noqa: S608
            " WHERE identity IN (FROM changed) OR identity NOT IN (SELECT identity FROM present)"
        )
        count.new += facts - known_facts
        count.updated += updated
        count.unchanged += rows.num_rows - (facts - known_facts) - updated

    def _join_by_fingerprint(self) -> None:
        """Make one fact of one fingerprint, also where a source knows no serial."""
        self._connection.execute(
            "UPDATE staged SET identity = same.identity FROM ("  # noqa: S608
            " SELECT fingerprint, arg_min(identity, (age, identity)) AS identity FROM ("
            "  SELECT fingerprint, identity, age FROM staged UNION ALL"
            f"  SELECT fingerprint, {_IDENTITY['certificates']}, 0 FROM certificates"
            "   SEMI JOIN staged USING (fingerprint)"
            " ) GROUP BY fingerprint"
            ") AS same WHERE staged.fingerprint = same.fingerprint"
        )

    def _set_aside(self, table: str, rejected: list[Rejected], done: Import) -> None:
        for row in rejected:
            fresh = self._connection.execute(
                "INSERT INTO quarantine SELECT $at, $source, $table, $position, $reason, $content"
                " WHERE NOT EXISTS (FROM quarantine WHERE source = $source AND position = $position"
                " AND reason = $reason AND content = $content)",
                {
                    "at": self._clock(),
                    "source": done.source,
                    "table": table,
                    "position": row.position,
                    "reason": row.reason,
                    "content": row.content,
                },
            ).fetchall()
            done.quarantined += int(fresh[0][0])

    def _note(self, done: Import) -> None:
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
        return Tables(*(backend.table(name) for name in TABLES))

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

    def last_known_at(self) -> datetime | None:
        """Give the latest `known_at` of all rows, None for an empty store."""
        latest = [self._scalar(f"SELECT max(known_at) FROM {name}") for name in TABLES]  # noqa: S608
        return max((as_utc(moment) for moment in latest if moment is not None), default=None)

    def export(self, folder: Path | str) -> None:
        """Write the four tables as Parquet files that the source ``tables`` reads back."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        with self._lock:
            for name, table in TABLES.items():
                order = ", ".join(f'"{column}"' for column in table.key)
                path = str(target / f"{name}.parquet").replace("'", "''")
                self._connection.execute(
                    f"COPY (FROM {name} ORDER BY {order}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
                )

    def _frame(self, query: str) -> "pd.DataFrame":
        with self._lock:
            frame: pd.DataFrame = self._connection.sql(query).to_arrow_table().to_pandas()
        return frame

    def _scalar(self, query: str) -> Any:
        with self._lock:
            rows = self._connection.execute(query).fetchall()  # all: a result left open blocks the next
        return rows[0][0] if rows else None

    # -- layout -------------------------------------------------------------------------------

    def _prepare(self) -> None:
        run = self._connection.execute
        present = {
            row[0] for row in run("SELECT table_name FROM duckdb_tables() WHERE NOT temporary").fetchall()
        }
        where = f"store {self.path}" if self.path else "store in memory"
        if not present:
            with self._transaction():
                run("CREATE TABLE meta (schema_version INTEGER)")
                run("INSERT INTO meta VALUES (?)", [SCHEMA_VERSION])
                for table in TABLES.values():
                    run(_create_statement(table))
                run(
                    'CREATE TABLE quarantine ("at" TIMESTAMPTZ, source VARCHAR, table_name VARCHAR,'
                    " position VARCHAR, reason VARCHAR, content VARCHAR)"
                )
                run(
                    'CREATE TABLE imports ("at" TIMESTAMPTZ, source VARCHAR, new BIGINT, updated BIGINT,'
                    " quarantined BIGINT)"
                )
            return
        if "meta" not in present:
            raise StoreError(f"{where} is a DuckDB file but not a certforecast store; name another file")
        version = self._scalar("SELECT max(schema_version) FROM meta")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{where} has layout {version}, this version of certforecast reads up to {SCHEMA_VERSION}: "
                "upgrade certforecast, or name another store"
            )


def _parse_wholes(batch: Batch, source: str) -> None:
    for whole in batch.wholes:
        try:
            if not is_chain_certificate(whole.der):
                row = certificate_row(whole.der, source=source, known_at=whole.known_at)
                batch.certificates.append(row)
                batch.positions.setdefault("certificates", []).append(whole.position)
        except InputError as error:
            batch.rejected.append(Rejected(whole.position, str(error)))


def _row(relation: str, table: Table) -> str:
    return ", ".join(f'{relation}."{column}"' for column in table.columns)


def _create_statement(table: Table) -> str:
    kinds = {
        pa.string(): "VARCHAR",
        pa.list_(pa.string()): "VARCHAR[]",
        pa.bool_(): "BOOLEAN",
        pa.float64(): "DOUBLE",
        pa.int32(): "INTEGER",
        TIMESTAMP: "TIMESTAMPTZ",
    }
    columns = ", ".join(
        f'"{column.name}" {kinds[column.type]}{"" if column.nullable else " NOT NULL"}'
        for column in table.schema
    )
    return f"CREATE TABLE {table.name} ({columns})"


def _connect(path: Path | None) -> "duckdb.DuckDBPyConnection":
    import duckdb

    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"folder {path.parent} of the store cannot be made: {error.strerror}; name another"
            ) from error
    try:
        connection = duckdb.connect(":memory:" if path is None else str(path))
    except duckdb.IOException as error:
        text = str(error)
        if "Could not set lock" in text:
            raise StoreError(
                f"store {path} is in use by another process; wait for it to end, then try again"
            ) from error
        raise StoreError(
            f"store {path} cannot be opened: {text.splitlines()[0]}; put back a copy, or name another"
        ) from error
    except duckdb.Error as error:
        raise StoreError(f"store {path} cannot be opened: {str(error).splitlines()[0]}") from error
    connection.execute("SET TimeZone = 'UTC'")
    return connection
