"""What was done gets into the store, though the executor's database fails while it is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from sqlalchemy.exc import DatabaseError

from certforecast.execution.control import control
from certforecast.execution.durable import Ended
from certforecast.execution.harvest import Harvest
from certforecast.execution.tickets import tickets
from certforecast.history import History
from certforecast.planning import Plan
from certforecast.settings import Settings
from tests.execution.test_workflow import ACTION, STEPS, answer

if TYPE_CHECKING:
    from certforecast.execution.durable import Durable

NOW = datetime(2026, 11, 1, tzinfo=UTC)
BROKEN = DatabaseError("SELECT secret", {}, Exception("disk I/O error\nand more"))
NAMES = ("a.example", "b.example", "c.example")


class Runs:
    """A stand-in for the executor's database: three runs ended in it, and one of them cannot be read."""

    def __init__(self, settings: Settings, notes: Any) -> None:
        self.notes = notes
        self.unreadable: str | None = None
        named = [ACTION.model_copy(update={"id": name[0] * 16, "name": name}) for name in NAMES]
        values = {"id": "p1", "created_at": NOW, "as_of": NOW, "expires_at": NOW + timedelta(days=1)}
        made = tickets(Plan(**values, actions=tuple(named)).signed(settings.home))
        self.runs = [
            Ended(action.name[0], made[action.id], NOW + timedelta(hours=number), {}, None)
            for number, action in enumerate(named)
        ]

    def ended_since(self, since: datetime) -> list[Ended]:
        if self.unreadable == "all":
            raise BROKEN
        return [run for run in self.runs if run.at >= since]

    def steps(self, run_id: str) -> dict[str, dict[str, Any]]:
        if run_id == self.unreadable:
            raise BROKEN
        return {name: answer(name, fails=False, present=False) for name in STEPS}


@contextmanager
def three_runs(home: Path) -> Iterator[tuple[Runs, Settings]]:
    settings = Settings(home=home)
    with control(settings) as notes:
        yield Runs(settings, notes), settings


def recorded(history: History) -> set[str]:
    return set(history.tables().events.to_pandas()["lineage"])


@pytest.mark.parametrize("unreadable", ["b", "all"])
def test_what_the_database_does_not_give_is_recorded_by_the_next_run(tmp_path: Path, unreadable: str) -> None:
    with three_runs(tmp_path) as (runs, settings), History(None) as history:
        runs.unreadable = unreadable
        found = cast("Durable", runs)
        harvest = Harvest(found, history, settings)
        said = "what was done is not recorded yet, the next run does: disk I/O error"
        assert harvest.complaint() == harvest.complaint() == said
        runs.unreadable = None
        assert Harvest(found, history, settings).complaint() is None, "in another process"
        assert recorded(history) == set(NAMES)
        assert harvest.complaint() is None, "and in the same one"


def test_a_run_that_is_not_understood_holds_up_no_other(tmp_path: Path) -> None:
    with three_runs(tmp_path) as (runs, settings), History(None) as history:
        runs.runs[1].ticket["action"]["name"] = "evil.test"
        assert Harvest(cast("Durable", runs), history, settings).complaint() is None
        assert recorded(history) == {"a.example", "c.example"}
