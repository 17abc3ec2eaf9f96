"""Tables in files, as text: CSV and its kin, Parquet, Excel."""

import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from certforecast.errors import InputError, SourceError
from certforecast.history.sources import Rejected

__all__ = ["SUFFIXES", "Block", "Layout", "TextTable", "open_table"]

#: Endings of the files that are read.
SUFFIXES: Final = frozenset({".csv", ".tsv", ".txt", ".gz", ".parquet", ".xlsx", ".xlsm"})

_DELIMITERS: Final = ",;\t|"
#: Bytes of CSV that are held at a time; no row may be longer.
_BLOCK_BYTES: Final = 4 << 20
_BLOCK_ROWS: Final = 10_000
_LOOK: Final = 1 << 16
_EXCERPT: Final = 2000
#: The longest workbook that is opened, in bytes, unpacked: its texts are held as a whole.
_LIMIT: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Layout:
    """How a table lies in its file; what is None is found out."""

    sheet: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    skip_rows: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows: their numbers in the file (the first row is 1), and a list of texts for each column."""

    numbers: Sequence[int]
    columns: list[list[str]]


class TextTable(Protocol):
    """An opened table: its columns, and its rows as often as asked."""

    columns: list[str]

    def blocks(self, columns: Sequence[str]) -> Iterator[Block | Rejected]:
        """Yield the rows of some columns, in blocks; rows that cannot be read are rejected."""


def open_table(path: Path, layout: Layout) -> TextTable:
    """Open a table by what its file begins with.

    Raises
    ------
    SourceError
        If the file is missing, empty, damaged, or its columns cannot be told apart by name.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"{path} cannot be read: {reason}; give a CSV, Parquet or Excel file") from error
    if not start:
        raise SourceError(f"{path} is empty; give a CSV, Parquet or Excel file")
    kind = _Parquet if start == b"PAR1" else _Excel if start == b"PK\x03\x04" else _Csv
    table: TextTable = kind(path, layout)
    repeated = sorted({name for name in table.columns if table.columns.count(name) > 1})
    if repeated:
        raise SourceError(f"{path} has several columns {repeated[0]!r}; rename them")
    if not any(table.columns):
        raise SourceError(f"{path} has no header; give its columns names in the first row")
    return table


class _Csv:
    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self.layout = layout
        start = _start(path)
        self.encoding = layout.encoding or (
            "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        )
        self.delimiter = layout.delimiter or _delimiter(start, self.encoding, layout.skip_rows)
        with _arrow_errors(path), self._opened([], None) as reader:
            self.columns = list(reader.schema.names)

    def blocks(self, columns: Sequence[str]) -> Iterator[Block | Rejected]:
        bad = list[Any]()
        number = 1 + self.layout.skip_rows
        with _arrow_errors(self.path), self._opened(bad, columns) as reader:
            seen = 0
            for batch in reader:
                rejected = {row.number + self.layout.skip_rows for row in bad[seen:]}
                yield from (self._rejected(row) for row in bad[seen:])
                seen = len(bad)
                numbers = []
                for _ in range(batch.num_rows):
                    number += 1
                    while number in rejected:
                        number += 1
                    numbers.append(number)
                yield Block(numbers, [column.to_pylist() for column in batch.columns])
            yield from (self._rejected(row) for row in bad[seen:])

    def _rejected(self, row: Any) -> Rejected:
        return Rejected(
            f"{self.path.name}#{row.number + self.layout.skip_rows}",
            f"row has {row.actual_columns} fields; the header has {row.expected_columns}",
            str(row.text)[:_EXCERPT],
        )

    @contextmanager
    def _opened(self, bad: list[Any], columns: Sequence[str] | None) -> Iterator[Any]:
        from pyarrow import csv as arrow

        def refuse(row: Any) -> str:
            bad.append(row)
            return "skip"

        names = columns or []
        with pa.input_stream(str(self.path), compression="gzip" if _is_gzip(self.path) else None) as file:
            yield arrow.open_csv(
                file,
                arrow.ReadOptions(
                    use_threads=False,  # else bad rows have no number
                    block_size=_BLOCK_BYTES,
                    skip_rows=self.layout.skip_rows,
                    encoding=self.encoding,
                ),
                arrow.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=refuse
                ),
                arrow.ConvertOptions(
                    include_columns=list(names) or None, column_types=dict.fromkeys(names, pa.string())
                ),
            )


class _Parquet:
    def __init__(self, path: Path, layout: Layout) -> None:
        import pyarrow.parquet as pq

        del layout
        self.path = path
        with _arrow_errors(path):
            self._file = pq.ParquetFile(path)
        self.columns = list(self._file.schema_arrow.names)

    def blocks(self, columns: Sequence[str]) -> Iterator[Block | Rejected]:
        number = 0
        with _arrow_errors(self.path):
            for batch in self._file.iter_batches(_BLOCK_ROWS, columns=list(columns)):
                numbers = range(number + 1, number + 1 + batch.num_rows)
                number += batch.num_rows
                yield Block(numbers, [_texts(batch[name]) for name in columns])


class _Excel:
    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self.layout = layout
        rows = self._rows()
        header = next((row for _, row in rows if any(row)), None)
        if header is None:
            raise SourceError(f"{path} has no rows in the sheet; name another with the option sheet")
        while header and not header[-1]:
            header.pop()
        self.columns = header

    def blocks(self, columns: Sequence[str]) -> Iterator[Block | Rejected]:
        places = [self.columns.index(name) for name in columns]
        filled = ((number, row) for number, row in self._rows() if any(row))
        next(filled)
        while rows := list(islice(filled, _BLOCK_ROWS)):
            texts = [[row[place] if place < len(row) else "" for _, row in rows] for place in places]
            yield Block([number for number, _ in rows], texts)

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        try:
            openpyxl: Any = import_module("openpyxl")  # which has no types
        except ImportError as error:
            raise SourceError(
                f"{self.path} is an Excel file, which needs openpyxl: pip install 'certforecast[excel]'"
            ) from error
        try:
            with zipfile.ZipFile(self.path) as archive:
                if sum(part.file_size for part in archive.infolist()) > _LIMIT:
                    raise SourceError(
                        f"{self.path} is longer than {_LIMIT >> 30} GiB, unpacked; save it as CSV"
                    )
            book = openpyxl.load_workbook(self.path, read_only=True, data_only=True)
            if self.layout.sheet and self.layout.sheet not in book.sheetnames:
                raise SourceError(
                    f"{self.path} has no sheet {self.layout.sheet!r}; it has: {', '.join(book.sheetnames)}"
                )
            sheet = book[self.layout.sheet or book.sheetnames[0]]
            first = 1 + self.layout.skip_rows
            for number, row in enumerate(sheet.iter_rows(min_row=first, values_only=True), start=first):
                yield number, [_cell(value) for value in row]
        except InputError:
            raise
        except Exception as error:  # a damaged workbook: openpyxl raises whatever its parts stumble over
            raise SourceError(
                f"{self.path} cannot be read as an Excel file: {error}; save it anew"
            ) from error


@contextmanager
def _arrow_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, EOFError, ValueError, LookupError) as error:
        if isinstance(error, InputError):
            raise
        hint = "check the file"
        if "utf" in str(error).lower():
            hint = 'say in the mapping how it is written, such as encoding = "cp1252"'
        raise SourceError(f"{path} cannot be read: {str(error).splitlines()[0]}; {hint}") from error


def _texts(column: pa.Array) -> list[str]:
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = pc.binary_join(column.cast(pa.list_(pa.string())), ",")
    return [text or "" for text in column.cast(pa.string()).to_pylist()]


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return value.isoformat(" ") if value.time() != datetime.min.time() else value.date().isoformat()
        case float() if value.is_integer():
            return str(int(value))
    return str(value)


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _start(path: Path) -> bytes:
    packed = "gzip" if _is_gzip(path) else None
    with _arrow_errors(path), pa.input_stream(str(path), compression=packed) as file:
        data: bytes = file.read(_LOOK)
    return data


def _delimiter(start: bytes, encoding: str, skip_rows: int) -> str:
    """Find what parts the header in most fields."""
    lines = start.decode(encoding, "replace").splitlines()[skip_rows:]
    header = next((line for line in lines if line.strip()), "")

    def fields(delimiter: str) -> int:
        try:
            return len(next(csv.reader(io.StringIO(header), delimiter=delimiter), []))
        except csv.Error:
            return 0

    return max(_DELIMITERS, key=fields)
