"""Schema checks on the way in: good rows become an Arrow table, bad ones are set aside with a reason."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from certforecast.errors import SchemaError
from certforecast.history.schema import ERROR_KINDS, EVENT_KINDS, Table
from certforecast.history.sources import Rejected

__all__ = ["check", "from_rows"]

_CONTENT_LIMIT = 2000


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in schema])


def _content(row: Any) -> str:
    return json.dumps(row, default=str, sort_keys=True)[:_CONTENT_LIMIT]


def from_rows(
    table: Table, rows: Sequence[dict[str, Any]], positions: Sequence[str]
) -> tuple[pa.Table, list[str], list[Rejected]]:
    """Turn dictionaries into an Arrow table of `table`'s columns; rows of the wrong type are rejected.

    Parameters
    ----------
    table : Table
        The table the rows are for.
    rows : sequence of dict
        Missing columns become null; unknown ones are refused.
    positions : sequence of str
        Where each row stood in its source; may be empty.

    Returns
    -------
    arrow : pyarrow.Table
        The rows whose values fit the column types; null checks are left to :func:`check`.
    positions : list of str
        Positions of the rows that were kept.
    rejected : list of Rejected
        The others.
    """
    schema = _nullable(table.schema)
    places = list(positions) or [f"row {number}" for number in range(1, len(rows) + 1)]
    unknown = set().union(*rows) - set(table.columns) if rows else set()
    if not unknown:
        try:
            return pa.Table.from_pylist(list(rows), schema=schema), places, []
        except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
            pass  # at least one row does not fit: look at them one by one
    good, kept, rejected = [], [], []
    for row, place in zip(rows, places, strict=True):
        try:
            if extra := sorted(set(row) - set(table.columns)):
                raise SchemaError(f"unknown column {', '.join(extra)}")
            for field in schema:
                try:
                    pa.array([row.get(field.name)], type=field.type)
                except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError) as error:
                    raise SchemaError(f"{field.name} is not {field.type}: {error}") from error
        except SchemaError as error:
            rejected.append(Rejected(place, str(error), _content(row)))
        else:
            good.append(row)
            kept.append(place)
    return pa.Table.from_pylist(good, schema=schema), kept, rejected


def check(
    table: Table, arrow: pa.Table, positions: Sequence[str] | None = None
) -> tuple[pa.Table, list[Rejected]]:
    """Check an Arrow table against the schema and the rules of its table.

    Parameters
    ----------
    table : Table
        The table the rows are for.
    arrow : pyarrow.Table, shape (n_rows, any)
        Missing nullable columns are added as null; types are cast where that loses nothing.
    positions : sequence of str, optional
        Where each row stood in its source. Default ``"row N"``.

    Returns
    -------
    good : pyarrow.Table
        Rows that keep every rule, with exactly the table's columns.
    rejected : list of Rejected
        The others, each with the first rule it breaks.

    Raises
    ------
    SchemaError
        If a required column is missing or a column has a type that cannot be cast.
    """
    arrow = _conform(table, arrow)
    reasons = pa.nulls(arrow.num_rows, pa.string())
    for reason, broken in _rules(table, arrow):
        mask = pc.and_(pc.fill_null(broken, False), pc.is_null(reasons))
        reasons = pc.if_else(mask, pa.scalar(reason), reasons)
    ok = pc.is_null(reasons)
    if pc.all(ok).as_py() is not False:
        return arrow, []
    bad = pc.indices_nonzero(pc.invert(ok)).to_pylist()
    rejected = [
        Rejected(
            positions[index] if positions else f"row {index + 1}",
            reasons[index].as_py(),
            _content({name: arrow[name][index].as_py() for name in arrow.column_names}),
        )
        for index in bad
    ]
    return arrow.filter(ok), rejected


def _conform(table: Table, arrow: pa.Table) -> pa.Table:
    columns = []
    for field in table.schema:
        if field.name not in arrow.column_names:
            if not field.nullable:
                raise SchemaError(f"table {table.name} has no column {field.name}, which every row must fill")
            columns.append(pa.nulls(arrow.num_rows, field.type))
            continue
        try:
            columns.append(arrow[field.name].cast(field.type))
        except pa.ArrowException as error:
            raise SchemaError(f"column {table.name}.{field.name} is not {field.type}: {error}") from error
    return pa.table(columns, schema=_nullable(table.schema))


def _rules(table: Table, arrow: pa.Table) -> Iterable[tuple[str, Any]]:
    """Yield (reason, mask of rows that break it), in the order in which reasons are given."""
    for field in table.schema:
        if not field.nullable:
            yield f"{field.name} is missing", pc.is_null(arrow[field.name])
    match table.name:
        case "certificates":
            yield "names is empty", pc.equal(pc.list_value_length(arrow["names"]), 0)
            yield (
                "not_after is not later than not_before",
                pc.less_equal(arrow["not_after"], arrow["not_before"]),
            )
            yield _misspelt(arrow["fingerprint"])
        case "observations":
            yield (
                "neither fingerprint nor error is set",
                pc.and_(pc.is_null(arrow["fingerprint"]), pc.is_null(arrow["error"])),
            )
            yield "error is not a known kind", _outside(arrow["error"], ERROR_KINDS)
            yield (
                "port is not between 1 and 65535",
                pc.or_(pc.less(arrow["port"], 1), pc.greater(arrow["port"], 65535)),
            )
        case "events":
            yield "kind is not a known kind of event", _outside(arrow["kind"], EVENT_KINDS)
            yield _misspelt(arrow["fingerprint"])
        case "hosts":
            value = arrow["criticality"]
            yield "criticality is not between 0 and 1", pc.or_(pc.less(value, 0.0), pc.greater(value, 1.0))
            yield "valid_to is before valid_from", pc.less(arrow["valid_to"], arrow["valid_from"])


def _misspelt(fingerprint: Any) -> tuple[str, Any]:
    well = pc.match_substring_regex(fingerprint, r"^[0-9a-f~][0-9a-f]{63}$")
    return "fingerprint is not a SHA-256 in lower-case hex", pc.invert(well)


def _outside(column: Any, allowed: frozenset[str]) -> Any:
    return pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, value_set=pa.array(sorted(allowed)))))
