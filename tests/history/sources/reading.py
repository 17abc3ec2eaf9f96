"""Everything a source gives, in one batch."""

from certforecast.history.sources import Batch, Source


def read(source: Source) -> Batch:
    whole = Batch()
    for batch in source.read():
        assert sum(map(len, (batch.certificates, batch.observations, batch.events, batch.hosts))) <= 1000
        for table in ("certificates", "observations", "events", "hosts", "rejected"):
            getattr(whole, table).extend(getattr(batch, table))
        for table, positions in batch.positions.items():
            whole.positions.setdefault(table, []).extend(positions)
    return whole
