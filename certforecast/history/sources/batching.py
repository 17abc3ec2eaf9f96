"""From single finds to batches."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from certforecast.history.sources import Batch, Rejected

__all__ = ["BATCH_SIZE", "Found", "batches"]

#: Rows in a batch, more or less: small in memory, large enough to be written in one go.
BATCH_SIZE: Final = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """One row: the table it is for, its columns, and where it stood in the input."""

    table: str
    row: dict[str, Any]
    position: str


def batches(finds: Iterable[Found | Rejected], size: int = BATCH_SIZE) -> Iterator[Batch]:
    """Gather finds into batches of `size`, the last one smaller; no finds, no batch."""
    batch, count = Batch(), 0
    for find in finds:
        if isinstance(find, Rejected):
            batch.rejected.append(find)
        else:
            getattr(batch, find.table).append(find.row)
            batch.positions.setdefault(find.table, []).append(find.position)
        count += 1
        if count == size:
            yield batch
            batch, count = Batch(), 0
    if count:
        yield batch
