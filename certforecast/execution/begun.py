"""What was begun, and left by a process that ended: it goes on before anything new, and waits for no place.

DBOS puts what it recovers back into the queue it came from, behind the limits on what begins. What may stand
half-way on a server must not wait there for other actions, or for the rate of an account, which counted it.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, column, exists, func, select, table, update

__all__ = ["FIRST", "NAME", "Begun", "Foreign"]

#: What the runs of actions are called.
NAME: Final = "certforecast.action"

#: The queue of what was begun before. It has no limits.
FIRST: Final = "certforecast-first"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A run that another version began and did not end; `process` has it in hand, if one has."""

    run_id: str
    version: str | None
    process: str | None


class Begun:
    """Looks in the tables of DBOS for runs with a step that is done.

    Parameters
    ----------
    engine : Engine
        Of the executor's database.
    version : str
        Of the order of steps.
    """

    def __init__(self, engine: Engine, version: str) -> None:
        schema = "dbos" if engine.dialect.name == "postgresql" else None
        names = ("workflow_uuid", "status", "name", "executor_id", "application_version", "queue_name")
        claims = ("owner_xid", "started_at_epoch_ms")
        self._engine = engine
        self._runs = table("workflow_status", *map(column, (*names, *claims)), schema=schema)
        self._steps = table("operation_outputs", column("workflow_uuid"), schema=schema)
        self._version = version

    def bring_forward(self) -> int:
        """Have what was begun go on at once, and count it."""
        left = (self._is("ENQUEUED"), self._runs.c.queue_name != FIRST)
        with self._engine.connect() as connection:  # to write where nothing is to be written holds up others
            found = connection.execute(select(self._runs.c.workflow_uuid).where(*left)).scalars().all()
        if not found:
            return 0
        with self._engine.begin() as connection:
            # Whoever took it out of its queue in the meantime keeps it.
            moved = update(self._runs).where(self._runs.c.workflow_uuid.in_(found), *left)
            return connection.execute(moved.values(queue_name=FIRST)).rowcount

    def under_way(self, process: str) -> set[str]:
        """Give the runs that were begun and are in the hands of a process, or of none."""
        mine: Any = self._is("PENDING") & (self._runs.c.executor_id == process)
        with self._engine.connect() as connection:
            asked = select(self._runs.c.workflow_uuid).where(mine | self._is("ENQUEUED"))
            return set(connection.execute(asked).scalars())

    def foreign(self) -> list[Foreign]:
        """Give what other versions began and did not end."""
        runs = self._runs.c
        wanted = select(runs.workflow_uuid, runs.application_version, runs.executor_id, runs.status).where(
            runs.status.in_(["PENDING", "ENQUEUED"])
            & (runs.name == NAME)
            & (func.coalesce(runs.application_version, "") != self._version)
        )
        with self._engine.connect() as connection:
            return [
                Foreign(run_id, version, process if status == "PENDING" else None)
                for run_id, version, process, status in connection.execute(wanted)
            ]

    def adopt(self, run: Foreign) -> bool:
        """Have a run of another version carried out by this one; False if somebody was faster."""
        runs = self._runs.c
        same = (runs.workflow_uuid == run.run_id, runs.application_version.is_not_distinct_from(run.version))
        theirs = (
            runs.status == "ENQUEUED"
            if run.process is None
            else (runs.status == "PENDING") & (runs.executor_id == run.process)
        )
        # As DBOS puts back what it recovers.
        values = {"status": "ENQUEUED", "owner_xid": None, "started_at_epoch_ms": None}
        with self._engine.begin() as connection:
            taken = update(self._runs).where(*same, theirs)
            return bool(
                connection.execute(taken.values(application_version=self._version, **values)).rowcount
            )

    def _is(self, status: str) -> ColumnElement[bool]:
        runs, steps = self._runs.c, self._steps.c
        return (
            (runs.status == status)
            & (runs.name == NAME)
            & (runs.application_version == self._version)
            & exists().where(steps.workflow_uuid == runs.workflow_uuid)
        )
