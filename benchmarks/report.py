"""What every benchmark prints: a table for people, and one JSON object as the last line."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from rich.console import Console
from rich.table import Table


def report(
    benchmark: str, figures: Mapping[str, float], packages: Sequence[str], settings: Mapping[str, Any]
) -> None:
    """Print the figures; a figure that could not be measured is left out by the caller."""
    table = Table("figure", "value")
    for name, value in figures.items():
        table.add_row(name, f"{value:,}")
    Console().print(table)
    versions = {"python": platform.python_version(), **{name: version(name) for name in packages}}
    result = {
        "benchmark": benchmark,
        "figures": dict(figures),
        "versions": versions,
        "settings": dict(settings),
    }
    print(json.dumps(result))
