"""Tables of any other manager or monitor, by a mapping of their columns."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from certforecast.clock import Clock, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.sources import NO_MARKS, Batch, Mark, Marks, Rejected, Source
from certforecast.history.sources.batching import Found, Skipped, batches
from certforecast.history.sources.exports import modified, state
from certforecast.history.sources.inventory_files import SUFFIXES, Block, Layout, TextTable, open_table
from certforecast.history.sources.inventory_guess import guess_mapping
from certforecast.history.sources.inventory_mapping import TIMES, Mapping, TableName
from certforecast.history.sources.inventory_rows import RowReader
from certforecast.history.sources.inventory_times import day_first_evidence
from certforecast.history.sources.inventory_values import is_empty

__all__ = ["InventorySource", "Preview"]

#: Rows by which the mapping is guessed.
_SAMPLE: Final = 1000
_EXCERPT: Final = 2000


@dataclass(frozen=True, slots=True)
class Preview:
    """How a table would be read. As text: the mapping, and the rest in comments, to be saved and corrected.

    Attributes
    ----------
    mapping : str
        As TOML.
    rows : list of (str, dict)
        The first rows as they would be stored, each with its table.
    rejected : list of Rejected
        What would be set aside of them, and why.
    """

    mapping: str
    rows: list[tuple[str, dict[str, Any]]]
    rejected: list[Rejected]

    def __str__(self) -> str:
        lines = [
            f"{table}: {json.dumps(row, default=str, ensure_ascii=False)}" for table, row in self.rows
        ] + [f"set aside: {each.position}: {each.reason}" for each in self.rejected]
        # A line of a comment must hold no control characters (TOML 1.0), such as those in an error's text.
        return self.mapping + "".join(
            f"\n# {''.join(letter if letter.isprintable() else ' ' for letter in line)}" for line in lines
        )


class InventorySource(Source):
    """A CSV, TSV (also gzipped), Parquet or Excel table of hosts, certificates or observations, of any tool.

    A mapping in TOML says which column is which of our fields; without one it is guessed from the headers and
    the first values (see `preview`). Observations may bring fields of the certificate that they saw;
    such a certificate is known from the first look on. Where only its end was kept, its beginning is
    estimated (:func:`certforecast.history.sources.lifetimes.estimated_not_before`). Certificates and hosts
    are known from the file's modification time on, unless a column says when. Certificates without a SHA-256
    fingerprint get ``"~"`` and a hash of what identifies them. Dates that could be read with the day or the
    month first are refused unless the mapping, or another row, tells.

    Parameters
    ----------
    path : path or str
        The file.
    mapping : path, optional
        A TOML file.
    sheet : str, optional
        Of a workbook; the first by default.
    table : str
        What a row is, for the guess: ``"observations"``, ``"certificates"`` or ``"hosts"``.
    clock : callable
        Bounds times from the future.
    """

    name = "inventory"
    extra = "excel"
    fallback = True

    def __init__(
        self,
        path: Path | str,
        *,
        mapping: Path | None = None,
        sheet: str | None = None,
        table: Literal["auto"] | TableName = "auto",
        clock: Clock = system_clock,
    ) -> None:
        self.path = Path(path)
        self.mapping = None if mapping is None else Path(mapping)
        self.sheet = sheet
        self.table: Literal["auto"] | TableName = table
        self.clock = clock

    @classmethod
    def recognises(cls, path: Path) -> str | None:
        """Say what rows a table seems to have, and by which columns."""
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            return None
        try:
            _, mapping = cls(path)._opened()
        except InputError:
            return None
        listed = ", ".join(f"{field} ({column})" for field, column in mapping.columns.items())
        return f"table of {mapping.table}: {listed}"

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:
        """Yield batches of rows.

        Raises
        ------
        SourceError
            If the file cannot be read, lacks a column of the mapping, or its dates can be read two ways.
        InputError
            If the mapping has no meaning.
        """
        if not self.path.is_file():
            raise SourceError(f"{self.path} is not a file; give a CSV, Parquet or Excel file")
        yield from batches(self._read(marks))

    def preview(self, rows: int = 5) -> Preview:
        """Show how the table would be read, and store nothing.

        Parameters
        ----------
        rows : int
            How many rows of the file to show.

        Raises
        ------
        SourceError, InputError
            As `read` does.
        """
        table, mapping = self._opened()
        mapping = _settled(table, mapping, self.path)
        finds = list(self._rows(_First(table, rows), mapping))
        return Preview(
            mapping.to_toml(),
            [(find.table, find.row) for find in finds if isinstance(find, Found)],
            [find for find in finds if isinstance(find, Rejected)],
        )

    def _read(self, marks: Marks) -> Iterator[Found | Rejected | Mark | Skipped]:
        place, size_and_time = str(self.path.absolute()), state(self.path)
        table, mapping = self._opened()
        # Read otherwise, it is another table.
        way = hashlib.sha256(mapping.model_dump_json().encode()).hexdigest()[:16]
        now = f"{size_and_time}:{way}"
        if marks.get(place) == now:
            yield Skipped(place)
            return
        mapping = _settled(table, mapping, self.path)
        yield from self._rows(table, mapping)
        yield Mark(place, now)

    def _opened(self) -> tuple[TextTable, Mapping]:
        if self.mapping is not None:
            mapping = Mapping.load(self.mapping)
            if self.sheet is not None:
                mapping = mapping.model_copy(update={"sheet": self.sheet})
            table = open_table(self.path, mapping.layout)
            for field, column in mapping.columns.items():
                if column not in table.columns:
                    listed = ", ".join(table.columns)
                    raise SourceError(
                        f"{self.path} has no column {column!r}, which the mapping gives for {field};"
                        f" it has: {listed}"
                    )
            return table, mapping
        layout = Layout(sheet=self.sheet)
        table = open_table(self.path, layout)
        return table, guess_mapping(_sample(table), layout, self.table, str(self.path))

    def _rows(self, table: TextTable, mapping: Mapping) -> Iterator[Found | Rejected]:
        now = self.clock()
        reader = RowReader(mapping, source=self.name, modified=modified(self.path, self.clock), now=now)
        columns = list(dict.fromkeys(mapping.columns.values()))
        places = [(field, columns.index(column)) for field, column in mapping.columns.items()]
        for block in table.blocks(columns):
            if isinstance(block, Rejected):
                yield block
                continue
            for number, texts in zip(block.numbers, zip(*block.columns, strict=True), strict=True):
                cells = {field: texts[place] for field, place in places if not is_empty(texts[place])}
                if cells:
                    position = f"{self.path.name}#{number}"
                    try:
                        yield from reader.read(mapping.constants | cells, position)
                    except InputError as error:
                        yield Rejected(position, str(error), _excerpt(cells))
        yield from reader.finish()


class _First:
    """The beginning of a table."""

    def __init__(self, table: TextTable, rows: int) -> None:
        self.columns = table.columns
        self._table = table
        self._rows = rows

    def blocks(self, columns: Sequence[str]) -> Iterator[Block | Rejected]:
        for block in self._table.blocks(columns):
            if isinstance(block, Block):
                yield Block(block.numbers[: self._rows], [each[: self._rows] for each in block.columns])
                return
            yield block


def _sample(table: TextTable) -> dict[str, list[str]]:
    blocks = (block for block in table.blocks(table.columns) if isinstance(block, Block) and block.numbers)
    first = next(blocks, Block((), [[] for _ in table.columns]))
    return {name: texts[:_SAMPLE] for name, texts in zip(table.columns, first.columns, strict=True)}


def _settled(table: TextTable, mapping: Mapping, path: Path) -> Mapping:
    """Settle whether days or months stand first, by all dates of the table together.

    Raises
    ------
    SourceError
        If nothing proves it, or some rows prove one and some the other.
    """
    fields = [field for field in mapping.columns if field in TIMES and field not in mapping.formats]
    columns = list(dict.fromkeys(mapping.columns[field] for field in fields))
    if mapping.day_first is not None or not columns:
        return mapping
    evidence = set[bool | None]()
    for block in table.blocks(columns):
        if isinstance(block, Block):
            evidence.update(*(day_first_evidence(set(texts)) for texts in block.columns))
            if not evidence:  # a table that does not begin with such dates has none
                return mapping
    proof = [each for each in evidence if each is not None]
    if len(proof) == 1:
        return mapping.model_copy(update={"day_first": proof[0]})
    how = "some with the day first, some with the month first" if proof else "the day or the month first"
    raise SourceError(
        f"dates of {path} ({', '.join(columns)}) can be read with {how}: say day_first = true or false"
        " in the mapping, or give the form of each in [formats]"
    )


def _excerpt(cells: dict[str, str]) -> str:
    return json.dumps(cells, ensure_ascii=False)[:_EXCERPT]
