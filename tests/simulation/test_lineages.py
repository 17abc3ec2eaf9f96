"""The true lineages, and what happens to names that no outcome shows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from certforecast.simulation import Fleet, Rates

END = datetime(2026, 10, 1, tzinfo=UTC)
NONE = replace(Rates(), parallel_share=0.0, multi_tenant_share=0.0, wildcard_share=0.0, merge_share=0.0)


def play(years: float = 3.0, end: datetime = END, **rates: float) -> Fleet:
    return Fleet(seed=3, lineages=120, years=years, end=end, rates=replace(NONE, **rates))


def joined(fleet: Fleet) -> pd.DataFrame:
    """Give the certificates with their lineages, and the names of the one before."""
    certificates = fleet.tables()["certificates"].to_pandas()
    rows = certificates.merge(fleet.lineages(), on="fingerprint", validate="one_to_one")
    assert len(rows) == len(certificates)
    rows["names"] = rows["names"].map(frozenset)
    rows = rows.sort_values(["lineage", "number"], ignore_index=True)
    rows["before"] = rows.groupby("lineage")["names"].shift()
    return rows


@pytest.fixture(scope="module")
def plain() -> pd.DataFrame:
    return joined(play())


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """A default fleet: it holds some of everything."""
    return Fleet(seed=7)


@pytest.fixture(scope="module")
def rows(fleet: Fleet) -> pd.DataFrame:
    return joined(fleet)


def test_every_certificate_has_one_true_lineage(fleet: Fleet, rows: pd.DataFrame) -> None:
    lineages = fleet.lineages()
    assert lineages["fingerprint"].is_unique
    assert set(lineages["fingerprint"]) == set(rows["fingerprint"])
    assert not lineages.duplicated(["lineage", "number"]).any()
    assert lineages[["fingerprint", "lineage", "number"]].notna().all(axis=None)
    assert (rows.groupby("lineage")["not_before"].diff().dropna() > pd.Timedelta(0)).all()
    assert rows["serial"].is_unique


def test_a_split_lineage_begins_with_names_its_parent_had(plain: pd.DataFrame) -> None:
    by_parent = plain.groupby("lineage")["names"].agg(lambda sets: frozenset().union(*sets))
    born = plain[plain["parent"].notna() & (plain["number"] == 0)]
    assert len(born) > 2
    for names, parent, lineage in zip(born["names"], born["parent"], born["lineage"], strict=True):
        assert names <= by_parent[parent]
        assert parent != lineage


def test_what_only_names_show_changes_nothing_else() -> None:
    plain, varied = play(), play(parallel_share=0.5, multi_tenant_share=0.5, wildcard_share=0.5)
    pd.testing.assert_frame_equal(plain.outcomes(), varied.outcomes())
    as_of = END - timedelta(days=200)
    pd.testing.assert_frame_equal(plain.truth(as_of, 10), varied.truth(as_of, 10))
    before, after = plain.tables(), varied.tables()
    for name in ("observations", "hosts"):
        assert before[name].equals(after[name])
    events = after["events"].to_pandas()
    own = events[~events["lineage"].str.endswith(("-rsa", "-ecdsa"))].reset_index(drop=True)
    assert len(own) < len(events)
    pd.testing.assert_frame_equal(before["events"].to_pandas(), own)


def test_the_default_fleet_holds_some_of_everything(fleet: Fleet) -> None:
    population = fleet.population
    assert 5 < population.parallel.sum() < 30
    assert 3 < population.multi_tenant.sum() < 20
    assert 3 < (population.wildcard_at >= 0).sum() < 20


def test_twins_differ_in_their_keys_only() -> None:
    fleet = play(parallel_share=0.3)
    rows, size = joined(fleet), len(fleet.population)
    twins = rows[rows["lineage"] >= size].assign(lineage=lambda rows: rows["lineage"] - size)
    both = twins.merge(rows, on=["lineage", "number"], suffixes=("", "_first"), validate="one_to_one")
    assert len(both) >= len(twins) - 2 > 100  # the newest may be known before its sibling
    same = ["names", "name_set_id", "subject_cn", "issuer_dn", "signature_algorithm", "policy", "eku"]
    for column in same:
        assert (both[column].map(str) == both[f"{column}_first"].map(str)).all()
    apart = both["not_before"] - both["not_before_first"]
    assert apart.between(pd.Timedelta(minutes=1), pd.Timedelta(minutes=10)).all()
    assert (both["not_after"] - both["not_after_first"] == apart).all()
    for algorithms in both[["key_algorithm", "key_algorithm_first"]].itertuples(index=False):
        assert set(algorithms) == {"RSA", "EC"}
    assert ((both["key_bits"] == 256) == (both["key_algorithm"] == "EC")).all()
    assert not set(both["spki_hash"]) & set(both["spki_hash_first"])


def test_of_twins_one_is_served_and_counted() -> None:
    fleet = play(parallel_share=0.3)
    lineages, tables = fleet.lineages(), fleet.tables()
    twins = set(lineages.loc[lineages["lineage"] >= len(fleet.population), "fingerprint"])
    observations, events = tables["observations"].to_pandas(), tables["events"].to_pandas()
    assert not twins & set(observations["fingerprint"])
    assert not twins & set(fleet.outcomes()["fingerprint"])
    assert not twins & set(fleet.truth(END - timedelta(days=200), 2)["fingerprint"])
    assert twins & set(events["fingerprint"])


def test_twins_split_together() -> None:
    fleet = play(parallel_share=1.0)
    rows, size = fleet.lineages(), len(fleet.population)
    parent = rows.dropna(subset="parent").drop_duplicates("lineage").set_index("lineage")["parent"]
    twins = parent[parent.index >= size]
    assert len(twins) > 2
    assert (twins.to_numpy() - size == parent[twins.index - size].to_numpy()).all()


def test_tenants_come_and_go() -> None:
    fleet = play(multi_tenant_share=0.3, name_growth=0.0, name_shrinkage=0.0, dead_name=0.0)
    rows = joined(fleet)
    shared = np.flatnonzero(fleet.population.multi_tenant)
    held = rows[rows["lineage"].isin(shared) & rows["before"].notna()]
    assert len(held) > 100
    for cn, names, before in zip(held["subject_cn"], held["names"], held["before"], strict=True):
        assert cn in names & before
        assert len(names) == len(before) > 5
        assert 1 <= len(names - before) <= 2
    newest = held.sort_values("number").groupby("lineage")["names"].last()
    tenants = [name for names in newest for name in names if name.startswith("t") and name[1].isdigit()]
    assert len(tenants) == len(set(tenants))
    homes = (
        held.assign(names=held["names"].map(sorted)).explode("names").groupby("names")["lineage"].nunique()
    )
    assert (homes > 1).any()  # who left one certificate may join another


def test_a_wildcard_takes_over() -> None:
    fleet = play(wildcard_share=1.0, name_growth=0.0, name_shrinkage=0.0)
    rows = joined(fleet)
    at = fleet.population.wildcard_at[np.minimum(rows["lineage"], len(fleet.population) - 1)]
    taken = rows[(rows["number"] == at) & rows["before"].notna()]
    assert len(taken) > 20
    for cn, names, before in zip(taken["subject_cn"], taken["names"], taken["before"], strict=True):
        assert names == {cn, f"*.{cn}"}
        assert cn in before


def test_names_of_some_retired_services_move_into_another_certificate(plain: pd.DataFrame) -> None:
    fleet = play(merge_share=1.0)
    rows = joined(fleet)
    alone = plain.set_index("fingerprint")["names"]
    retired = set(fleet.journal.frame("retired")["lineage"])
    owner = {
        name: lineage
        for lineage, names in zip(plain["lineage"], plain["names"], strict=True)
        for name in names
    }
    moved = 0
    for fingerprint, lineage, names in zip(rows["fingerprint"], rows["lineage"], rows["names"], strict=True):
        more = names - alone[fingerprint]
        moved += bool(more)
        assert {owner[name] for name in more} <= retired | {lineage}
    assert moved > 5


@pytest.mark.parametrize("years", [1.0, 2.0])
def test_a_longer_run_has_the_lineages_of_a_shorter_one(years: float) -> None:
    rates = {"parallel_share": 0.3, "multi_tenant_share": 0.3, "wildcard_share": 0.3, "merge_share": 1.0}
    longer = play(**rates)
    cut = longer.start + timedelta(days=round(years * 365.25))
    shorter = play(years, cut, **rates)
    assert shorter.start == longer.start
    known = longer.tables()["certificates"].to_pandas()
    known = known[known["known_at"] <= cut].reset_index(drop=True)
    pd.testing.assert_frame_equal(known, shorter.tables()["certificates"].to_pandas())
    both = shorter.lineages().merge(longer.lineages(), on="fingerprint", suffixes=("", "_longer"))
    assert len(both) == len(known)
    assert (both["lineage"] == both["lineage_longer"]).all()
