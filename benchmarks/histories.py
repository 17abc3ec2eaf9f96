"""Stores of any size for benchmarks: SQL makes them, so that ten million certificates take a minute.

Every lineage is renewed about every 60 days with certificates of 90, ten times. One in five is scanned on one
or two endpoints every 15 days; a third is in the inventory; clients tell of issues and failed attempts of one
in five. One set of names in thirty grows at a renewal, some renewals slip, some lineages end early.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from certforecast.history import History
from certforecast.history.layout import FACT
from certforecast.history.schema import TABLES

if TYPE_CHECKING:
    import duckdb

__all__ = ["AS_OF", "make_store"]

#: The moment to compute features for: each lineage has had its ten certificates, most a live one.
AS_OF = datetime(2025, 3, 1, tzinfo=UTC)

_RENEWALS = 10

# `u(row, label)` is a number from 0 up to 1, the same for the same seed, row and label.
_LINEAGES = """
CREATE TEMP TABLE lineages AS
SELECT range AS lineage, u(range, 'zone') AS zone_u,
    1 + floor(-ln(1 - u(range, 'names') * 0.999) * 0.8)::INT AS names,
    u(range, 'begin') * 60 AS began, u(range, 'slow') * 2 AS slow,
    u(range, 'scan') < 0.2 AS scanned, u(range, 'inventory') < 0.33 AS listed,
    u(range, 'log') < 0.2 AS logged, u(range, 'ec') < 0.6 AS elliptic,
    floor(u(range, 'issuer') ** 2 * 40)::INT AS issuer,
    CASE WHEN u(range, 'end') < 0.1 THEN 2 + floor(u(range, 'ends') * 8)::INT ELSE {renewals} END
        AS certificates,
    CASE WHEN u(range, 'grow') < 0.033 THEN 1 + floor(u(range, 'grows') * 9)::INT ELSE 99 END AS grows,
    'd' || floor(u(range, 'zone') * {zones})::INT || '.example' AS domain,
    's' || range || '.' || domain AS site
FROM range({lineages})
"""

_ISSUED = """
CREATE TEMP TABLE issued AS
SELECT *, concat(lineage, '-', number) AS row, u(row, 'dark') < 0.01 AS dark,
    began + number * 60 + slow * number + u(row, 'late') * 3
        + CASE WHEN u(row, 'slip') < 0.03 THEN u(row, 'slips') * 30 ELSE 0 END AS day
FROM lineages, range({renewals}) numbers(number) WHERE number < certificates
"""

_CERTIFICATES = """
CREATE TEMP TABLE made AS
SELECT *, TIMESTAMPTZ '2023-06-01' + to_seconds((day * 86400)::BIGINT) AS not_before,
    not_before + INTERVAL 90 DAY AS not_after,
    list_sort(list_concat([site],
        list_transform(range(1, names + (number >= grows)::INT), lambda i: 'n' || i || '.' || site)
    )) AS name_list,
    sha256(concat('{seed}-', row)) AS fingerprint
FROM issued
"""

_ROWS = {
    "certificates": """
SELECT fingerprint, 'CN=CA ' || issuer || ',O=Issuer ' || issuer // 2 AS issuer_dn, name_list AS names,
    sha256(array_to_string(name_list, chr(10)))[:32] AS name_set_id, [domain] AS registered_domains,
    false AS wildcard, not_before, not_after, 90.0 AS validity_days, false AS is_precertificate,
    'benchmark' AS source, not_before AS known_at, fingerprint[:16] AS serial,
    'Issuer ' || issuer // 2 AS issuer_org, 'CA ' || issuer AS issuer_cn, 'DV' AS policy,
    name_list[1] AS subject_cn, CASE WHEN elliptic THEN 'ecdsa' ELSE 'rsa' END AS key_algorithm,
    CASE WHEN elliptic THEN 256 ELSE 2048 END AS key_bits,
    sha256(concat('key', lineage, '-', CASE WHEN slow < 0.4 THEN 0 ELSE number END)) AS spki_hash,
    not_before AS details_known_at
FROM made""",
    "observations": """
SELECT not_before + to_seconds(3600 + (u(row, 'install') ** 6 * 40 * 86400)::BIGINT)
        + to_days(15 * look::INT) AS observed_at,
    'h' || lineage || '-' || place AS host, 443 AS port, site AS server_name,
    'benchmark' AS source, observed_at AS known_at, 'valid' AS chain_status,
    CASE WHEN look = 3 AND dark THEN 'timeout' END AS error,
    CASE WHEN error IS NULL THEN fingerprint END AS fingerprint
FROM made, range(4) looks(look), range(2) places(place) WHERE scanned AND (place = 0 OR slow < 0.6)""",
    "events": """
SELECT not_before AS "at", site AS lineage, 'issued' AS kind, 'client' AS actor, 'benchmark' AS source,
    not_before AS known_at, site AS host, NULL AS code, fingerprint
FROM made WHERE logged
UNION ALL
SELECT not_before + to_days(57 + attempt::INT) AS tried, site, 'challenge_failed', 'client', 'benchmark',
    tried, site, CASE WHEN u(row, 'code') < 0.5 THEN 'dns' ELSE 'connection' END, NULL
FROM made, range(3) attempts(attempt) WHERE logged AND u(row, 'fails') < 0.1""",
    "hosts": """
SELECT site AS host, TIMESTAMPTZ '2023-06-01' AS valid_from, TIMESTAMPTZ '2023-06-01' AS known_at,
    'team ' || floor(zone_u * 500)::INT AS owner, round(u(lineage, 'critical'), 2) AS criticality,
    CASE WHEN slow < 0.5 THEN 'production' ELSE 'test' END AS environment,
    CASE WHEN logged THEN 'timer' ELSE 'ticket' END AS automation
FROM lineages WHERE listed""",
}


def make_store(path: Path, certificates: int, seed: int = 7) -> History:
    """Make a store with about so many certificates.

    Parameters
    ----------
    path : path
        A new DuckDB file.
    certificates : int
        The number of certificates, give or take 6 in a hundred.
    """
    history = History(path)
    connection = history._connection  # the store's own way in, row by row, would take an hour
    lineages = round(certificates / _RENEWALS / 0.945)
    named = {"renewals": _RENEWALS, "lineages": lineages, "zones": max(lineages // 3, 1), "seed": seed}
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(
        "CREATE TEMP MACRO u(place, label) AS"
        f" (hash(concat({seed}, '-', place, '-', label)) >> 11)::DOUBLE / 9007199254740992"
    )
    for statement in (_LINEAGES, _ISSUED, _CERTIFICATES):
        connection.execute(statement.format(**named))
    for name, rows in _ROWS.items():
        _fill(connection, name, rows)
    for name in ("made", "issued", "lineages"):
        connection.execute(f"DROP TABLE {name}")
    connection.execute("CHECKPOINT")
    return history


def _fill(connection: "duckdb.DuckDBPyConnection", name: str, rows: str) -> None:
    connection.execute(
        f"INSERT INTO {name} BY NAME SELECT *, {FACT[name]} AS fact FROM"
        f" (SELECT * FROM (SELECT {_nulls(name)} WHERE false) UNION ALL BY NAME ({rows}))"
    )


def _nulls(name: str) -> str:
    return ", ".join(f'NULL AS "{column}"' for column in TABLES[name].columns)
