"""What the executor is doing: looked up in its database, without taking part."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from certforecast.execution.begun import NAME
from certforecast.execution.control import Stop, control, database_url, explained
from certforecast.execution.tickets import ticket_in
from certforecast.execution.upgrading import VERSION, left_over, obstacle
from certforecast.settings import Settings

__all__ = ["ExecutorStatus", "RunStatus", "executor_status"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RunStatus(_Model):
    """One action, as it stands."""

    name: str
    kind: str
    status: str
    rank: int
    step: str | None = None
    since: AwareDatetime | None = None
    process: str | None = None
    detail: str = ""


class ExecutorStatus(_Model):
    """All actions under way, waiting, and ended lately."""

    at: AwareDatetime
    stopped: Stop | None
    counts: dict[str, int]
    runs: tuple[RunStatus, ...]


def executor_status(
    settings: Settings, now: datetime, lately: timedelta = timedelta(hours=1)
) -> ExecutorStatus:
    """Look what the executor is doing.

    Parameters
    ----------
    settings : Settings
        Say where its database is.
    now : datetime
        The present.
    lately : timedelta
        Actions that ended before that are left out.

    Raises
    ------
    ExecutionError
        If the database does not answer.
    """
    if settings.database_url is None and not (settings.home / "executor.sqlite").exists():
        return ExecutorStatus(at=now, stopped=None, counts={}, runs=())
    from dbos import DBOSClient, DBOSPortableJSONSerializer

    with control(settings) as notes:
        stop = notes.stopped()
        if not notes.has_runs():  # as when everything was stopped before anything was begun
            return ExecutorStatus(at=now, stopped=stop, counts={}, runs=())
    with explained():
        client = DBOSClient(
            system_database_url=database_url(settings), serializer=DBOSPortableJSONSerializer()
        )
        try:
            active = client.list_workflows(name=NAME, status=["PENDING", "ENQUEUED"], load_output=False)
            ended = client.list_workflows(name=NAME, completed_after=(now - lately).isoformat())
            steps = {
                run.workflow_id: client.list_workflow_steps(run.workflow_id)
                for run in active
                if run.status == "PENDING" or run.app_version != VERSION
            }
        finally:
            client.destroy()
    ended = [run for run in ended if run.status not in ("PENDING", "ENQUEUED")]
    runs = [_status(run, steps.get(run.workflow_id, []), settings) for run in (*active, *ended)]
    return ExecutorStatus(
        at=now, stopped=stop, counts=dict(Counter(run.status for run in runs)), runs=tuple(runs)
    )


def _status(run: Any, steps: list[Any], settings: Settings) -> RunStatus:
    step = str(steps[-1]["function_name"]) if steps else None
    ticket, output = ticket_in(run.input), run.output if isinstance(run.output, dict) else {}
    action = ticket["action"] if isinstance(ticket.get("action"), dict) else {}
    if run.status in ("PENDING", "ENQUEUED") and run.app_version != VERSION:
        status, detail = "of another version", _foreign(run, ticket, steps, settings)
    elif run.status == "PENDING":
        status, detail = "under way", f"{step} is done" if step else "it begins"
    elif run.status == "ENQUEUED":
        status, detail = "queued", ""
    else:
        status = str(output.get("status", "failed"))
        detail = str(output.get("detail") or run.error or run.status.lower())
    moment = run.updated_at or run.created_at
    return RunStatus(
        name=str(action.get("name", run.workflow_id)),
        kind=str(action.get("kind", "")),
        status=status,
        rank=int(run.priority or 0),
        step=step,
        since=datetime.fromtimestamp(moment / 1000, UTC) if moment else None,
        process=run.executor_id if run.status == "PENDING" else None,
        detail=detail,
    )


def _foreign(run: Any, ticket: dict[str, Any], steps: list[Any], settings: Settings) -> str:
    if (why := obstacle(run.app_version, ticket, steps, settings)) is not None:
        return left_over(run.app_version, steps, why)
    at = f"{steps[-1]['function_name']} is done" if steps else "not begun"
    return (
        f"begun by version {run.app_version} of the executor, {at}: the next 'certforecast act --execute' or "
        "a worker ends it, once the process that has it is gone"
    )
