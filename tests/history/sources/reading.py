"""Everything a source gives, in one batch."""

from certforecast.history.sources import NO_MARKS, Batch, Marks, Source

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
