"""The features of one certificate, and the rows behind them."""

from collections.abc import Iterator

import pytest

from certforecast.errors import InputError
from certforecast.features import FEATURES, features
from certforecast.features.catalogue import READS
from certforecast.features.explanation import Explanation, explain
from certforecast.history import History
from tests.timeline import Timeline, day, digest


@pytest.fixture(scope="module")
def history() -> Iterator[History]:
    timeline = Timeline()
    for label, start in (("a1", 0), ("a2", 60), ("a3", 120)):
        timeline.certificate(label, "a.one.example", start)
        timeline.looks(start + 1, start + 61, digest(label), step=10)
    timeline.certificate("b1", "b.one.example", 100)
    timeline.certificate("c1", "c.two.example", 10)
    timeline.certificate("c2", "c.two.example", 80)
    timeline.certificate("future", "a.one.example", 185)
    timeline.event(170, "a.one.example", "order_failed", code="dns")
    timeline.event(30, "a.one.example", "order_failed", code="old")
    timeline.event(120, "a.one.example", "installed")
    timeline.batch.hosts += [
        {"host": "h1", "owner": "ops", "valid_from": day(0), "known_at": day(0)},
        {"host": "h9", "owner": "web", "valid_from": day(0), "known_at": day(0)},
    ]
    with timeline.history() as filled:
        yield filled


@pytest.fixture(scope="module")
def found(history: History) -> Explanation:
    return explain(history, digest("a3")[:10], day(180))


def test_the_values_are_those_of_the_frame(history: History, found: Explanation) -> None:
    frame = features(history, day(180)).set_index("fingerprint").loc[digest("a3")]
    assert found.features["feature"].tolist() == list(FEATURES)
    for row in found.features.itertuples():
        expected = frame[row.feature]
        assert row.value == expected or (row.value is None and expected != expected), row.feature


def test_every_feature_has_its_origin(found: Explanation) -> None:
    assert list(found.origins) == list(READS)
    assert set(found.features["reads"]) <= set(READS)


@pytest.mark.parametrize(
    ("reads", "labels"),
    [
        ("certificate", ["a3"]),
        ("lineage", ["a2", "a1"]),
        ("successor", []),
        ("issuer", ["a2", "a1", "c1"]),
        ("domain", ["b1", "a2", "a1"]),
        ("owner", ["a2", "a1"]),
        ("live", ["b1"]),
    ],
)
def test_the_rows_are_the_certificates_that_count(found: Explanation, reads: str, labels: list[str]) -> None:
    origin = found.origins[reads]
    assert set(origin.rows["fingerprint"]) == {digest(label) for label in labels}
    assert origin.count == len(labels)


def test_looks_events_and_inventory_are_rows_of_the_tables(found: Explanation) -> None:
    looks = found.origins["looks"]
    assert looks.count == 18  # all on its endpoint, whichever certificate they saw
    assert looks.rows["observed_at"].iloc[0] == day(171)
    assert looks.rows["observed_at"].is_monotonic_decreasing
    assert found.origins["attempts"].rows[["kind", "code", "at"]].to_numpy().tolist() == [
        ["order_failed", "dns", day(170)],
    ]
    assert found.origins["successes"].rows["kind"].tolist() == ["installed"]
    assert found.origins["inventory"].rows["host"].tolist() == ["h1"]
    assert found.origins["calendar"].rows["expires"].tolist() == [day(210)]


def test_rows_can_be_limited(history: History) -> None:
    origin = explain(history, digest("a3"), day(180), limit=1).origins["lineage"]
    assert (len(origin.rows), origin.count) == (1, 2)
    assert origin.rows["fingerprint"].tolist() == [digest("a2")]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("a.one.example", "is no fingerprint"),
        ("abc", "is no fingerprint"),
        ("0" * 64, "is known as of 2025-06-30"),
        (digest("future"), "is known as of 2025-06-30"),
        (digest("a1"), "its own is on time"),
    ],
)
def test_what_has_no_features_is_said(history: History, asked: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        explain(history, asked, day(180))
