"""Statements, recorded as they are run, so that they can be run again without being put together again.

On a small history, ibis takes seconds to put some thirty statements together that DuckDB runs in a quarter
of one. They hang on the tables' columns, the thresholds and the answers to a few questions only, not on the
rows: so they are put together once a process for each of these.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ibis.expr.schema as sch
    import ibis.expr.types as ir
    import pandas as pd

__all__ = ["Recording", "active", "drop", "recorded", "run", "run_again", "table_of"]

#: Gives rows to be brought to the engine, from the moments and some parameters.
Rows = Callable[..., "pd.DataFrame"]


@dataclass(frozen=True, slots=True)
class _Bring:
    """Rows are brought to the engine as a table."""

    table: str
    rows: Rows
    parameters: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Make:
    """A table is made and filled."""

    table: str
    create: str
    insert: str


@dataclass(frozen=True, slots=True)
class _Ask:
    """Something is asked; on the answer hangs what comes next."""

    query: str
    answer: bool


@dataclass(frozen=True, slots=True)
class _Drop:
    table: str


@dataclass(slots=True)
class Recording:
    """What was run, in order, and the query that gives the result.

    All tables made have names that begin with `stem`, so that another run gives them others.
    """

    stem: str
    steps: list[_Bring | _Make | _Ask | _Drop] = field(default_factory=list)
    result: str = ""
    schema: "sch.Schema | None" = None

    def bring(
        self,
        backend: Any,
        moments: Sequence[datetime],
        schema: "sch.Schema",
        rows: Rows,
        *parameters: Any,
    ) -> "ir.Table":
        """Bring rows, which hang on the moments and the parameters, to the engine."""
        table = self._name()
        _bring(backend, table, rows(moments, *parameters))
        self.steps.append(_Bring(table, rows, parameters))
        return table_of(backend, table, schema)

    def make(self, backend: Any, table: "ir.Table", schema: "sch.Schema") -> "ir.Table":
        """Compute a table and keep it under a name of its own."""
        name = self._name()
        backend.create_table(name, schema=schema, temp=True)
        [[create]] = run(backend, f"SELECT sql FROM duckdb_tables() WHERE table_name = '{name}'")  # noqa: S608
        insert = f'INSERT INTO temp."{name}" {backend.compile(table)}'
        run(backend, insert)
        self.steps.append(_Make(name, create, insert))
        return table_of(backend, name, schema)

    def ask(self, backend: Any, question: "ir.Value") -> bool:
        """Ask something that can be answered by yes or no."""
        query = backend.compile(question)
        answer = _answer(backend, query)
        self.steps.append(_Ask(query, answer))
        return answer

    def dropped(self, table: str) -> None:
        """Note that a table is needed no longer; what comes after the end does not count."""
        if self.schema is None:
            self.steps.append(_Drop(table))

    def end(self, backend: Any, result: "ir.Table") -> None:
        """Note the query that gives the result, and its columns."""
        self.result, self.schema = backend.compile(result), result.schema()

    def answers(self) -> list[bool]:
        """Give what was answered, in order."""
        return [step.answer for step in self.steps if isinstance(step, _Ask)]

    def _name(self) -> str:
        return f"{self.stem}_{sum(isinstance(step, _Bring | _Make) for step in self.steps)}"


_ACTIVE: ContextVar[Recording | None] = ContextVar("recording", default=None)


def active() -> Recording | None:
    """Give the recording under way, if one is."""
    return _ACTIVE.get()


@contextmanager
def recorded(recording: Recording) -> Iterator[Recording]:
    """Record what is kept, brought and asked for the time of the block."""
    token = _ACTIVE.set(recording)
    try:
        yield recording
    finally:
        _ACTIVE.reset(token)


def run_again(
    variants: Sequence[Recording], backend: Any, stem: str, moments: Sequence[datetime]
) -> tuple[Recording, list[str]] | None:
    """Run recorded statements for other moments, on other rows of the same columns.

    Parameters
    ----------
    variants : sequence of Recording
        Of the same program; they differ by the answers to what it asks.
    backend : ibis backend
        DuckDB.
    stem : str
        What the names of tables begin with this time.
    moments : sequence of datetime

    Returns
    -------
    tuple of Recording and list of str, or None
        What was run, and the tables that are there now. None, and nothing is there, if something was answered
        as in none of the variants.
    """
    made: list[str] = []
    answers: list[bool] = []
    recording, place = variants[0], 0

    def renamed(text: str) -> str:
        return text.replace(recording.stem, stem)

    try:
        while place < len(recording.steps):
            step = recording.steps[place]
            if isinstance(step, _Ask):
                answers.append(_answer(backend, renamed(step.query)))
                found = _branch(variants, answers)
                if found is None:
                    drop(backend, made)
                    return None
                recording, place = found
            elif isinstance(step, _Drop):
                drop(backend, [renamed(step.table)])
            else:
                made.append(renamed(step.table))
                if isinstance(step, _Bring):
                    _bring(backend, made[-1], step.rows(moments, *step.parameters))
                else:
                    run(backend, renamed(step.create))
                    run(backend, renamed(step.insert))
            place += 1
    except BaseException:
        drop(backend, made)
        raise
    return recording, made


def _branch(variants: Sequence[Recording], answers: list[bool]) -> tuple[Recording, int] | None:
    """Find a variant that was answered the same so far, and the place of its last such question."""
    for variant in variants:
        asked = [place for place, step in enumerate(variant.steps) if isinstance(step, _Ask)]
        if variant.answers()[: len(answers)] == answers:
            return variant, asked[len(answers) - 1]
    return None


def table_of(backend: Any, name: str, schema: "sch.Schema") -> "ir.Table":
    """Give a temporary table or view by its name, without asking the engine for its columns."""
    import ibis.expr.operations as ops

    namespace = ops.Namespace(catalog="temp", database="main")
    return ops.DatabaseTable(name=name, schema=schema, source=backend, namespace=namespace).to_expr()


def run(backend: Any, query: str) -> list[Any]:
    """Run a statement on DuckDB to its end, and give the rows of its answer."""
    rows: list[Any] = backend.con.execute(query).fetchall()
    return rows


def drop(backend: Any, tables: Sequence[str], kind: str = "TABLE") -> None:
    """Drop temporary tables, or views, that may be there."""
    for table in tables:
        with suppress(Exception):  # the store may be closed by now, and the table gone with it
            run(backend, f'DROP {kind} IF EXISTS temp."{table}"')


def _bring(backend: Any, table: str, rows: "pd.DataFrame") -> None:
    seen = f"{table}_seen"
    backend.con.register(seen, rows)
    try:
        run(backend, f'CREATE TEMP TABLE "{table}" AS FROM "{seen}"')
    finally:
        backend.con.unregister(seen)


def _answer(backend: Any, query: str) -> bool:
    [[answer]] = run(backend, query)
    return bool(answer)
