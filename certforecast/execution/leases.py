"""Leases: which processes live. Each holds a lock in PostgreSQL that frees itself with its connection."""

import logging
import os
import secrets
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from certforecast.errors import ExecutionError
from certforecast.execution.control import database_url, explained
from certforecast.execution.gate import SuspendedError
from certforecast.settings import Settings

__all__ = ["Lease", "lease"]

_LOG = logging.getLogger(__name__)

#: The first half of the key of every lock: processes that work, the one that leads, lineages.
_WORKS: Final = 0x6365_7274
_LEADS: Final = 0x6365_7275
_LINEAGE: Final = 0x6365_7276
_PAUSE_S: Final = 0.05
_EVERY_S: Final = 1.0
#: A dead network is noticed within some ten seconds, on both sides.
_ALIVE: Final = {
    "keepalives": "1",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "connect_timeout": "5",
    "options": "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3",
}


class Lease:
    """A sign of life. Made by :func:`lease`."""

    def __init__(self, engine: Engine, *, leads: bool) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._engine = engine
        self._leads = leads
        self.led_by_another = False
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._connection = self._taken()
        self._thread = threading.Thread(target=self._hold, name="certforecast-lease", daemon=True)

    def take_over(self) -> int:
        """Have what dead processes left unfinished carried out by whoever is free, and count it."""
        try:
            return self._take_over()
        except SQLAlchemyError:  # the lease is being taken anew
            return 0

    def _take_over(self) -> int:
        from dbos import DBOS

        names = {
            run.executor_id
            for run in DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
            if run.executor_id not in (None, self.name)
        }
        taken = 0
        for name in sorted(names):
            if self._try(_WORKS, name):
                try:
                    # DBOS' own recovery, which re-enqueues only what still belongs to that process.
                    taken += len(DBOS._recover_pending_workflows([name]))
                finally:
                    self._ask("SELECT pg_advisory_unlock(:a, :b)", _WORKS, name)
        return taken

    @contextmanager
    def alone_on(self, name: str) -> Iterator[None]:
        """Hold the lock of a lineage, among all processes on this database, for the time of the block.

        It ends with the connection. One that is broken is waited for, so that who is cut off begins nothing.
        Threads of one process share it.

        Raises
        ------
        SuspendedError
            If this process is to end first.
        """
        while not self._lock_lineage(name):
            if not threading.main_thread().is_alive():
                raise SuspendedError
            time.sleep(_PAUSE_S)
        try:
            yield
        finally:
            with suppress(SQLAlchemyError):  # it ended with its connection
                self._ask("SELECT pg_advisory_unlock(:a, :b)", _LINEAGE, name)

    def _lock_lineage(self, name: str) -> bool:
        try:
            return self._try(_LINEAGE, name)
        except SQLAlchemyError:  # the lease is being taken anew
            return False

    def lives(self, process: str) -> bool:
        """Say whether a process lives, as far as this one may conclude anything from its lock."""
        if process == self.name or not self._try(_WORKS, process):
            return True
        self._ask("SELECT pg_advisory_unlock(:a, :b)", _WORKS, process)
        return False

    def count(self) -> int:
        """Count the processes that live."""
        query = (
            "SELECT count(DISTINCT objid) FROM pg_locks WHERE locktype = 'advisory' AND classid = :a"
            " AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        try:
            found = self._ask(query, _WORKS, "")
        except SQLAlchemyError:  # it is being taken anew
            return 1
        return found if isinstance(found, int) and found > 0 else 1

    def start(self) -> None:
        """Begin to watch over the lease."""
        self._thread.start()

    def end(self) -> None:
        """Give the lease up."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(5)
        with self._guard:
            self._connection.close()

    def _try(self, kind: int, name: str) -> bool:
        return bool(self._ask("SELECT pg_try_advisory_lock(:a, :b)", kind, name))

    def _ask(self, query: str, kind: int, name: str) -> object:
        with self._guard:
            return _asked(self._connection, query, kind, name)

    def _taken(self) -> Connection:
        """Connect, and take the lease.

        Raises
        ------
        ExecutionError
            If another process leads.
        """
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            lock = "SELECT pg_try_advisory_lock(:a, :b)"
            if self._leads and not _asked(connection, lock, _LEADS, ""):
                raise ExecutionError(
                    "another process is carrying out a plan with this database: wait for it to end, or help "
                    "it with 'certforecast worker'",
                    code="led",
                )
            if not _asked(
                connection, lock, _WORKS, self.name
            ):  # our own, of a connection that is not dead yet
                raise ExecutionError(f"the database still holds the lock of {self.name}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _hold(self) -> None:
        """Keep the connection; after a break take the lease anew.

        In the meantime another process may have taken over what is under way here. Both then end it: every
        step may be done twice, and the database takes one result.
        """
        while not self._ended.wait(_EVERY_S):
            try:
                self._ask("SELECT CAST(:a AS bigint), CAST(:b AS bigint)", 0, "")
            except SQLAlchemyError:
                _LOG.warning("the executor's database is gone: trying again until it answers")
                self._take_again()

    def _take_again(self) -> None:
        while not self._ended.wait(_EVERY_S):
            try:
                connection = self._taken()
            except SQLAlchemyError:
                continue
            except ExecutionError as error:
                if self._leads and error.code == "led":  # help the one that leads now, until told to end
                    self._leads, self.led_by_another = False, True
                continue
            with self._guard:
                self._connection.invalidate()
                self._connection.close()
                self._connection = connection
            return


@contextmanager
def lease(settings: Settings, *, leads: bool) -> Iterator[Lease]:
    """Hold a lease for the time of the block.

    Raises
    ------
    ExecutionError
        If another process leads, or the database is no PostgreSQL, or does not answer.
    """
    url = database_url(settings)
    if not url.startswith("postgresql"):
        raise ExecutionError(f"database_url must name a PostgreSQL database, not {url.partition(':')[0]}")
    engine = create_engine(url, poolclass=NullPool, connect_args=dict(_ALIVE))
    with explained("look at database_url in the settings"):
        held = Lease(engine, leads=leads)
    try:
        held.start()
        yield held
    finally:
        held.end()
        engine.dispose()


def _asked(connection: Connection, query: str, kind: int, name: str) -> object:
    # The key is two signed numbers of 32 bits.
    key = zlib.crc32(name.encode()) - (1 << 31)
    return connection.execute(text(query), {"a": kind, "b": key}).scalar()
