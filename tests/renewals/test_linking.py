"""Which evidence links which certificates: a site for each rule in one history, and simulated fleets."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from certforecast.renewals import renewals
from certforecast.simulation import Fleet
from tests.timeline import Timeline, day, digest

AS_OF = 125.0


@pytest.fixture(scope="module")
def judged() -> pd.DataFrame:
    """Play every rule in a domain of its own, and judge all at once."""
    timeline = Timeline()
    add = timeline.certificate
    # Growth, then back again.
    add("grow1", ["grow.example", "a.grow.example"], 0)
    add("grow2", ["grow.example", "a.grow.example", "b.grow.example"], 60)
    add("grow3", ["grow.example", "a.grow.example"], 120)
    # Names given up, more than half of them kept; and fewer.
    add("shrink1", ["a.shrink.example", "b.shrink.example", "c.shrink.example"], 0)
    add("shrink2", ["a.shrink.example", "b.shrink.example"], 60)
    add("drop1", [f"{name}.drop.example" for name in "abcdef"], 0)
    add("drop2", ["a.drop.example"], 60)
    # One becomes two; the one with the common name goes on.
    add("split1", [f"{name}.split.example" for name in "abcdef"], 0, subject_cn="e.split.example")
    add("split2", [f"{name}.split.example" for name in "abcd"], 60)
    add("split3", [f"{name}.split.example" for name in "ef"], 60.1)
    # Two become one, in time for both: it goes on with the one that it resembles.
    add("merge1", ["a.merge.example", "b.merge.example", "c.merge.example"], 0)
    add("merge2", ["d.merge.example"], 5)
    add("merge3", [f"{name}.merge.example" for name in "abcd"], 60)
    # A wildcard takes over.
    add("wild1", ["www.wild.example"], 0)
    add("wild2", ["*.wild.example"], 60, wildcard=True)
    add("deep1", ["a.b.deep.example"], 0)
    add("deep2", ["*.deep.example"], 60, wildcard=True)
    # RSA and ECDSA side by side, issued within minutes, also when the names change.
    for kind, later in (("rsa", 0.0), ("ecdsa", 0.01)):
        add(f"twin1-{kind}", ["twin.example"], later, key_algorithm=kind)
        add(f"twin2-{kind}", ["twin.example"], 60 + later, key_algorithm=kind)
        add(f"twin3-{kind}", ["twin.example", "www.twin.example"], 120 + later, key_algorithm=kind)
    # The kind of key changes.
    add("switch1", ["switch.example"], 0, key_algorithm="rsa")
    add("switch2", ["switch.example"], 60, key_algorithm="ecdsa")
    # Tenants shuffle.
    add("tenants1", [f"t{n}.cdn.example" for n in (1, 2, 3, 4, 5, 6)], 0)
    add("tenants2", [f"t{n}.cdn.example" for n in (1, 2, 3, 4, 7, 8)], 60)
    # The issuer changes.
    add("issuer1", ["moved.example"], 0, issuer_org="One")
    add("issuer2", ["moved.example"], 60, issuer_org="Two")
    # The same key, and little else in common.
    add("key1", [f"{name}.key.example" for name in "abcde"], 0, spki_hash=digest("key"))
    add("key2", ["a.key.example", "x.key.example", "y.key.example"], 60, spki_hash=digest("key"))
    add("other1", [f"{name}.other.example" for name in "abcde"], 0, spki_hash=digest("other"))
    add("other2", ["a.other.example", "x.other.example", "y.other.example"], 60, spki_hash=digest("another"))
    # What a client says of its lineages, though no name is left.
    for label, name, issued in (("told1", "old.told.example", 0), ("told2", "new.told.example", 60)):
        fingerprint = add(label, [name], issued)
        timeline.event(issued, "shop", "issued", fingerprint=fingerprint)
    # Another client's lineage of the same name is another lineage.
    stranger = add("stranger", ["stranger.example"], 30)
    timeline.event(30, "shop", "issued", fingerprint=stranger, source="another")
    with timeline.history() as history:
        rows = renewals(history, day(AS_OF)).set_index("fingerprint")
    labels = timeline.labels
    rows.index = rows.index.map(labels)
    return rows.assign(
        successor=rows["successor"].map(labels),
        lineage=rows["lineage"].map(labels),
        why=rows["why"].fillna(""),
    )


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("grow1", "grow2", "superset+overlap"),
        ("grow2", "grow3", "overlap"),
        ("shrink1", "shrink2", "overlap"),
        ("split1", "split3", "split"),
        ("merge1", "merge3", "superset+overlap"),
        ("merge2", "merge3", "superset"),
        ("wild1", "wild2", "superset"),
        ("twin1-rsa", "twin2-rsa", "exact"),
        ("twin1-ecdsa", "twin2-ecdsa", "exact"),
        ("twin2-rsa", "twin3-rsa", "superset+overlap"),
        ("twin2-ecdsa", "twin3-ecdsa", "superset+overlap"),
        ("switch1", "switch2", "exact"),
        ("tenants1", "tenants2", "overlap"),
        ("issuer1", "issuer2", "exact"),
        ("key1", "key2", "key"),
        ("told1", "told2", "replaces"),
    ],
)
def test_each_kind_of_evidence_links(judged: pd.DataFrame, old: str, new: str, why: str) -> None:
    assert (judged.loc[old, "successor"], judged.loc[old, "why"]) == (new, why)


@pytest.mark.parametrize("old", ["drop1", "deep1", "other1", "stranger", "split2", "twin3-rsa"])
def test_without_evidence_nothing_links(judged: pd.DataFrame, old: str) -> None:
    assert pd.isna(judged.loc[old, "successor"])


def test_lineages_go_on_through_changes_of_names(judged: pd.DataFrame) -> None:
    for first, members in {
        "grow1": ["grow2", "grow3"],
        "split1": ["split3"],
        "merge1": ["merge3"],
        "wild1": ["wild2"],
        "twin1-rsa": ["twin2-rsa", "twin3-rsa"],
        "twin1-ecdsa": ["twin2-ecdsa", "twin3-ecdsa"],
        "told1": ["told2"],
    }.items():
        assert set(judged.loc[members, "lineage"]) == {first}


def test_lineages_that_merge_or_split_stay_apart(judged: pd.DataFrame) -> None:
    for alone in ("merge2", "split2", "stranger", "drop2"):
        assert judged.loc[alone, "lineage"] == alone


def test_most_of_the_truth_comes_back_with_half_of_the_evidence() -> None:
    linking = _benchmark()
    for half in (False, True):
        precision, recall = linking.pairwise(*linking.lineages(Fleet(seed=7, lineages=120), half=half))
        assert precision >= 0.99
        assert recall >= 0.97


def _benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "linking.py"
    spec = importlib.util.spec_from_file_location("linking", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
