"""What commands print: tables or JSON on standard output, progress and words on standard error."""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

__all__ = ["Column", "print_json", "print_table", "progress", "say"]

#: A column of a table: heading, and how to take its text from a row.
Column = tuple[str, Callable[[Any], str]]


def print_json(document: Any) -> None:
    """Print one JSON document, on one line, on standard output."""
    json.dump(_jsonable(document), sys.stdout, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    sys.stdout.write("\n")


def print_table(title: str, columns: Sequence[Column], rows: Sequence[Any], *, caption: str = "") -> None:
    """Print rows as a table on standard output."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", caption=caption or None, caption_justify="left")
    for heading, _ in columns:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(escape(text(row)) for _, text in columns))
    console = Console()
    # Where nobody watches, in a pipe or a log, there is no edge to wrap at.
    Console(width=None if console.is_terminal else max(console.width, 160)).print(table)


def say(message: str) -> None:
    """Tell the person something, on standard error."""
    print(message, file=sys.stderr)


@contextmanager
def progress(what: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """Show a progress bar on standard error while the block runs.

    Yields
    ------
    callable
        Takes how much is done so far, in the unit of `total`.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    console = Console(stderr=True)
    columns = [
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    ]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=total)
        yield lambda done: bars.update(task, completed=done)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return _jsonable(asdict(value))
    if hasattr(value, "model_dump"):
        return _jsonable(value.model_dump(mode="json"))
    if isinstance(value, str | bool | int | None):
        return value
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return [_jsonable(row) for row in value.to_dict("records")]
    if value is None or str(value) == "NaT":
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return _jsonable(value.tolist())
    if hasattr(value, "__iter__"):
        return [_jsonable(item) for item in value]
    return str(value)
