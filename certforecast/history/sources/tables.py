"""The four tables as Parquet files: what the store exports and the simulator writes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from certforecast.errors import SchemaError, SourceError
from certforecast.history.schema import TABLES, Table
from certforecast.history.sources import NO_MARKS, Batch, Marks, Source

__all__ = ["TablesSource"]

#: Rows of one Arrow table: a few hundred megabytes at most.
_CHUNK: Final = 500_000
#: Rows of dictionaries at a time.
_BATCH: Final = 1000


class TablesSource(Source):
    """The four tables as Parquet files in a folder, as certforecast exports and simulates them.

    The files are ``certificates.parquet``, ``observations.parquet``, ``events.parquet``, ``hosts.parquet``.
    Any of the four may be missing, not all. Columns are those of :mod:`certforecast.history.schema`; nullable
    ones may be missing and others are ignored.

    Parameters
    ----------
    path : path or str
        The folder.
    """

    name = "tables"

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @classmethod
    def recognises(cls, path: Path) -> str | None:
        """Say which of the files a folder holds."""
        found = [name for name in TABLES if (path / f"{name}.parquet").is_file()]
        return f"tables as certforecast exports them: {', '.join(found)}" if found else None

    def read_arrow(self) -> Iterator[tuple[str, pa.Table]]:
        """Yield ``(table name, rows)`` as Arrow, the fast way; a large table comes in several pieces.

        All files are checked before the first row is given.

        Raises
        ------
        SourceError
            If the folder holds none of the files, or one is not Parquet.
        SchemaError
            If a file lacks a required column or has one of the wrong type.
        """
        for name, file, columns in self._open():
            for batch in _batches(file, self.path / f"{name}.parquet", columns, _CHUNK):
                yield name, pa.Table.from_batches([batch])

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:  # noqa: ARG002
        """Yield batches of rows, with positions such as ``"events.parquet#12"`` (from 0).

        Raises
        ------
        SourceError, SchemaError
            As :meth:`read_arrow` does.
        """
        for name, file, columns in self._open():
            path, start = self.path / f"{name}.parquet", 0
            for rows in _batches(file, path, columns, _BATCH):
                batch = Batch()
                getattr(batch, name).extend(rows.to_pylist())
                batch.positions[name] = [f"{path.name}#{start + row}" for row in range(rows.num_rows)]
                start += rows.num_rows
                yield batch

    def _open(self) -> list[tuple[str, pq.ParquetFile, list[str]]]:
        if not self.path.is_dir():
            raise SourceError(f"{self.path} is not a folder; give one that holds {_files('or')}")
        opened = []
        for name, table in TABLES.items():
            path = self.path / f"{name}.parquet"
            if path.is_file():
                try:
                    file = pq.ParquetFile(path)
                except (pa.ArrowException, OSError) as error:
                    raise SourceError(f"{path} is not a whole Parquet file: {error}") from error
                opened.append((name, file, _columns(table, file.schema_arrow, path)))
        if not opened:
            raise SourceError(f"folder {self.path} holds none of {_files('and')}")
        return opened


def _files(word: str) -> str:
    *names, last = (f"{name}.parquet" for name in TABLES)
    return f"{', '.join(names)} {word} {last}"


def _columns(table: Table, schema: pa.Schema, path: Path) -> list[str]:
    """Give the columns to read, after checking them against the table's."""
    columns = []
    for field in table.schema:
        if field.name not in schema.names:
            if not field.nullable:
                raise SchemaError(f"{path} has no column {field.name}, which every row must fill")
            continue
        found = schema.field(field.name).type
        try:
            pa.array([], found).cast(field.type)
        except pa.ArrowException as error:
            raise SchemaError(f"column {field.name} of {path} is {found}, not {field.type}") from error
        columns.append(field.name)
    return columns


def _batches(file: pq.ParquetFile, path: Path, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
    try:
        yield from file.iter_batches(size, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} is damaged: {error}") from error
