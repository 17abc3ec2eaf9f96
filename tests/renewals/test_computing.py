"""Programs are put together once, and run again to the same result, to the bit."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import ibis.expr.types as ir
import pandas as pd
import pytest

from certforecast.features import feature_table
from certforecast.history import History
from certforecast.policy import RenewalPolicy
from certforecast.renewals import computing, recording
from certforecast.renewals.computing import computed, forget
from certforecast.renewals.frames import listed
from certforecast.renewals.known import Known
from tests.timeline import Timeline, day

PROGRAMS = [listed, feature_table]


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    forget()
    yield
    forget()


def small(label: str = "a", every: float = 30.0) -> History:
    """Give a history of one host, renewed every so many days."""
    timeline = Timeline()
    for number in range(6):
        issued = timeline.certificate(f"{label}{number}", f"{label}.shop.example", number * every)
        timeline.look(number * every + 1, issued, f"{label}-h")
    return timeline.history()


def tangled(stretches: int) -> History:
    """Give a history that branches off again and again: the more, the more often its labels are passed on."""
    timeline = Timeline()
    for number in range(stretches):
        # Two at a time of one name: one is replaced by a certificate of more names, which goes on.
        names = [f"n{k}.shop.example" for k in range(number + 1)]
        timeline.certificate(f"m{number}", names, number * 80.0)
        timeline.certificate(f"o{number}", names, number * 80.0 + 5)
    return timeline.history()


def frame(program: Any, history: History, *moments: datetime, policy: RenewalPolicy | None = None) -> Any:
    table = computed(program, history.tables(), moments, policy or RenewalPolicy()).to_pandas()
    return table.sort_values(["as_of", "fingerprint"], ignore_index=True)


def put_together(program: Any, history: History, *moments: datetime) -> Any:
    """Compute the same without any recording."""
    table = program(Known(history.tables(), moments, RenewalPolicy())).to_pandas()
    return table.sort_values(["as_of", "fingerprint"], ignore_index=True)


def temporary(history: History) -> set[str]:
    backend: Any = history.tables().certificates.get_backend()
    query = (
        "SELECT table_name FROM duckdb_tables() WHERE temporary"
        " UNION ALL SELECT view_name FROM duckdb_views() WHERE temporary AND NOT internal"
    )
    return {name for (name,) in backend.con.execute(query).fetchall() if "kept" in name}


@pytest.fixture
def programs_made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count how often something is put together."""
    made: list[str] = []
    once = recording.Recording.end

    def end(self: recording.Recording, backend: Any, result: ir.Table) -> None:
        made.append(self.stem)
        once(self, backend, result)

    monkeypatch.setattr(recording.Recording, "end", end)
    return made


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_is_the_same_for_other_moments_and_another_history(program: Any, programs_made: list[str]) -> None:
    with small() as one, small("b", every=40.0) as other:
        frame(program, one, day(100))
        for history, moments in (
            (one, [day(20), day(100), day(400)]),
            (other, [day(170.5)]),
        ):
            again = frame(program, history, *moments)
            pd.testing.assert_frame_equal(again, put_together(program, history, *moments), check_exact=True)
            assert len(again)
        assert len(programs_made) == 1


def test_what_hangs_on_an_answer_is_put_together_for_each_and_kept(programs_made: list[str]) -> None:
    lengths = (1, 7, 1, 7)
    for length in lengths:
        with tangled(length) as history:
            again = frame(listed, history, day(700))
            pd.testing.assert_frame_equal(again, put_together(listed, history, day(700)), check_exact=True)
    (variants,) = computing._PROGRAMS.values()
    assert len(variants) == len(programs_made) == len({tuple(it.answers()) for it in variants}) > 1


def test_nothing_stays_behind(programs_made: list[str]) -> None:
    with small() as history, tangled(7) as other:
        for moment in (100, 101):  # put together, run again
            table = computed(feature_table, history.tables(), [day(moment)], RenewalPolicy())
            assert temporary(history)
            assert len(table.to_pandas())
            del table
            assert temporary(history) == set()
        frame(listed, history, day(100))
        frame(listed, other, day(700))  # given up half-way, and put together anew
        assert temporary(history) == temporary(other) == set()
        assert len(programs_made) == 3
        put_together(feature_table, history, day(100))
        assert temporary(history) == set()


def test_an_error_in_the_middle_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with small() as history:
        frame(listed, history, day(100))
        run, ran = recording.run, list[str]()

        def interrupted(backend: Any, query: str) -> list[Any]:
            ran.append(query)
            if len(ran) == 20:
                raise KeyboardInterrupt
            return run(backend, query)

        monkeypatch.setattr(recording, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            frame(listed, history, day(101))
        assert temporary(history) == set()
        monkeypatch.undo()
        pd.testing.assert_frame_equal(
            frame(listed, history, day(101)), put_together(listed, history, day(101)), check_exact=True
        )


def test_thresholds_and_parameters_are_programs_of_their_own(programs_made: list[str]) -> None:
    with small() as history:
        tables, policy = history.tables(), RenewalPolicy()
        later = frame(listed, history, day(170), policy=RenewalPolicy(slip_fraction=0.01))
        assert not later["slip_point"].equals(frame(listed, history, day(170))["slip_point"])
        for country in ("US", "DE", "US"):
            computed(feature_table, tables, [day(170)], policy, country)
    assert len(programs_made) == 4


def test_large_histories_are_not_recorded(monkeypatch: pytest.MonkeyPatch, programs_made: list[str]) -> None:
    with small() as history:
        monkeypatch.setattr(computing, "_MOST_ROWS", 11)
        same = frame(listed, history, day(100))
        assert programs_made == []
        monkeypatch.setattr(computing, "_MOST_ROWS", 12)
        pd.testing.assert_frame_equal(frame(listed, history, day(100)), same, check_exact=True)
        assert len(programs_made) == 1


def test_old_programs_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computing, "_MOST_PROGRAMS", 2)
    with small() as history:
        for grace in (3, 4, 5):
            frame(listed, history, day(100), policy=RenewalPolicy(grace_days=grace))
    assert [key[1].grace_days for key in computing._PROGRAMS] == [4, 5]
