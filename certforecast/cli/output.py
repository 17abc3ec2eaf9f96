"""What commands print: tables or JSON on standard output, progress and words on standard error."""

import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

__all__ = ["Column", "print_json", "print_table", "progress", "say", "words"]

_FIGURE = re.compile(r"[-+]?[\d,.]*%?")

#: A column of a table: heading, and how to take its text from a row.
Column = tuple[str, Callable[[Any], str]]


def print_json(document: Any) -> None:
    """Print one JSON document, on one line, on standard output."""
    json.dump(_jsonable(document), sys.stdout, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    sys.stdout.write("\n")


def print_table(title: str, columns: Sequence[Column], rows: Sequence[Any], *, caption: str = "") -> None:
    """Print rows as a table on standard output; columns of figures are aligned to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    cells = [[text(row) for _, text in columns] for row in rows]
    for place, (heading, _) in enumerate(columns):
        figures = all(_FIGURE.fullmatch(row[place]) for row in cells)
        table.add_column(heading, overflow="fold", justify="right" if figures and cells else "left")
    for row in cells:
        table.add_row(*map(Text, row))
    console = Console(highlight=False)
    if not console.is_terminal:
        # Where nobody watches, in a pipe or a log, there is no edge to wrap at.
        console = Console(highlight=False, width=max(console.width, 160))
    console.print(Text(title, style="bold"))
    console.print(table)
    if caption:
        console.print(Text(caption, style="dim"))


def words(value: Any) -> str:
    """Say a value of a summary as people write it."""
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {count:,}" for key, count in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    return f"{value:,}" if isinstance(value, int) else "none" if value is None else str(value)


def say(message: str) -> None:
    """Tell the person something, on standard error."""
    print(message, file=sys.stderr)


@contextmanager
def progress(what: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """Show a progress bar on standard error while the block runs.

    Yields
    ------
    callable
        Takes how much is done so far, in the unit of `total`; of 1 in all, shares are shown as such.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    console = Console(stderr=True)
    columns = [
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        *([TaskProgressColumn() if total == 1 else MofNCompleteColumn()] if total else []),
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
