"""Durable runs: DBOS checkpoints every step, so that a killed process goes on where it was."""

import fcntl
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from certforecast.errors import ExecutionError
from certforecast.settings import Settings

__all__ = ["Durable", "durable"]

_LOG = logging.getLogger(__name__)

#: Version of the order of steps. A killed action goes on only under the version it was begun with.
_VERSION: Final = "1"
_NAME: Final = "certforecast.action"
_POLL_S: Final = 0.1
#: Interrupted by a person, the action under way still gets so long to end.
_INTERRUPTED_S: Final = 120

#: An action as JSON, and a way to checkpoint a step, to the result as JSON.
Body = Callable[[dict[str, Any], Callable[..., dict[str, Any]]], dict[str, Any]]

# DBOS is one a process and finds workflows by their registered function, so what the function does is set
# here for the time of a run.
_body: list[Body] = []


class Durable:
    """Runs of actions that outlast the process. Made by :func:`durable`."""

    def run(self, run_id: str, action: dict[str, Any]) -> dict[str, Any]:
        """Carry an action out, or give what came of it if it was carried out under this id before."""
        from dbos import DBOS, SetWorkflowID

        if self.result(run_id) is None:
            with SetWorkflowID(run_id):
                DBOS.start_workflow(_workflow(), action)
        result = self.result(run_id)
        assert result is not None  # noqa: S101 - it was started a line above
        return result

    def result(self, run_id: str) -> dict[str, Any] | None:
        """Wait for a run that was begun before and give its result; None if there is none.

        Raises
        ------
        ExecutionError
            If it came to no result: it was cancelled, or begun from a plan that is not understood here.
        """
        from dbos import DBOS

        if DBOS.get_workflow_status(run_id) is None:
            return None
        try:
            result: dict[str, Any] = DBOS.retrieve_workflow(run_id).get_result(polling_interval_sec=_POLL_S)
        except Exception as error:
            raise ExecutionError(
                f"run {run_id} came to no end ({error}): look at its server, then make a new plan"
            ) from error
        return result

    def finish(self) -> None:
        """Wait until what an earlier process left unfinished is done."""
        from dbos import DBOS

        for run in DBOS.list_workflows(
            status=["PENDING", "ENQUEUED"], name=_NAME, load_input=False, load_output=False
        ):
            try:
                self.result(run.workflow_id)
            except ExecutionError as error:  # it must not hold up the others
                _LOG.error("%s", error)


@contextmanager
def durable(settings: Settings, body: Body) -> Iterator[Durable]:
    """Open the executor's database; what an earlier process left unfinished is taken up again at once.

    Parameters
    ----------
    settings : Settings
        `database_url`, else a SQLite file in `home`.
    body : callable
        Carries out an action given as JSON. It gets a function that checkpoints a step:
        ``checkpoint(name, function, *arguments)``.

    Raises
    ------
    ExecutionError
        If another process is carrying out a plan with the same `home`.
    """
    from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer

    settings.home.mkdir(parents=True, exist_ok=True)
    with _alone(settings):
        config: DBOSConfig = {
            "name": "certforecast",
            "system_database_url": settings.database_url
            or f"sqlite:///{settings.home.resolve()}/executor.sqlite",
            # Fixed, so that the next process takes up what this one leaves.
            "application_version": _VERSION,
            "executor_id": "certforecast",
            "log_level": "ERROR",
            "enable_otlp": False,
            # Not pickle: whoever can write to the database must not be able to run code here.
            "serializer": DBOSPortableJSONSerializer(),
        }
        logging.getLogger("dbos").setLevel(logging.ERROR)
        DBOS(config=config)
        _workflow()
        _body[:] = [body]
        patience = 0
        try:
            DBOS.launch()
            yield Durable()
        except KeyboardInterrupt:
            patience = _INTERRUPTED_S
            raise
        finally:
            DBOS.destroy(workflow_completion_timeout_sec=patience)
            _body.clear()


@cache
def _workflow() -> Callable[[dict[str, Any]], dict[str, Any]]:
    from dbos import DBOS

    @DBOS.workflow(name=_NAME)
    def run(action: dict[str, Any]) -> dict[str, Any]:
        return _body[0](action, checkpoint)

    def checkpoint(name: str, function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
        return DBOS.run_step({"name": name}, function, *arguments)

    return run


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Hold a lock that ends with the process, whichever way it ends.

    Two processes would each take the other's actions for abandoned ones.
    """
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
