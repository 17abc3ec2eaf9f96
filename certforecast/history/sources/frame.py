"""Rows that are in memory already: any DataFrame, through Arrow."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from certforecast.errors import InputError, SchemaError
from certforecast.history.names import NameSet, normalise_name
from certforecast.history.schema import TABLES, TIMESTAMP, Table
from certforecast.history.sources import NO_MARKS, Batch, Marks, Rejected, Source
from certforecast.history.sources.batching import Found, batches

__all__ = ["FrameSource"]

#: Rows turned into dictionaries at a time.
_CHUNK: Final = 10_000


class FrameSource(Source):
    """Any DataFrame of Python: pandas, polars, Arrow, DuckDB (for programs and notebooks).

    Columns are those of one of the four tables (:mod:`certforecast.history.schema`); nullable ones may be
    missing. `source` is filled in, and of ``certificates`` what follows from the rest: `name_set_id`,
    `registered_domains`, `wildcard`, `validity_days`, `is_precertificate` (false), and a stand-in
    `fingerprint`. Names are normalised. Times without a zone are UTC. A row that does not fit is set aside.

    Parameters
    ----------
    frame : object
        Anything that Arrow reads: a DataFrame of pandas or polars, an Arrow table, a DuckDB relation.
    table : str
        Which of the tables the rows are for.
    called : str
        What the rows carry in `source`, unless they have it.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"host": ["a.example"], "owner": ["web"], "valid_from": ["2026-01-01"],
    ...                      "known_at": ["2026-01-01"]})
    >>> [batch] = FrameSource(rows, table="hosts").read()
    >>> batch.hosts[0]["owner"]
    'web'
    """

    name = "frame"

    def __init__(self, frame: object, *, table: str, called: str = "frame") -> None:
        self.frame = frame
        self.table = table
        self.called = called

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:  # noqa: ARG002
        """Yield batches of rows.

        Raises
        ------
        InputError
            If there is no such table, or the object is no frame.
        SchemaError
            If a column is unknown or missing, or holds something else than it should.
        """
        if self.table not in TABLES:
            raise InputError(f"table {self.table!r} is none of {', '.join(TABLES)}")
        rows = _fitted(TABLES[self.table], _arrow(self.frame))
        yield from batches(self._finds(rows))

    def _finds(self, rows: pa.Table) -> Iterator[Found | Rejected]:
        number = 0
        for chunk in rows.to_batches(_CHUNK):
            for row in chunk.to_pylist():
                number += 1
                position = f"row {number}"
                if "source" in TABLES[self.table].columns:
                    row["source"] = row.get("source") or self.called
                try:
                    if self.table == "certificates":
                        row = _completed(row)
                except InputError as error:
                    yield Rejected(position, str(error))
                else:
                    yield Found(self.table, row, position)


def _arrow(frame: object) -> pa.Table:
    try:
        table = pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(
            f"{type(frame).__name__} is no frame that Arrow reads ({error}); give a DataFrame of pandas or"
            " polars, an Arrow table or a DuckDB relation"
        ) from error
    # What pandas calls an index without a name is no column.
    return table.drop_columns([name for name in table.column_names if name.startswith("__index_level_")])


def _fitted(table: Table, rows: pa.Table) -> pa.Table:
    """Cast the columns to those of the table."""
    if unknown := [name for name in rows.column_names if name not in table.columns]:
        raise SchemaError(
            f"frame has columns that {table.name} do not have: {', '.join(unknown)}; rename or drop them"
        )
    given = _OWN.get(table.name, frozenset({"source"}))
    required = [field.name for field in table.schema if not field.nullable and field.name not in given]
    if missing := [name for name in required if name not in rows.column_names]:
        raise SchemaError(f"frame has no column {', '.join(missing)}, which every row of {table.name} fills")
    columns = {}
    for name in rows.column_names:
        kind = table.schema.field(name).type
        try:
            columns[name] = _times(rows[name]) if kind == TIMESTAMP else rows[name].cast(kind)
        except pa.ArrowException as error:
            raise SchemaError(f"column {name} of the frame is not {kind}: {error}") from error
    return pa.table(columns)


def _times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_string_view(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.string())
    if pa.types.is_string(column.type):
        with suppress(pa.ArrowInvalid):  # no zone is written
            return column.cast(TIMESTAMP)
    elif pa.types.is_timestamp(column.type) and column.type.tz is not None:
        return column.cast(TIMESTAMP, safe=False)  # finer than microseconds is cut off
    naive = column.cast(pa.timestamp("us"), safe=pa.types.is_string(column.type))
    return pc.assume_timezone(naive, "UTC")


#: Columns that need not be in a frame, although every row fills them.
_OWN: Final[Mapping[str, frozenset[str]]] = {
    "certificates": frozenset(
        {
            "fingerprint",
            "name_set_id",
            "registered_domains",
            "wildcard",
            "validity_days",
            "is_precertificate",
            "source",
        }
    ),
    "hosts": frozenset(),
}


def _completed(row: dict[str, Any]) -> dict[str, Any]:
    """Fill what follows from the rest of a certificate's row."""
    if not row["names"] or None in row["names"]:
        raise InputError("names is empty")
    if row["not_before"] is None or row["not_after"] is None or row["issuer_dn"] is None:
        raise InputError("issuer_dn, not_before or not_after is missing")
    names = NameSet.of(map(normalise_name, row["names"]))
    identity = "\n".join(
        (row["issuer_dn"], row.get("serial") or names.id, *map(str, (row["not_before"], row["not_after"])))
    )
    derived = {
        "fingerprint": "~" + hashlib.sha256(identity.encode()).hexdigest()[:63],
        "name_set_id": names.id,
        "registered_domains": names.registered_domains,
        "wildcard": names.wildcard,
        "validity_days": (row["not_after"] - row["not_before"]) / timedelta(days=1),
        "is_precertificate": False,
    }
    given = {name: value for name, value in row.items() if value is not None}
    return {**derived, **given, "names": names.names}
