"""History read where it lies gives what the store gives: Parquet, Delta, Iceberg, DuckDB and Spark."""

from collections.abc import Iterator
from pathlib import Path

import deltalake
import ibis
import pandas as pd
import pyarrow as pa
import pytest
from ibis.backends.pyspark import Backend
from pyarrow import parquet
from pyiceberg.catalog.sql import SqlCatalog

from certforecast.errors import StoreError
from certforecast.features import features
from certforecast.history import History
from certforecast.history.schema import TABLES
from certforecast.history.sources import Batch
from certforecast.renewals import renewals
from certforecast.simulation import Fleet

FLEET = Fleet(seed=7, lineages=12)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export a store's tables as Parquet."""
    folder = tmp_path_factory.mktemp("exported")
    with History(None) as history:
        history.append(Batch(**{name: table.to_pylist() for name, table in FLEET.tables().items()}))
        history.export(folder)
    return folder


@pytest.fixture(scope="module")
def expected() -> pd.DataFrame:
    """Compute the features from the store."""
    with History(None) as history:
        history.append(Batch(**{name: table.to_pylist() for name, table in FLEET.tables().items()}))
        return features(history, FLEET.end)


def tables_of(folder: Path) -> Iterator[tuple[str, pa.Table]]:
    for name in TABLES:
        yield name, parquet.read_table(folder / f"{name}.parquet")


def test_a_folder_of_parquet_files(exported: Path, expected: pd.DataFrame) -> None:
    with History.open(exported) as lake:
        pd.testing.assert_frame_equal(features(lake, FLEET.end), expected)
        counts = lake.counts()
        assert counts["certificates"] == len(FLEET.tables()["certificates"])
        assert lake.last_known_at() is not None
        with pytest.raises(StoreError, match=r"is only read: import into a store of its own"):
            lake.append(Batch())


def test_partitioned_parquet_delta_and_iceberg_side_by_side(
    exported: Path, expected: pd.DataFrame, tmp_path: Path
) -> None:
    catalog = SqlCatalog("test", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/ice")
    catalog.create_namespace("pki")
    for name, table in tables_of(exported):
        match name:
            case "certificates":
                year = table["not_before"].cast("date32").cast("string")
                years = pa.array([text.as_py()[:4] for text in year])
                parquet.write_to_dataset(table.append_column("year", years), tmp_path / name, ["year"])
            case "observations":
                half = table.num_rows // 2
                deltalake.write_deltalake(str(tmp_path / name), table.slice(0, half))
                deltalake.write_deltalake(str(tmp_path / name), table.slice(half), mode="append")
            case _:
                made = catalog.create_table(
                    f"pki.{name}", schema=table.schema, location=f"file://{tmp_path}/{name}"
                )
                made.append(table)
    with History.open(tmp_path) as lake:
        pd.testing.assert_frame_equal(features(lake, FLEET.end), expected)


def test_rows_deleted_from_an_iceberg_table_are_gone(exported: Path, tmp_path: Path) -> None:
    catalog = SqlCatalog("test", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/ice")
    catalog.create_namespace("pki")
    table = parquet.read_table(exported / "certificates.parquet")
    made = catalog.create_table(
        "pki.certificates", schema=table.schema, location=f"file://{tmp_path}/certificates"
    )
    made.append(table)
    gone = table["fingerprint"][0].as_py()
    made.delete(f"fingerprint == '{gone}'")
    with History.open(tmp_path) as lake:
        assert lake.counts()["certificates"] == table.num_rows - 1


def test_a_connection_with_names_of_its_own(exported: Path, expected: pd.DataFrame) -> None:
    backend = ibis.duckdb.connect()
    backend.raw_sql("CREATE SCHEMA pki")
    for name in TABLES:
        # Times without a zone, as many a warehouse keeps them, are UTC.
        column = {"certificates": "not_before", "observations": "observed_at", "events": '"at"'}.get(
            name, "known_at"
        )
        backend.raw_sql(
            f"CREATE TABLE pki.{name}_v1 AS SELECT * REPLACE (timezone('UTC', {column}) AS {column})"
            f" FROM read_parquet('{exported}/{name}.parquet')"
        )
    names = {name: f"pki.{name}_v1" for name in TABLES}
    with History.open(backend, tables=names) as lake:
        pd.testing.assert_frame_equal(features(lake, FLEET.end), expected)


def test_missing_tables_and_nullable_columns_are_empty(exported: Path, tmp_path: Path) -> None:
    table = parquet.read_table(exported / "certificates.parquet")
    parquet.write_table(table.drop(["subject_cn", "spki_hash"]), tmp_path / "certificates.parquet")
    with History.open(tmp_path) as lake:
        assert lake.counts()["observations"] == 0
        assert len(renewals(lake, FLEET.end)) == table.num_rows


def test_what_cannot_be_read_is_said(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"has no table certificates; name a place that has one"):
        History.open(tmp_path)
    table = parquet.read_table(exported / "certificates.parquet")
    parquet.write_table(table.drop(["names"]), tmp_path / "certificates.parquet")
    with pytest.raises(StoreError, match=r"certificates has no column names, which is needed"):
        History.open(tmp_path)
    (tmp_path / "certificates.parquet").write_bytes(b"no parquet")
    with pytest.raises(StoreError, match=r"folder .* cannot be read"):
        History.open(tmp_path)
    with pytest.raises(StoreError, match=r"there are only certificates"):
        History.open(ibis.duckdb.connect(), tables={"certs": "x"})


def test_spark_gives_the_same_features(exported: Path, expected: pd.DataFrame, spark: Backend) -> None:
    for name in TABLES:
        spark.read_parquet(str(exported / f"{name}.parquet"), table_name=name)
    with History.open(spark) as lake:
        found = features(lake, FLEET.end)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-9, atol=1e-12)
