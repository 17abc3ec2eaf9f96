"""Times inside expressions: whole seconds since 1970, the form on which all engines agree."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["DAY", "seconds"]

#: Seconds in a day.
DAY = 86_400


def seconds(moment: "ir.TimestampValue") -> "ir.IntegerValue":
    """Convert a timestamp to whole seconds since 1970-01-01 UTC, rounded down."""
    return moment.truncate("s").epoch_seconds().cast("int64")  # engines round fractions differently
