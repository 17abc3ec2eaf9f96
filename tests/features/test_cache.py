"""Features of past moments, kept: the same as computed anew, and computed no more often than needed."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

import certforecast.features
from certforecast.features import training_frame
from certforecast.features.cache import FeatureCache
from certforecast.history import History
from certforecast.history.sources import Batch
from certforecast.policy import RenewalPolicy
from tests.timeline import Timeline, day

MOMENTS = [day(number) for number in (40, 80, 120, 160)]


@pytest.fixture
def history() -> Iterator[History]:
    timeline = Timeline()
    for number in range(3):
        found = timeline.certificate(f"a{number}", "a.example", 60 * number)
        timeline.looks(60 * number + 1, 60 * number + 62, found, step=7)
    timeline.certificate("b", "b.example", 5)
    timeline.event(70, "b.example", "order_failed", code="dns", known_at=day(100))
    with timeline.history() as filled:
        yield filled


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """Collects the moments that are computed."""
    moments: list[datetime] = []
    compute = certforecast.features._computed

    def counted(tables: object, some: Sequence[datetime], *others: object) -> pd.DataFrame:
        moments.extend(some)
        return compute(tables, some, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(certforecast.features, "_computed", counted)
    return moments


def refreshed(history: History, folder: Path, moments: list[datetime] = MOMENTS) -> pd.DataFrame:
    return training_frame(history, moments, day(300), cache=folder)


def anew(history: History, moments: list[datetime] = MOMENTS) -> pd.DataFrame:
    return training_frame(history, moments, day(300))


def test_a_second_run_computes_nothing_and_gives_the_same(
    history: History, computed: list[datetime], tmp_path: Path
) -> None:
    expected = anew(history)
    computed.clear()
    pd.testing.assert_frame_equal(refreshed(history, tmp_path), expected, check_exact=True)
    assert computed == MOMENTS
    computed.clear()
    pd.testing.assert_frame_equal(refreshed(history, tmp_path), expected, check_exact=True)
    assert computed == []
    assert len(list(tmp_path.iterdir())) == 4


def test_a_new_day_computes_the_new_moment_alone(
    history: History, computed: list[datetime], tmp_path: Path
) -> None:
    refreshed(history, tmp_path)
    timeline = Timeline()
    timeline.certificate("b2", "b.example", 170)
    history.append(timeline.batch)
    computed.clear()
    moments = [*MOMENTS, day(200)]
    found = refreshed(history, tmp_path, moments)
    assert computed == [day(200)]
    pd.testing.assert_frame_equal(found, anew(history, moments), check_exact=True)


@pytest.mark.parametrize(
    ("known", "reached"), [(90.0, [day(120), day(160)]), (120.0, [day(120), day(160)]), (300.0, [])]
)
def test_late_rows_reach_the_moments_after_they_were_known(
    history: History, computed: list[datetime], tmp_path: Path, known: float, reached: list[datetime]
) -> None:
    refreshed(history, tmp_path)
    timeline = Timeline()
    timeline.certificate("late", ["b.example", "c.example"], 66, known=known)
    history.append(timeline.batch)
    computed.clear()
    found = refreshed(history, tmp_path)
    assert computed == reached
    pd.testing.assert_frame_equal(found, anew(history), check_exact=True)
    assert len(list(tmp_path.iterdir())) == 4  # what holds no longer is gone


def test_a_row_that_turns_out_to_be_known_earlier_counts(
    history: History, computed: list[datetime], tmp_path: Path
) -> None:
    refreshed(history, tmp_path)
    (row,) = history.tables().events.to_pyarrow().to_pylist()
    history.append(Batch(events=[row | {"known_at": day(75)}]))
    computed.clear()
    refreshed(history, tmp_path)
    assert computed == [day(80), day(120), day(160)]


def test_other_thresholds_and_countries_are_kept_apart(
    history: History, computed: list[datetime], tmp_path: Path
) -> None:
    refreshed(history, tmp_path)
    computed.clear()
    for _ in range(2):
        training_frame(history, MOMENTS, day(300), RenewalPolicy(slip_fraction=0.2), cache=tmp_path)
        training_frame(history, MOMENTS, day(300), country="DE", cache=tmp_path)
    assert computed == MOMENTS * 2
    computed.clear()
    refreshed(history, tmp_path)
    assert computed == []


def test_a_broken_file_is_computed_again(history: History, computed: list[datetime], tmp_path: Path) -> None:
    expected = refreshed(history, tmp_path)
    whole, empty, *_ = sorted(tmp_path.iterdir())
    whole.write_bytes(whole.read_bytes()[:-50])
    empty.write_bytes(b"")
    computed.clear()
    pd.testing.assert_frame_equal(refreshed(history, tmp_path), expected, check_exact=True)
    assert computed == MOMENTS[:2]


def test_other_code_computes_again(
    history: History, computed: list[datetime], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refreshed(history, tmp_path)
    computed.clear()
    monkeypatch.setattr("certforecast.features.cache._code", lambda: "of another version")
    refreshed(history, tmp_path)
    assert computed == MOMENTS


def test_a_run_that_is_stopped_leaves_no_half_file(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        refreshed(history, tmp_path)
    assert list(FeatureCache(tmp_path).folder.iterdir()) == []
