"""A Spark session of its own for tests, as an ibis connection."""

import sys
from collections.abc import Iterator

import pytest
from ibis.backends.pyspark import Backend


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """Give an ibis connection to a local Spark with two cores, on loopback only."""
    import ibis
    from pyspark.sql import SparkSession

    place = tmp_path_factory.mktemp("spark")
    patch = pytest.MonkeyPatch()
    patch.setenv("PYSPARK_PYTHON", sys.executable)  # else the workers are whatever python3 there is
    session = (
        SparkSession.builder.master("local[2]")
        .appName("certforecast tests")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.memory", "2g")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.warehouse.dir", str(place / "warehouse"))
        .config("spark.driver.extraJavaOptions", f"-Dderby.system.home={place}")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield ibis.pyspark.connect(session)
    session.stop()
    patch.undo()
