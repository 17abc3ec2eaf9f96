"""The fleet as a whole: its bytes, its tables, its labels."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from certforecast.errors import InputError
from certforecast.history.schema import EVENT_KINDS, TABLES
from certforecast.history.validation import check
from certforecast.simulation import Fleet, Rates

END = datetime(2026, 10, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return Fleet(seed=3, lineages=120, years=3.0, end=END)


@pytest.fixture(scope="module")
def tables(fleet: Fleet) -> dict[str, pa.Table]:
    return fleet.tables()


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        Fleet(seed=5, lineages=40, years=1.0).write(tmp_path / folder)
    for name in TABLES:
        a, b = ((tmp_path / folder / f"{name}.parquet").read_bytes() for folder in ("a", "b"))
        assert a == b


def test_another_seed_gives_another_fleet() -> None:
    a, b = (Fleet(seed=seed, lineages=40, years=0.5).tables()["certificates"] for seed in (1, 2))
    assert not set(a["fingerprint"].to_pylist()) & set(b["fingerprint"].to_pylist())


@pytest.mark.parametrize("name", list(TABLES))
def test_a_longer_run_begins_like_a_shorter_one(name: str, tables: dict[str, pa.Table]) -> None:
    days = round(3.0 * 365.25) - round(2.0 * 365.25)
    shorter = Fleet(seed=3, lineages=120, years=2.0, end=END - timedelta(days=days))
    longer = tables[name]
    known = longer.filter(
        pc.less_equal(longer["known_at"], pa.scalar(shorter.end, pa.timestamp("us", "UTC")))
    )
    assert known.equals(shorter.tables()[name])


@pytest.mark.parametrize("name", list(TABLES))
def test_rows_fit_the_schema(name: str, tables: dict[str, pa.Table], fleet: Fleet) -> None:
    table = tables[name]
    assert table.num_rows > 0
    assert table.schema.equals(TABLES[name].schema)
    _, rejected = check(TABLES[name], table)
    assert rejected == []
    assert not table.select(list(TABLES[name].key)).to_pandas().duplicated().any()
    assert pc.max(table["known_at"]).as_py() <= fleet.end
    if "source" in table.column_names:
        assert set(table["source"].to_pylist()) == {"simulation"}


def test_nothing_is_known_before_it_happens(tables: dict[str, pa.Table]) -> None:
    for name, moment in (("certificates", "not_before"), ("observations", "observed_at"), ("events", "at")):
        assert pc.all(pc.greater(tables[name]["known_at"], tables[name][moment])).as_py()
    assert pc.all(pc.greater_equal(tables["hosts"]["known_at"], tables["hosts"]["valid_from"])).as_py()


def test_rows_refer_to_each_other(tables: dict[str, pa.Table]) -> None:
    certificates = tables["certificates"].to_pandas()
    observations, events = tables["observations"].to_pandas(), tables["events"].to_pandas()
    seen = observations.dropna(subset="fingerprint")
    # A row on its way may be late: the certificate itself is known within days of its first look.
    unknown = ~seen["fingerprint"].isin(certificates["fingerprint"])
    assert (seen.loc[unknown, "observed_at"] > END - timedelta(days=6)).all()
    own = events["lineage"].str.replace(r"-(rsa|ecdsa)$", "", regex=True)
    assert set(own) <= {name for names in certificates["names"] for name in names}
    issued = events[events["kind"] == "issued"]
    assert issued["fingerprint"].is_unique
    unknown = ~issued["fingerprint"].isin(certificates["fingerprint"])
    assert (issued.loc[unknown, "at"] > END - timedelta(days=6)).all()
    named = issued.merge(certificates, on="fingerprint")
    assert (named["not_before"] < named["at"]).all()
    assert (named["at"] <= named["not_before"] + timedelta(hours=2)).all()
    assert named["lineage"].str.startswith(tuple(certificates["subject_cn"].unique())).all()
    assert events.loc[events["kind"] != "issued", "fingerprint"].isna().all()
    assert set(events["kind"]) <= EVENT_KINDS
    looks = seen.merge(certificates, on="fingerprint")
    assert (looks["observed_at"] >= looks["not_before"]).all()
    expired = looks["observed_at"] > looks["not_after"]
    assert expired.any()
    assert ((looks["chain_status"] == "expired") == expired).all()


def test_names_are_under_reserved_domains(tables: dict[str, pa.Table]) -> None:
    certificates = tables["certificates"].to_pandas()
    assert certificates["names"].map(lambda names: all(name.endswith(".example") for name in names)).all()
    assert certificates["names"].map(lambda names: sorted(set(names)) == list(names)).all()
    assert all(host.endswith((".test", ".example")) for host in tables["hosts"]["host"].to_pylist())


def test_some_lineages_are_never_scanned(tables: dict[str, pa.Table], fleet: Fleet) -> None:
    certificates, observations = tables["certificates"].to_pandas(), tables["observations"].to_pandas()
    scanned = certificates["fingerprint"].isin(observations["fingerprint"])
    by_name = scanned.groupby(certificates["subject_cn"]).any()
    assert 0.05 < 1 - by_name.mean() < 0.3


def test_every_outcome_fits_its_definition(fleet: Fleet, tables: dict[str, pa.Table]) -> None:
    outcomes = fleet.outcomes().merge(tables["certificates"].to_pandas(), on="fingerprint")
    assert outcomes["fingerprint"].is_unique
    lifetime = outcomes["not_after"] - outcomes["not_before"]
    slip_point = outcomes["not_after"] - np.minimum(lifetime * 0.1, pd.Timedelta(days=30))
    second = pd.Timedelta(seconds=2)
    at = outcomes["resolved_at"]
    on_time, slipped, failed = (outcomes["outcome"] == name for name in ("on_time", "slipped", "failed"))
    assert (at[on_time] <= slip_point[on_time] + second).all()
    assert (at[slipped] >= slip_point[slipped] - second).all()
    assert (at[slipped] <= outcomes["not_after"][slipped] + second).all()
    assert ((at[failed] - outcomes["not_after"][failed]).abs() <= second).all()
    assert min(on_time.sum(), slipped.sum(), failed.sum()) > 0


def test_base_rates_are_those_the_documentation_names() -> None:
    shares = pd.concat([Fleet(seed=seed).outcomes() for seed in (7, 8, 9)])["outcome"].value_counts(
        normalize=True
    )
    assert 0.82 < shares["on_time"] < 0.92
    assert 0.03 < shares["slipped"] < 0.08
    assert 0.025 < shares["failed"] < 0.06
    assert 0.015 < shares["retired"] < 0.045


def test_the_default_fleet_is_the_sample(tmp_path: Path) -> None:
    sample = Path(__file__).parents[2] / "data" / "sample"
    for path in Fleet(seed=7).write(tmp_path):
        assert path.read_bytes() == (sample / path.name).read_bytes()
    assert sum(path.stat().st_size for path in sample.iterdir()) < 3_000_000
    failed = (Fleet(seed=7).outcomes()["outcome"] == "failed").sum()
    assert failed > 150


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"lineages": 9}, {"years": 0.0}])
def test_wrong_sizes_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="cannot simulate"):
        Fleet(**wrong)  # type: ignore[arg-type]


def test_a_wrong_rate_is_refused() -> None:
    with pytest.raises(InputError, match=r"rates\.hook_break is 1\.5"):
        replace(Rates(), hook_break=1.5)


def test_writing_over_a_file_is_refused(tmp_path: Path, fleet: Fleet) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        fleet.write(tmp_path / "file")
