"""The four tables as Parquet files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from certforecast.errors import SchemaError, SourceError
from certforecast.history import History
from certforecast.history.schema import EVENTS, TABLES
from certforecast.history.sources.tables import TablesSource
from tests.history.sources.reading import read
from tests.timeline import Timeline


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    timeline = Timeline()
    served = timeline.certificate("a", ["a.example", "b.example"], 0)
    timeline.look(1, served)
    timeline.look(2, None, error="timeout")
    timeline.event(3, "a.example", "issued")
    with History(None) as history:
        history.append(timeline.batch)
        history.export(tmp_path / "export")
    return tmp_path / "export"


def rows(history: History) -> dict[str, list[object]]:
    return {
        name: table.order_by(list(TABLES[name].key)).to_pyarrow().to_pylist()
        for name, table in zip(TABLES, history.tables(), strict=True)
    }


def test_what_the_store_exports_comes_back(folder: Path, tmp_path: Path) -> None:
    with History(None) as first, History(None) as second:
        assert first.ingest(TablesSource(folder)).new == 4
        assert first.ingest(TablesSource(folder)).changed == 0
        first.export(tmp_path / "again")
        second.ingest(TablesSource(tmp_path / "again"))
        assert rows(first) == rows(second)
        assert [len(table) for table in rows(first).values()] == [1, 2, 1, 0]


def test_both_ways_of_reading_give_the_same(folder: Path) -> None:
    batch = read(TablesSource(folder))
    arrow = {name: table.to_pylist() for name, table in TablesSource(folder).read_arrow()}
    assert arrow == {name: getattr(batch, name) for name in ("certificates", "observations", "events")}
    assert batch.positions["observations"] == ["observations.parquet#0", "observations.parquet#1"]


def test_a_large_table_comes_in_batches(folder: Path) -> None:
    path = folder / "observations.parquet"
    pq.write_table(pa.concat_tables([pq.read_table(path)] * 1250), path)
    assert [len(batch.observations) for batch in TablesSource(folder).read()][1:-1] == [1000, 1000, 500]


def test_any_of_the_files_may_be_missing(folder: Path) -> None:
    for name in ("certificates", "observations", "hosts"):
        (folder / f"{name}.parquet").unlink()
    assert len(read(TablesSource(folder)).events) == 1


def test_nullable_columns_may_be_missing_and_others_are_ignored(folder: Path) -> None:
    path = folder / "events.parquet"
    events = pq.read_table(path).drop_columns(["detail", "code"])
    pq.write_table(events.append_column("colour", pa.array(["red"])), path)
    with History(None) as history:
        history.ingest(TablesSource(folder))
        (row,) = rows(history)["events"]
        assert set(row) == set(EVENTS.columns)


def test_a_missing_column_is_named_before_any_row_is_given(folder: Path) -> None:
    path = folder / "events.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["kind"]), path)
    for start in (TablesSource(folder).read, TablesSource(folder).read_arrow):
        with pytest.raises(SchemaError, match=r"events\.parquet has no column kind"):
            next(start())


def test_a_column_of_the_wrong_type_is_named(folder: Path) -> None:
    path = folder / "events.parquet"
    events = pq.read_table(path).drop_columns(["at"])
    pq.write_table(events.append_column("at", pa.array([[1]])), path)
    with pytest.raises(SchemaError, match=r"column at of .*events\.parquet is list.* not timestamp"):
        read(TablesSource(folder))


@pytest.mark.parametrize("content", [b"", b"garbage", b"PAR1 garbage PAR1"])
def test_a_file_that_is_no_parquet_is_an_error(folder: Path, content: bytes) -> None:
    (folder / "hosts.parquet").write_bytes(content)
    with pytest.raises(SourceError, match=r"hosts\.parquet is not a whole Parquet file"):
        read(TablesSource(folder))


def test_a_damaged_page_is_an_error_of_the_source(folder: Path) -> None:
    path = folder / "events.parquet"
    data = bytearray(path.read_bytes())
    data[4:200] = bytes(196)
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"events\.parquet is damaged"):
        read(TablesSource(folder))


def test_a_folder_without_tables_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds none of certificates\.parquet"):
        read(TablesSource(tmp_path))
    with pytest.raises(SourceError, match="not a folder"):
        read(TablesSource(tmp_path / "missing"))
