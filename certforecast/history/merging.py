"""Merging rows into the store: one row a fact, whoever told it and however often."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import pyarrow as pa

from certforecast.history.layout import FACT
from certforecast.history.schema import Table

if TYPE_CHECKING:
    import duckdb

__all__ = ["TableCount", "merge"]

#: Which of several rows for one fact is kept; `known_at` is always the earliest of all.
_PREFERENCE: Final = {
    "certificates": (
        "is_precertificate, starts_with(fingerprint, '~'), key_algorithm IS NULL, spki_hash IS NULL,"
        " serial IS NULL, known_at, fingerprint, issuer_dn"
    ),
    "observations": "known_at, fingerprint, error",
    "events": "known_at, actor, detail, fingerprint",
    "hosts": "known_at, owner",
}

#: How a time of knowledge is corrected on the way in: nothing is known before it happened.
_KNOWN: Final = {
    "observations": {"known_at": "greatest(known_at, observed_at)"},
    "events": {"known_at": 'greatest(known_at, "at")'},
    "certificates": {
        "details_known_at": "CASE WHEN coalesce(key_algorithm, spki_hash) IS NOT NULL"
        " THEN coalesce(details_known_at, known_at) END"
    },
}
#: The least of all rows for one fact is kept of these: the earliest time, and of an event's fingerprints one
#: of a whole certificate before a stand-in (``"~"`` sorts after every hex digit) and any before none.
_LEAST: Final = {
    "certificates": ("known_at", "details_known_at"),
    "observations": ("known_at",),
    "events": ("known_at", "fingerprint"),
    "hosts": ("known_at",),
}


@dataclass(slots=True)
class TableCount:
    """What one import did to one table, in rows."""

    new: int = 0
    updated: int = 0
    unchanged: int = 0

    def __iadd__(self, other: "TableCount") -> Self:
        self.new += other.new
        self.updated += other.updated
        self.unchanged += other.unchanged
        return self


def merge(connection: "duckdb.DuckDBPyConnection", table: Table, rows: pa.Table) -> TableCount:
    """Upsert rows: one a fact, the preferred one, known from the earliest time on.

    A fact of the table ``certificates`` is one certificate. Rows are about the same one if they agree in
    issuer, serial number and validity, as a precertificate and its final one do, or in the fingerprint.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Within a transaction.
    rows : pyarrow.Table, shape (n_rows, columns of `table`)
        Checked already.
    """
    run = connection.execute
    name = table.name
    columns = ", ".join(f'"{column}"' for column in table.columns)
    connection.register("incoming", rows)
    try:
        run(
            f"CREATE OR REPLACE TEMP TABLE staged AS SELECT {_columns(table, _KNOWN.get(name, {}))},"  # noqa: S608
            f" {FACT[name]} AS identity FROM incoming"
        )
    finally:
        connection.unregister("incoming")
    # `present` holds the stored rows of the same facts; `settled` what should stand after the import.
    if name == "certificates":
        _join_by_fingerprint(connection)
    else:
        run(
            "CREATE OR REPLACE TEMP TABLE present AS SELECT *, fact AS identity"  # noqa: S608
            f" FROM {name} SEMI JOIN staged ON {name}.fact = staged.identity"
        )
    least = {column: f"min({column}) OVER (PARTITION BY identity)" for column in _LEAST[name]}
    if name == "certificates":  # a row that names the key's algorithm gives the details, so it dates them
        named = "min(details_known_at) FILTER (WHERE key_algorithm IS NOT NULL) OVER (PARTITION BY identity)"
        least["details_known_at"] = f"coalesce({named}, {least['details_known_at']})"
    run(
        "CREATE OR REPLACE TEMP TABLE settled AS"  # noqa: S608
        f" SELECT {_columns(table, least)}, identity, {FACT[name]} AS fact"
        " FROM (FROM present UNION ALL BY NAME FROM staged)"
        f" QUALIFY row_number() OVER (PARTITION BY identity ORDER BY {_PREFERENCE[name]}, fact) = 1"
    )
    run(
        "CREATE OR REPLACE TEMP TABLE changed AS SELECT DISTINCT identity"  # noqa: S608
        " FROM settled JOIN present USING (identity)"
        f" WHERE ({_row('settled', table)}) IS DISTINCT FROM ({_row('present', table)})"
    )
    ((facts, known, updated),) = run(
        "SELECT (SELECT count(*) FROM settled), (SELECT count(DISTINCT identity) FROM present),"
        " (SELECT count(*) FROM changed)"
    ).fetchall()
    if updated:
        run(f"DELETE FROM {name} WHERE fact IN (SELECT fact FROM present SEMI JOIN changed USING (identity))")  # noqa: S608
    if updated or facts > known:
        run(
            f"INSERT INTO {name} ({columns}, fact) SELECT {columns}, fact FROM settled"  # noqa: S608
            " WHERE identity IN (FROM changed) OR identity NOT IN (SELECT identity FROM present)"
        )
    if name == "certificates":
        _note_provenance(connection, some_known=known > 0)
    return TableCount(facts - known, updated, rows.num_rows - (facts - known) - updated)


def _join_by_fingerprint(connection: "duckdb.DuckDBPyConnection") -> None:
    """One fingerprint is one fact, also where a source knows no serial or spells the issuer otherwise."""
    run = connection.execute
    run(
        "CREATE OR REPLACE TEMP TABLE same AS"
        " SELECT fingerprint, arg_min(identity, (serial IS NULL, age, identity)) AS identity FROM ("
        "  SELECT fingerprint, identity, serial, 1 AS age FROM staged UNION ALL"
        "  SELECT fingerprint, fact, serial, 0 FROM certificates SEMI JOIN staged USING (fingerprint)"
        " ) GROUP BY fingerprint"
    )
    run("UPDATE staged SET identity = same.identity FROM same WHERE staged.fingerprint = same.fingerprint")
    run(
        "CREATE OR REPLACE TEMP TABLE present AS"
        " SELECT certificates.*, coalesce(same.identity, certificates.fact) AS identity"
        " FROM certificates LEFT JOIN same USING (fingerprint)"
        " WHERE same.identity IS NOT NULL OR certificates.fact IN (SELECT identity FROM staged)"
    )


def _note_provenance(connection: "duckdb.DuckDBPyConnection", *, some_known: bool) -> None:
    """Keep which source knew each certificate, and from when on."""
    run = connection.execute
    run(
        "CREATE OR REPLACE TEMP TABLE told AS"
        " SELECT settled.fact, staged.source, min(staged.known_at) AS known_at"
        " FROM staged JOIN settled USING (identity) GROUP BY ALL"
    )
    if some_known:
        run(
            "UPDATE provenance SET fact = settled.fact FROM present JOIN settled USING (identity)"
            " WHERE provenance.fact = present.fact AND present.fact <> settled.fact"
        )
        run(
            "UPDATE provenance SET known_at = told.known_at FROM told WHERE provenance.fact = told.fact"
            " AND provenance.source = told.source AND told.known_at < provenance.known_at"
        )
    run("INSERT INTO provenance FROM told ANTI JOIN provenance USING (fact, source)")


def _columns(table: Table, computed: Mapping[str, str]) -> str:
    return ", ".join(
        f'{computed[column]} AS "{column}"' if column in computed else f'"{column}"'
        for column in table.columns
    )


def _row(relation: str, table: Table) -> str:
    return ", ".join(f'{relation}."{column}"' for column in table.columns)
