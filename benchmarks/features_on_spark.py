"""The features on Spark, from Parquet, with a look at what each query brought to the driver."""

import re
import time
import warnings
from pathlib import Path
from typing import Any

__all__ = ["compute"]

SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "6g",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
}


def compute(parquet: Path, scratch: Path, result: Path) -> dict[str, Any]:
    """Compute the features on two local cores and store the frame.

    Returns
    -------
    dict
        ``seconds``; ``queries``; how many of them, before the one that fetches the result, were a single
        ``counts`` and how many brought rows to the driver (``collects``); ``settings``.
    """
    import ibis
    from histories import AS_OF
    from pyspark.sql import SparkSession

    from certforecast.features import feature_table
    from certforecast.history.schema import TABLES
    from certforecast.history.tables import Tables
    from certforecast.policy import RenewalPolicy
    from certforecast.renewals.known import Known

    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    builder = SparkSession.builder.master("local[2]").appName("features")
    places = {"spark.local.dir": str(scratch), "spark.sql.warehouse.dir": str(scratch / "warehouse")}
    for name, value in {**SETTINGS, **places}.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    try:
        backend = ibis.pyspark.connect(spark)
        tables = Tables(
            *(
                backend.read_parquet(str(parquet / f"{name}.parquet"), table_name=name).select(table.columns)
                for name, table in TABLES.items()
            )
        )
        started = time.perf_counter()
        table = feature_table(Known(tables, [AS_OF], RenewalPolicy()))
        before = _executions(spark)
        frame = table.to_pandas()
        took = time.perf_counter() - started
    finally:
        spark.stop()
    frame.to_pickle(result)
    fetched = [
        plan for said, plan in before if not said.startswith(("localCheckpoint", "createOrReplace", "sql"))
    ]
    counts = [plan for plan in fetched if _one_number(plan)]
    return {
        "seconds": took,
        "queries": len(before) + 1,
        "counts": len(counts),
        "collects": len(fetched) - len(counts) + sum("Collect" in plan for _, plan in before),
        "settings": {"from": "Parquet", "partitions": 2, "memory": "6g"},
    }


def _executions(spark: Any) -> list[tuple[str, str]]:
    """List the queries that Spark has run: what was called, and the physical plan."""
    executions = spark._jsparkSession.sharedState().statusStore().executionsList()
    return [
        (executions.apply(number).description(), executions.apply(number).physicalPlanDescription())
        for number in range(executions.size())
    ]


def _one_number(plan: str) -> bool:
    """Tell whether the last step of a query is an aggregate over everything, which is one row."""
    last = re.search(r"ResultQueryStage.*\n +\+- \* HashAggregate \((\d+)\)", plan)
    return bool(
        last and re.search(rf"^\({last[1]}\) HashAggregate.*\n(?:Input.*\n)?Keys: \[\]", plan, re.MULTILINE)
    )
