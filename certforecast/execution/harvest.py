"""Recording what was done: from the executor's database into the history store.

All that is recorded was checkpointed before, with its times, so that it may be read again: a record written
twice is the same record, and one that could not be written comes the next time.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import SQLAlchemyError

from certforecast.errors import CertForecastError
from certforecast.execution.control import in_short
from certforecast.execution.record import rows
from certforecast.execution.tickets import open_ticket
from certforecast.execution.workflow import step_of
from certforecast.history.sources import Batch
from certforecast.settings import Settings

if TYPE_CHECKING:
    from certforecast.execution.durable import Durable
    from certforecast.history.store import History

__all__ = ["Harvest"]

_LOG = logging.getLogger(__name__)

_NOTE: Final = "recorded until"
#: Clocks of processes differ a little; what ended so long before the mark is looked at again.
_OVERLAP: Final = timedelta(minutes=10)


class Harvest:
    """Records the runs that ended and are not recorded yet.

    Parameters
    ----------
    runs : Durable
        Where they are.
    history : History, optional
        Where they go; without it nothing is recorded.
    settings : Settings
        Who the events say did it, and whose home folder has the key that actions are signed with.
    """

    def __init__(self, runs: "Durable", history: "History | None", settings: Settings) -> None:
        self._runs = runs
        self._history = history
        self._settings = settings
        self._recorded: set[str] = set()

    def gather(self) -> None:
        """Record what is not recorded yet.

        Raises
        ------
        StoreError
            If the store cannot be written; nothing is lost by that.
        SQLAlchemyError, ExecutionError
            If the executor's database cannot be read; nor by that.
        """
        if self._history is None:
            return
        mark = self._runs.notes.read(_NOTE)
        since = datetime.fromisoformat(mark) if mark else datetime.fromtimestamp(0, UTC)
        batch, taken = Batch(), set[str]()
        for run in self._runs.ended_since(since - _OVERLAP if mark else since):
            since = max(since, run.at)
            if run.run_id in self._recorded:
                continue
            taken.add(run.run_id)
            try:
                action = open_ticket(run.ticket, self._settings)
                for done in _rounds(self._runs.steps(run.run_id)):
                    _extend(batch, rows(action, done, self._settings.executor.actor))
            except SQLAlchemyError:  # then the next harvest begins there
                raise
            except Exception:  # not understood here, or forged; the others are recorded all the same
                _LOG.warning("what run %s did is not recorded", run.run_id, exc_info=True)
        if taken:
            self._history.append(batch, source="executor")
            self._recorded |= taken
            self._runs.notes.write(_NOTE, since.isoformat())

    def complaint(self) -> str | None:
        """Record what is not recorded yet, and say why that could not be done, if so."""
        try:
            self.gather()
        except CertForecastError as error:
            return str(error)
        except SQLAlchemyError as error:
            return f"what was done is not recorded yet, the next run does: {in_short(error)}"
        return None


def _rounds(steps: dict[str, dict[str, Any]]) -> list[dict[str, dict[str, Any]]]:
    """Give the steps of each round by their plain names."""
    rounds: dict[str, dict[str, dict[str, Any]]] = {}
    for name, done in steps.items():
        step, number = step_of(name)
        rounds.setdefault(number, {})[step] = done
    return list(rounds.values())


def _extend(batch: Batch, more: Batch) -> None:
    batch.certificates.extend(more.certificates)
    batch.observations.extend(more.observations)
    batch.events.extend(more.events)
