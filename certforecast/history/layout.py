"""How the store lies in its DuckDB file: tables, versions, and the identity of each row."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from certforecast.errors import StoreError
from certforecast.history.schema import SCHEMA_VERSION, TABLES, TIMESTAMP, Table

if TYPE_CHECKING:
    import duckdb

__all__ = ["FACT", "connect", "prepare", "set_up"]

#: What makes two rows the same fact. A precertificate and its final one share issuer, serial and dates.
_IDENTITY: Final = {
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

#: The same in 16 bytes, kept beside each row as its column ``fact``: it is looked up with every import.
FACT: Final = {name: f"sha256({identity})[:32]::UUID" for name, identity in _IDENTITY.items()}

_KINDS: Final = {
    pa.string(): "VARCHAR",
    pa.list_(pa.string()): "VARCHAR[]",
    pa.bool_(): "BOOLEAN",
    pa.float64(): "DOUBLE",
    pa.int32(): "INTEGER",
    TIMESTAMP: "TIMESTAMPTZ",
}

_KEEPING: Final = (
    "CREATE TABLE meta (schema_version INTEGER)",
    'CREATE TABLE quarantine ("at" TIMESTAMPTZ, source VARCHAR, table_name VARCHAR,'
    " position VARCHAR, reason VARCHAR, content VARCHAR)",
    'CREATE TABLE imports ("at" TIMESTAMPTZ, source VARCHAR, new BIGINT, updated BIGINT, quarantined BIGINT)',
)

#: What layout 2 added: how far each place was read, and which source knew a certificate from when on.
_SINCE_2: Final = (
    "CREATE TABLE marks (source VARCHAR, place VARCHAR, state VARCHAR)",
    "CREATE TABLE provenance (fact UUID, source VARCHAR, known_at TIMESTAMPTZ)",
)


#: Layout 3: an event says which certificate it is about; the executor's did so in their detail.
_TO_3: Final = (
    "ALTER TABLE events ADD COLUMN fingerprint VARCHAR",
    "UPDATE events SET fingerprint = detail, detail = NULL"
    " WHERE source = 'executor' AND regexp_full_match(detail, '[0-9a-f]{64}')",
)


def connect(path: Path | None) -> "duckdb.DuckDBPyConnection":
    """Open a DuckDB file, made with its folder if it is not there; in memory without a path.

    Raises
    ------
    StoreError
        If the file is in use by another process, or cannot be opened.
    """
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
    set_up(connection)
    return connection


def set_up(connection: "duckdb.DuckDBPyConnection") -> None:
    """Have a connection speak UTC, and keep its progress bar off standard output, where JSON goes."""
    import duckdb

    connection.execute("SET TimeZone = 'UTC'")
    # A notebook without ipywidgets has no progress bar, and refuses to have it turned off.
    with suppress(duckdb.InvalidInputException):
        connection.execute("SET enable_progress_bar = false")


def prepare(connection: "duckdb.DuckDBPyConnection", where: str) -> None:
    """Lay out an empty file, and bring one of an earlier version up to date.

    Raises
    ------
    StoreError
        If the file is no store, or of a newer version.
    """
    present = connection.execute("SELECT table_name FROM duckdb_tables() WHERE NOT temporary").fetchall()
    if not present:
        _run(connection, *_KEEPING, *map(_create, TABLES.values()), *_SINCE_2)
        connection.execute("INSERT INTO meta VALUES (?)", [SCHEMA_VERSION])
        return
    if ("meta",) not in present:
        raise StoreError(f"{where} is a DuckDB file but not a certforecast store; name another file")
    ((version,),) = connection.execute("SELECT max(schema_version) FROM meta").fetchall()
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{where} has layout {version}, this version of certforecast reads up to {SCHEMA_VERSION}: "
            "upgrade certforecast, or name another store"
        )
    if version < 2:
        _run(connection, "BEGIN", *_to_2(), "UPDATE meta SET schema_version = 2", "COMMIT")
    if version < 3:
        _run(connection, "BEGIN", *_TO_3, "UPDATE meta SET schema_version = 3", "COMMIT")


def _to_2() -> list[str]:
    facts = [
        statement
        for name in TABLES
        for statement in (
            f"ALTER TABLE {name} ADD COLUMN fact UUID",
            f"UPDATE {name} SET fact = {FACT[name]}",  # noqa: S608
        )
    ]
    return [
        *_SINCE_2,
        "ALTER TABLE certificates ADD COLUMN details_known_at TIMESTAMPTZ",
        "UPDATE certificates SET details_known_at = known_at WHERE key_algorithm IS NOT NULL",
        *facts,
        "INSERT INTO provenance SELECT fact, source, known_at FROM certificates",
    ]


def _create(table: Table) -> str:
    columns = ", ".join(
        f'"{column.name}" {_KINDS[column.type]}{"" if column.nullable else " NOT NULL"}'
        for column in table.schema
    )
    return f"CREATE TABLE {table.name} ({columns}, fact UUID)"


def _run(connection: "duckdb.DuckDBPyConnection", *statements: str) -> None:
    for statement in statements:
        connection.execute(statement)
