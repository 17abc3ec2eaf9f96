"""Durable runs: DBOS checkpoints every step, so that a killed process goes on where it was.

The database is a SQLite file for one process, or PostgreSQL for any number of them. Actions wait in one queue
an issuer: that is where the rate of an account is limited, whoever takes them out.
"""

import fcntl
import logging
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random_exponential

from certforecast.errors import ExecutionError
from certforecast.execution.alone import alone_on
from certforecast.execution.begun import FIRST, NAME, Begun
from certforecast.execution.control import Control, control, database_url, explained
from certforecast.execution.gate import Body, Checkpoint, Gate, SuspendedError
from certforecast.execution.leases import Lease, lease
from certforecast.execution.rates import Rate
from certforecast.execution.tickets import ticket_in
from certforecast.execution.upgrading import VERSION, left_over, obstacle
from certforecast.settings import Settings

__all__ = ["Durable", "Ended", "durable"]

_LOG = logging.getLogger(__name__)

#: The one process that works on SQLite.
_NAME: Final = "certforecast"
_POLL_S: Final = 0.1
#: What others see of an action. The rest is between it and its own folder.
_ABROAD: Final = ("order", "issue", "install", "verify", "rollback")
#: Actions in the middle of a change still get so long to end when the process is to.
_LEAVING_S: Final = 120
#: Threads wait for networks, files and the database most of the time, and should be let on soon after that.
_TURN_S: Final = 0.0005
#: Of one action. Whoever starts the executor again and again after a crash should not run into it.
_RECOVERIES: Final = 1000

#: A database that is started again is waited for; what is under way in the meantime goes on.
_patient = retry(
    retry=retry_if_exception_type((OperationalError, InterfaceError)),
    wait=wait_random_exponential(multiplier=0.2, max=5.0),
    stop=stop_after_delay(600),
    reraise=True,
)

# DBOS is one a process and finds workflows by their registered function, so what the function does is set
# here for the time of a run.
_body: list[Callable[[dict[str, Any], Checkpoint], dict[str, Any]]] = []


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that came to an end.

    Attributes
    ----------
    ticket : dict
        What it was to do.
    at : datetime
        When it ended, by the clock of the database.
    result : dict or None
        What came of it; None if it came to no result.
    error : str or None
        Why there is no result.
    """

    run_id: str
    ticket: dict[str, Any]
    at: datetime
    result: dict[str, Any] | None
    error: str | None


class Durable:
    """Runs of actions that outlast the process. Made by :func:`durable`.

    Attributes
    ----------
    notes : Control
    gate : Gate
    left : dict of str to str
        Runs that another version began and that cannot go on here, and what to do about each.
    """

    def __init__(
        self,
        settings: Settings,
        notes: Control,
        gate: Gate,
        held: Lease | None,
        interrupted: threading.Event,
    ) -> None:
        self.notes = notes
        self._settings = settings
        self.left: dict[str, str] = {}
        self._interrupted = interrupted
        self._begun = Begun(notes.engine, VERSION)
        self.gate = gate
        self._lease = held
        self._name = _NAME if held is None else held.name
        self._queues: dict[Rate, Any] = {}

    @_patient
    def enqueue(
        self, run_id: str, ticket: dict[str, Any], rate: Rate, *, priority: int, workers: int
    ) -> None:
        """Have an action carried out, unless it was begun under this id before."""
        from dbos import DBOS, SetEnqueueOptions, SetWorkflowID

        if rate not in self._queues:
            self._queues[rate] = DBOS.register_queue(
                f"certforecast-{rate.account}",
                worker_concurrency=workers,
                limiter=None if rate.limit is None else {"limit": rate.limit, "period": rate.period_s},
                polling_interval_sec=_POLL_S,
                on_conflict="always_update",
            )
        with SetWorkflowID(run_id), SetEnqueueOptions(priority=priority):
            self._queues[rate].enqueue(_workflow(), ticket)

    def known(self, run_ids: Collection[str]) -> set[str]:
        """Say which runs were begun, whatever came of them."""
        return {run.workflow_id for run in self._list(list(run_ids))}

    def ended(self, run_ids: Collection[str]) -> list[Ended]:
        """Give those of some runs that came to an end."""
        if not run_ids:
            return []
        over = [run.workflow_id for run in self._list(list(run_ids)) if _over(run)]
        return [_ended(run) for run in self._list(over, load_input=True, load_output=True)]

    @_patient
    def ended_since(self, since: datetime) -> list[Ended]:
        """Give all runs that came to an end lately, the earliest first."""
        from dbos import DBOS

        runs = DBOS.list_workflows(
            name=NAME, completed_after=since.isoformat(), load_input=True, load_output=True
        )
        runs.sort(key=lambda run: run.completed_at or 0)
        return [_ended(run) for run in runs if _over(run)]

    @_patient
    def unfinished(self) -> list[str]:
        """Give the runs that were begun and did not end."""
        from dbos import DBOS

        runs = DBOS.list_workflows(
            status=["PENDING", "ENQUEUED"],
            name=NAME,
            app_version=VERSION,
            load_input=False,
            load_output=False,
        )
        return [run.workflow_id for run in runs]

    @_patient
    def steps(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Give what the steps of a run gave, by their names."""
        from dbos import DBOS

        return {
            step["function_name"]: step["output"]
            for step in DBOS.list_workflow_steps(run_id)
            if step["output"]
        }

    def check(self) -> None:
        """Refuse to go on where that makes no sense.

        Raises
        ------
        KeyboardInterrupt
            If a person interrupted this process since it was opened.
        ExecutionError
            If the database did not take what was done, or another process leads now.
        """
        if self._interrupted.is_set():
            raise KeyboardInterrupt
        if self.gate.unsaved:
            raise ExecutionError(
                f"the executor's database did not take what was done for {self.gate.unsaved} actions: see "
                "that it has space and answers, then run the same command again"
            )
        if self._lease is not None and self._lease.led_by_another:
            raise ExecutionError("another process leads since the database was gone: wait for it to end")

    def take_over(self) -> int:
        """Take over what dead processes left unfinished, and count it; a live one keeps its own."""
        taken = 0 if self._lease is None else self._lease.take_over()
        with suppress(SQLAlchemyError):  # it comes again
            taken += self._adopt()
            self._begun.bring_forward()
        return taken

    def _adopt(self) -> int:
        """Take over what another version began, as far as it can go on here, and count it."""
        from dbos import DBOS

        taken = 0
        for run in self._begun.foreign():
            if run.run_id in self.left or (run.process is not None and self._alive(run.process)):
                continue
            ticket = next((ticket_in(found.input) for found in self._list([run.run_id], load_input=True)), {})
            steps = DBOS.list_workflow_steps(run.run_id)
            if (why := obstacle(run.version, ticket, steps, self._settings)) is None:
                taken += self._begun.adopt(run)
                continue
            self.left[run.run_id] = left_over(run.version, steps, why)
            _LOG.warning("run %s is left where it is: %s", run.run_id, self.left[run.run_id])
        return taken

    def _alive(self, process: str) -> bool:
        return self._lease is not None and self._lease.lives(process)

    @_patient
    def moving(self) -> bool:
        """Say whether anything that was begun goes on still, here or in nobody's hands."""
        return bool(self._begun.under_way(self._name) - self.gate.held)

    def processes(self) -> int:
        """Count the processes that carry out actions now, this one included."""
        return 1 if self._lease is None else self._lease.count()

    @_patient
    def _list(self, run_ids: list[str], *, load_input: bool = False, load_output: bool = False) -> list[Any]:
        from dbos import DBOS

        if not run_ids:
            return []
        return DBOS.list_workflows(workflow_ids=run_ids, load_input=load_input, load_output=load_output)


@contextmanager
def durable(settings: Settings, body: Body, *, leads: bool = True) -> Iterator[Durable]:
    """Open the executor's database; what an earlier process left unfinished is taken up again.

    Parameters
    ----------
    settings : Settings
        `database_url`, else a SQLite file in `home`.
    body : callable
        Carries out a ticket. It gets a function that checkpoints a step:
        ``checkpoint(name, function, *arguments)``.
    leads : bool
        Whether this process decides what is begun; of these there is one at a time. The others only help.

    Raises
    ------
    ExecutionError
        If another process leads, the database does not answer, or processes are to share SQLite.
    """
    from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer

    if settings.database_url is None and not leads:
        raise ExecutionError(
            "several processes cannot share a SQLite file: set database_url to a PostgreSQL database"
        )
    with ExitStack() as stack:
        stack.enter_context(explained("see that it has space and answers, then run the same command again"))
        if settings.database_url is None:
            stack.enter_context(_alone(settings))
        notes = stack.enter_context(control(settings))
        held = (
            stack.enter_context(lease(settings, leads=leads)) if settings.database_url is not None else None
        )
        gate = stack.enter_context(Gate(notes).watched())
        interrupted = stack.enter_context(_interruptible())
        stack.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(_TURN_S)
        config: DBOSConfig = {
            "name": "certforecast",
            "system_database_url": database_url(settings),
            # Fixed, so that the next process takes up what this one leaves.
            "application_version": VERSION,
            "executor_id": _NAME if held is None else held.name,
            "log_level": "ERROR",
            "enable_otlp": False,
            # Not pickle: whoever can write to the database must not be able to run code here.
            "serializer": DBOSPortableJSONSerializer(),
        }
        if held is None:
            # SQLite has one writer at a time, and those who wait for it sleep longer and longer: better that
            # threads wait for the connection, which is handed on at once.
            config["db_engine_kwargs"] = {"pool_size": 1, "max_overflow": 0}
        logging.getLogger("dbos").setLevel(logging.ERROR)
        DBOS(config=config)
        _workflow()
        _body[:] = [gate.guarded(body, _run_id, partial(_alone_on, settings.home / "locks", held))]
        try:
            DBOS.launch()
            DBOS.register_queue(FIRST, polling_interval_sec=_POLL_S, on_conflict="always_update")
            runs = Durable(settings, notes, gate, held, interrupted)
            runs.take_over()
            yield runs
        finally:
            gate.close()
            DBOS.destroy(workflow_completion_timeout_sec=_LEAVING_S if gate.busy else 0)
            _body.clear()


@cache
def _workflow() -> Callable[[dict[str, Any]], dict[str, Any]]:
    from dbos import DBOS

    @DBOS.workflow(name=NAME, max_recovery_attempts=_RECOVERIES)
    def run(ticket: dict[str, Any]) -> dict[str, Any]:
        return _body[0](ticket, checkpoint)

    def checkpoint(name: str, function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
        try:
            return DBOS.run_step({"name": name}, function, *arguments)
        except SQLAlchemyError as error:  # as when its disk is full: the step is done, and will be done again
            _LOG.error("the executor's database does not take what was done: %s", error)
            raise SuspendedError from error

    return run


@contextmanager
def _alone_on(folder: Path, held: Lease | None, name: str, step: str) -> Iterator[None]:
    """Hold the locks of a lineage: on this machine, and where there are several, among all."""
    abroad = held is not None and step.startswith(_ABROAD)
    with alone_on(name, folder), held.alone_on(name) if held and abroad else nullcontext():
        yield


def _run_id() -> str:
    from dbos import DBOS

    return DBOS.workflow_id or ""


def _over(run: Any) -> bool:
    return run.status not in ("PENDING", "ENQUEUED", "DELAYED")


def _ended(run: Any) -> Ended:
    fine = run.status == "SUCCESS" and isinstance(run.output, dict)
    error = None if fine else str(run.error or run.status.lower().replace("_", " "))
    at = datetime.fromtimestamp((run.completed_at or run.updated_at or 0) / 1000, UTC)
    return Ended(run.workflow_id, ticket_in(run.input), at, run.output if fine else None, error)


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Have Ctrl-C set an event; only the second one interrupts, be it in the middle of anything."""
    event = threading.Event()
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield event
        return

    def once(*_: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, once)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Hold a lock that ends with the process, whichever way it ends.

    Two processes would each take the other's actions for abandoned ones.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    path = settings.home / "executor.lock"
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ExecutionError(
                f"another process is carrying out a plan with the home folder {settings.home}: "
                "wait for it to end"
            ) from error
        yield
