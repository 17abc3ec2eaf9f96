"""Frames of every kind, and what may be wrong with them."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from certforecast.errors import InputError, SchemaError
from certforecast.history import History
from certforecast.history.sources.frame import FrameSource
from tests.history.sources.reading import read

naive = partial(datetime, tzinfo=None)

ROWS: dict[str, list[Any]] = {
    "names": [["WWW.Example.org", "example.org"], ["b.example"]],
    "issuer_dn": ["CN=CA,O=Test", "CN=CA,O=Test"],
    "serial": ["ab", None],
    "not_before": [naive(2026, 1, 1), naive(2026, 2, 1)],
    "not_after": [naive(2026, 4, 1), naive(2026, 5, 2)],
    "known_at": [naive(2026, 1, 1, 6), naive(2026, 2, 1, 6)],
}

KINDS: dict[str, Callable[[dict[str, list[Any]]], Any]] = {
    "pandas": pd.DataFrame,
    "pandas of old": lambda rows: pd.DataFrame(rows).astype(
        {"issuer_dn": object, "not_after": "datetime64[ns]"}
    ),
    "pandas with an index": lambda rows: pd.DataFrame(rows, index=[5, 7]),
    "polars": pl.DataFrame,
    "arrow": pa.table,
    "duckdb": lambda rows: duckdb.connect().from_arrow(pa.table(rows)),
    "zones": lambda rows: pd.DataFrame(rows).assign(
        known_at=lambda frame: frame["known_at"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
    ),
    "texts": lambda rows: pd.DataFrame(rows).assign(
        not_after=["2026-04-01T00:00:00Z", "2026-05-02T02:00:00+02:00"],
        not_before=["2026-01-01", "2026-02-01"],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_frame_gives_the_same_rows(kind: str) -> None:
    with History(None) as history:
        done = history.ingest(FrameSource(KINDS[kind](ROWS), table="certificates", called="monitor"))
        assert (done.new, done.quarantined) == (2, 0)
        frame = history.tables().certificates.order_by("not_before").to_pandas()
    first = frame.iloc[0]
    assert list(first["names"]) == ["example.org", "www.example.org"]
    assert list(first["registered_domains"]) == ["example.org"]
    assert first["not_before"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert first["known_at"] == datetime(2026, 1, 1, 6, tzinfo=UTC)
    assert (first["validity_days"], first["source"], first["serial"]) == (90.0, "monitor", "ab")
    assert frame["not_after"].tolist()[1] == datetime(2026, 5, 2, tzinfo=UTC)
    assert frame["fingerprint"].str.match("~[0-9a-f]{63}").all()


def test_what_a_frame_says_is_kept() -> None:
    rows = pd.DataFrame(ROWS).assign(fingerprint=["a" * 64, "b" * 64], source="mine", wildcard=True)
    found = read(FrameSource(rows, table="certificates"))
    assert [(row["fingerprint"], row["source"], row["wildcard"]) for row in found.certificates] == [
        ("a" * 64, "mine", True),
        ("b" * 64, "mine", True),
    ]


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("observations", {"observed_at": ["2026-01-01"], "host": ["a"], "port": [443], "server_name": ["a"],
                          "error": ["timeout"], "known_at": ["2026-01-01"]}),
        ("events", {"at": ["2026-01-01"], "lineage": ["a"], "kind": ["issued"], "actor": ["me"],
                    "known_at": ["2026-01-01"]}),
        ("hosts", {"host": ["a"], "criticality": [1], "valid_from": ["2026-01-01"],
                   "known_at": ["2026-01-01"]}),
    ],
)  # fmt: skip
def test_every_table_takes_a_frame(table: str, rows: dict[str, list[Any]]) -> None:
    with History(None) as history:
        assert history.ingest(FrameSource(pl.DataFrame(rows), table=table)).tables[table].new == 1


def test_a_bad_row_is_set_aside_and_the_others_are_kept() -> None:
    rows = {**ROWS, "names": [["no name at all"], ["b.example"]]}
    found = read(FrameSource(pa.table(rows), table="certificates"))
    assert [(one.position, one.reason) for one in found.rejected] == [
        ("row 1", "'no name at all' is neither a DNS name nor an IP address")
    ]
    assert len(found.certificates) == 1
    empty = {**ROWS, "names": [[], None], "not_after": [None, naive(2026, 5, 2)]}
    found = read(FrameSource(pa.table(empty), table="certificates"))
    assert [one.reason for one in found.rejected] == ["names is empty"] * 2


@pytest.mark.parametrize(
    ("frame", "table", "error", "said"),
    [
        (pd.DataFrame(ROWS), "nothing", InputError, "table 'nothing' is none of certificates, "),
        (42, "events", InputError, "int is no frame that Arrow reads"),
        (pd.DataFrame(ROWS).assign(colour="red"), "certificates", SchemaError, "do not have: colour; rename"),
        (
            pd.DataFrame(ROWS).drop(columns="known_at"),
            "certificates",
            SchemaError,
            "no column known_at, which",
        ),
        (pd.DataFrame(ROWS).assign(not_after="soon"), "certificates", SchemaError, "column not_after of the"),
        (pd.DataFrame(ROWS).assign(key_bits="many"), "certificates", SchemaError, "column key_bits of the"),
    ],
)
def test_what_is_wrong_with_a_frame_is_said(
    frame: Any, table: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        read(FrameSource(frame, table=table))
