"""What the executor's processes tell one another in its database: that all is to stop, what is recorded."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict
from sqlalchemy import Column, Engine, MetaData, String, Table, create_engine, event, inspect, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from certforecast.errors import ExecutionError
from certforecast.execution.plain import refuse_pickle
from certforecast.settings import Settings

__all__ = ["Control", "Stop", "control", "database_url", "explained", "in_short"]

_LOG = logging.getLogger(__name__)

#: A stop is heeded within this time.
_LOOK_EVERY_S: Final = 0.25

_NOTES: Final = Table(
    "certforecast_notes",
    MetaData(),
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)


class Stop(BaseModel):
    """Everything was stopped: by whom, when, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: str
    at: AwareDatetime
    reason: str = ""

    def __str__(self) -> str:
        because = f" ({self.reason})" if self.reason else ""
        return f"everything was stopped by {self.by} at {self.at:%Y-%m-%d %H:%M} UTC{because}"


class Control:
    """Notes that all processes share. Made by :func:`control`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def stop(self, by: str, at: datetime, reason: str = "") -> None:
        """Stop everything: no process begins anything any more, until `resume`."""
        self.write("stop", Stop(by=by, at=at, reason=reason).model_dump(mode="json"))

    def resume(self) -> None:
        """Let everything go on."""
        self.write("stop", None)

    def stopped(self) -> Stop | None:
        """Say whether everything is to stand still."""
        told = self.read("stop")
        if told is None:
            return None
        try:
            return Stop.model_validate(told)
        except ValueError:  # of a newer version: whatever it says, somebody pressed the switch
            return Stop(by="somebody", at=datetime.fromtimestamp(0, UTC), reason=str(told))

    def has_runs(self) -> bool:
        """Say whether the executor ever used this database."""
        schema = "dbos" if self.engine.dialect.name == "postgresql" else None
        with explained():
            return inspect(self.engine).has_table("workflow_status", schema=schema)

    def read(self, name: str) -> Any:
        """Give a note; None if there is none."""
        with explained(), self.engine.connect() as connection:
            found = connection.execute(select(_NOTES.c.value).where(_NOTES.c.name == name)).scalar()
        return None if found is None else json.loads(found)

    def write(self, name: str, value: Any) -> None:
        """Put a note in the place of the one of that name."""
        text = json.dumps(value)
        with explained(), self.engine.begin() as connection:
            changed = connection.execute(_NOTES.update().where(_NOTES.c.name == name).values(value=text))
            if changed.rowcount:
                return
            with connection.begin_nested():
                connection.execute(_NOTES.insert().values(name=name, value=text))


class Watch(threading.Thread):
    """Looks again and again whether everything is to stand still."""

    def __init__(self, notes: Control) -> None:
        super().__init__(name="certforecast-stop", daemon=True)
        self._notes = notes
        self._ended = threading.Event()
        self.stop: Stop | None = notes.stopped()

    def run(self) -> None:
        """Look until told to end; a database that does not answer changes nothing."""
        while not self._ended.wait(_LOOK_EVERY_S):
            try:
                self.stop = self._notes.stopped()
            except Exception:  # it must never end by itself
                _LOG.debug("the switch could not be looked at", exc_info=True)

    def end(self) -> None:
        """Look no longer."""
        self._ended.set()


@contextmanager
def explained(advice: str = "see that it has space and answers") -> Iterator[None]:
    """Raise what the executor's database refuses as an error that says so.

    Parameters
    ----------
    advice : str
        What to do about it.

    Raises
    ------
    ExecutionError
        In the place of an error of SQLAlchemy.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise ExecutionError(
            f"the executor's database does not answer: {in_short(error)}; {advice}"
        ) from error


def in_short(error: SQLAlchemyError) -> str:
    """Say what a database said, without the query."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


def database_url(settings: Settings) -> str:
    """Give the address of the executor's database, as SQLAlchemy writes it."""
    url = settings.database_url
    if url is None:
        return f"sqlite:///{settings.home.resolve()}/executor.sqlite"
    scheme, _, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}" if scheme in ("postgres", "postgresql") else url


@contextmanager
def control(settings: Settings) -> Iterator[Control]:
    """Open the notes in the executor's database.

    Raises
    ------
    ExecutionError
        If it does not answer.
    """
    refuse_pickle()
    settings.home.mkdir(parents=True, exist_ok=True)
    engine = create_engine(database_url(settings), pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _as_several_want_it)
    try:
        with explained("look at database_url in the settings"), suppress(IntegrityError):
            if not inspect(engine).has_table(_NOTES.name):  # or another process is first
                _NOTES.create(engine, checkfirst=True)
        yield Control(engine)
    finally:
        engine.dispose()


def _as_several_want_it(connection: Any, _: Any) -> None:
    # Readers beside a writer; every commit outlasts a power cut.
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
