"""What was begun, and left by a process that ended: it goes on before anything new, and waits for no place.

DBOS puts what it recovers back into the queue it came from, behind the limits on what begins. What may stand
half-way on a server must not wait there for other actions, or for the rate of an account, which counted it.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, column, exists, select, table, update

__all__ = ["FIRST", "NAME", "Begun"]

#: What the runs of actions are called.
NAME: Final = "certforecast.action"

#: The queue of what was begun before. It has no limits.
FIRST: Final = "certforecast-first"


class Begun:
    """Looks in the tables of DBOS for runs with a step that is done.

    Parameters
    ----------
    engine : Engine
        Of the executor's database.
    version : str
        Of the order of steps; runs of another one are left alone.
    """

    def __init__(self, engine: Engine, version: str) -> None:
        schema = "dbos" if engine.dialect.name == "postgresql" else None
        names = ("workflow_uuid", "status", "name", "executor_id", "application_version", "queue_name")
        self._engine = engine
        self._runs = table("workflow_status", *map(column, names), schema=schema)
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

    def _is(self, status: str) -> ColumnElement[bool]:
        runs, steps = self._runs.c, self._steps.c
        return (
            (runs.status == status)
            & (runs.name == NAME)
            & (runs.application_version == self._version)
            & exists().where(steps.workflow_uuid == runs.workflow_uuid)
        )
