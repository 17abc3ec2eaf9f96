"""Everything a source gives, in one batch."""

from dataclasses import replace
from datetime import datetime

from certforecast.clock import system_clock
from certforecast.history.sources import NO_MARKS, Batch, Marks, Source
from certforecast.history.wholes import parse_wholes

LISTS = ("certificates", "observations", "events", "hosts", "rejected", "wholes", "marks")


def read(source: Source, marks: Marks = NO_MARKS) -> Batch:
    whole = Batch()
    for batch in source.read(marks):
        for name in LISTS:
            getattr(whole, name).extend(getattr(batch, name))
        for table, positions in batch.positions.items():
            whole.positions.setdefault(table, []).extend(positions)
        whole.skipped += batch.skipped
    return whole


def parsed(source: Source, marks: Marks = NO_MARKS, now: datetime | None = None) -> Batch:
    """Read everything, and parse the whole certificates as the store does."""
    return with_certificates(read(source, marks), source.name, now)


def with_certificates(batch: Batch, name: str, now: datetime | None = None) -> Batch:
    """Parse the whole certificates of a batch as the store does."""
    rows, positions, rejected = parse_wholes(batch.wholes, name, now or system_clock())
    known = rows.drop_columns(["chain", "logged_at", "reason"]).to_pylist()
    return replace(
        batch,
        certificates=[*batch.certificates, *known],
        rejected=[*batch.rejected, *rejected],
        positions={
            **batch.positions,
            "certificates": [*batch.positions.get("certificates", []), *positions],
        },
        wholes=[],
    )
