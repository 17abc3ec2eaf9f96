"""From single finds to batches."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from certforecast.history.sources import Batch, Mark, Rejected, Whole

__all__ = ["BATCH_BYTES", "BATCH_SIZE", "Found", "Skipped", "batches"]

#: Rows in a batch, more or less: small in memory, large enough to be stored in one go.
BATCH_SIZE: Final = 10_000
#: Bytes of whole certificates in a batch: some name ten thousand hosts.
BATCH_BYTES: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """One row: the table it is for, its columns, and where it stood in the input."""

    table: str
    row: dict[str, Any]
    position: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A place that was not read, because nothing in it has changed since its mark."""

    place: str


def batches(
    finds: Iterable[Found | Whole | Rejected | Mark | Skipped], size: int = BATCH_SIZE
) -> Iterator[Batch]:
    """Gather finds, in their order, into batches of `size`, the last one smaller; no finds, no batch."""
    batch, count, held = Batch(), 0, 0
    for find in finds:
        match find:
            case Whole():
                batch.wholes.append(find)
                held += len(find.der)
            case Found():
                getattr(batch, find.table).append(find.row)
                batch.positions.setdefault(find.table, []).append(find.position)
            case Rejected():
                batch.rejected.append(find)
            case Mark():
                batch.marks.append(find)
            case Skipped():
                batch.skipped += 1
        count += 1
        if count >= size or held >= BATCH_BYTES:
            yield batch
            batch, count, held = Batch(), 0, 0
    if count:
        yield batch
