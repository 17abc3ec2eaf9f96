"""Programs over what is known at some moments: put together once a process, and run again from then on."""

import weakref
from collections.abc import Callable, Hashable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from certforecast.history.tables import Tables
from certforecast.policy import RenewalPolicy
from certforecast.renewals.known import Known
from certforecast.renewals.recording import Recording, drop, recorded, run, run_again, table_of

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["computed", "forget"]

#: With more rows than this, the engine takes longer than it takes to put together what it is to do.
_MOST_ROWS: Final = 1_000_000
#: Programs to remember at most: one is some 300 kB of text.
_MOST_PROGRAMS: Final = 50

_PROGRAMS: dict[tuple[Hashable, ...], list[Recording]] = {}


def computed(
    program: "Callable[..., ir.Table]",
    tables: Tables,
    moments: Sequence[datetime],
    policy: RenewalPolicy,
    *parameters: Hashable,
) -> "ir.Table":
    """Compute a table from what is known at some moments, on its engine.

    Parameters
    ----------
    program : callable
        Makes an expression: ``program(known, *parameters)``. It must hang on nothing but the columns of the
        tables, the policy, the parameters and the answers to :func:`certforecast.renewals.engine.any_row`: on
        DuckDB, the statements that it led to are run again when it is next asked for, without it.
    tables : Tables
        Everything there is.
    moments : sequence of datetime
        At least one.
    policy : RenewalPolicy
        Thresholds.
    *parameters
        Of the program.

    Returns
    -------
    ibis table
        What the program gives.
    """
    backend: Any = tables.certificates.get_backend()
    key = _key(program, tables, policy, parameters)
    if key is None:
        return program(Known(tables, moments, policy), *parameters)
    import ibis

    stem = ibis.util.gen_name("kept")
    variants = _PROGRAMS.get(key, [])
    if variants and (again := run_again(variants, backend, stem, moments)) is not None:
        recording, made = again
        return _view(backend, stem, recording.result.replace(recording.stem, stem), recording.schema, made)
    with recorded(Recording(stem)) as recording:
        result = program(Known(tables, moments, policy), *parameters)
        recording.end(backend, result)
    if not variants and len(_PROGRAMS) >= _MOST_PROGRAMS:
        _PROGRAMS.pop(next(iter(_PROGRAMS)))
    _PROGRAMS.setdefault(key, []).append(recording)
    return _view(backend, stem, recording.result, recording.schema, result)


def forget() -> None:
    """Forget all programs, as is needed where their code was changed in a running process."""
    _PROGRAMS.clear()


def _key(program: Any, tables: Tables, *others: Hashable) -> tuple[Hashable, ...] | None:
    """Give what statements hang on; None where they are not worth keeping, or cannot be run again."""
    import ibis.expr.operations as ops

    backend: Any = tables.certificates.get_backend()
    if backend.name != "duckdb" or any(table.op().find(ops.InMemoryTable) for table in tables):
        return None
    queries = [backend.compile(table) for table in tables]
    counts = [f"SELECT count(*) FROM ({query})" for query in queries]  # noqa: S608
    if sum(run(backend, count)[0][0] for count in counts) > _MOST_ROWS:
        return None
    return (program, *others, *queries, *(table.schema() for table in tables))


def _view(backend: Any, stem: str, query: str, schema: Any, reads: "list[str] | ir.Table") -> "ir.Table":
    """Give a query as a table; what it reads from is there until nothing refers to that any more.

    That is a list of tables to drop then, or an expression whose tables live as long as it does.
    """
    name = f"{stem}_result"
    run(backend, f'CREATE TEMP VIEW "{name}" AS {query}')
    view = table_of(backend, name, schema)
    weakref.finalize(view.op(), _over, backend, name, reads)
    return view


def _over(backend: Any, name: str, reads: "list[str] | ir.Table") -> None:
    drop(backend, [name], "VIEW")
    if isinstance(reads, list):
        drop(backend, reads)
