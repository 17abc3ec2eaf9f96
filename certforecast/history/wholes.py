"""From whole certificates to rows: parsed in bulk, and known from when on."""

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from certforecast.history.schema import TIMESTAMP
from certforecast.history.sources import Rejected, Whole
from certforecast.history.x509 import parse

__all__ = ["parse_wholes"]


def parse_wholes(
    wholes: Sequence[Whole], source: str, now: datetime
) -> tuple[pa.Table, list[str], list[Rejected]]:
    """Parse certificates into rows of the table ``certificates``; chain certificates are passed over.

    A certificate is known from the source's time on or, if that is earlier, from the earliest time of the
    SCTs within: whoever watched the logs could know it then. It is not known before it begins (files lose
    their times when copied, clocks go wrong), nor in the future.

    Parameters
    ----------
    wholes : sequence of Whole
        Certificates as a source gave them.
    source : str
        Name of the source, for the rows.
    now : datetime
        The present.

    Returns
    -------
    rows : pyarrow.Table
        For :func:`certforecast.history.validation.check`.
    positions : list of str
        Where each row stood in the source.
    rejected : list of Rejected
        What could not be parsed, without its content: that may be anything.
    """
    parsed = parse([whole.der for whole in wholes], workers=1)
    rejected = [
        Rejected(whole.position, reason)
        for whole, reason in zip(wholes, parsed["reason"].to_pylist(), strict=True)
        if reason is not None
    ]
    # As numbers: Arrow does not compare timestamps with a zone element by element.
    given = pa.array([whole.known_at for whole in wholes], TIMESTAMP).cast(pa.int64())
    known = pc.min_element_wise(given, parsed["logged_at"].cast(pa.int64()))
    known = pc.max_element_wise(known, parsed["not_before"].cast(pa.int64()))
    known = pc.min_element_wise(known, pa.scalar(now, TIMESTAMP).cast(pa.int64()))
    rows = parsed.append_column("known_at", known.cast(TIMESTAMP)).append_column(
        "source", pa.repeat(pa.scalar(source), len(wholes))
    )
    served = pa.array([whole.served for whole in wholes], pa.bool_())
    leaf = pc.and_(pc.is_null(parsed["reason"]), pc.or_kleene(served, pc.invert(parsed["chain"])))
    positions = [whole.position for whole, keep in zip(wholes, leaf.to_pylist(), strict=True) if keep]
    return rows.filter(leaf), positions, rejected
