"""Features of past moments, kept from one run to the next.

What was known at a moment never changes, unless a late import brings what counts as known earlier. So the
features of a moment are kept in a file, which holds for as long as the rows known by then are the same, to
the bit. A daily refresh computes the moments that are new, or that late rows have reached.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certforecast.history.tables import Tables
from certforecast.policy import RenewalPolicy

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FeatureCache"]

#: Rows are summed up by the hour in which they became known.
_HOUR = 3600


class FeatureCache:
    """A folder with a Parquet file for each moment.

    Parameters
    ----------
    folder : Path
        Made when first written to. Whoever can write to it decides what models learn from: keep it as safe
        as the store.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def frames(
        self,
        tables: Tables,
        moments: Sequence[datetime],
        policy: RenewalPolicy,
        country: str,
        compute: "Callable[[Sequence[datetime]], pd.DataFrame]",
    ) -> "list[pd.DataFrame]":
        """Give the features of some moments; compute those that are not kept, or hold no longer.

        Parameters
        ----------
        tables : Tables
            Everything there is.
        moments : sequence of datetime
            In order.
        policy, country
            As for :func:`certforecast.features.features`.
        compute : callable
            Gives the features of some of the moments, sorted, with ``as_of``.
        """
        import pandas as pd

        told = _digest(json.dumps(asdict(policy)), country)
        paths = {
            moment: self.folder / f"{moment:%Y%m%dT%H%M%S%f}-{told[:12]}-{known[:24]}.parquet"
            for moment, known in zip(moments, _known(tables, moments), strict=True)
        }
        kept = {moment: frame for moment, path in paths.items() if (frame := _read(path)) is not None}
        missing = [moment for moment in moments if moment not in kept]
        if missing:
            computed = compute(missing)
            self.folder.mkdir(parents=True, exist_ok=True)
            for moment in missing:
                kept[moment] = computed[computed["as_of"] == pd.Timestamp(moment)].reset_index(drop=True)
                self._write(paths[moment], kept[moment])
        return [kept[moment] for moment in moments]

    def _write(self, path: Path, frame: "pd.DataFrame") -> None:
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            frame.to_parquet(draft)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        moment_and_settings = path.name.rsplit("-", 1)[0]
        for old in self.folder.glob(f"{moment_and_settings}-*.parquet"):
            if old != path:
                old.unlink(missing_ok=True)


def _read(path: Path) -> "pd.DataFrame | None":
    import pandas as pd
    import pyarrow as pa

    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowException, ValueError):  # not whole: as good as not there
        return None


def _known(tables: Tables, moments: Sequence[datetime]) -> list[str]:
    """Give a digest, for each moment, of all rows known by then, of the code, and of the engine.

    Rows known later in the same hour count too, which costs a computation and never gives a wrong result.
    """
    import ibis
    import numpy as np

    engine: Any = tables.certificates.get_backend()
    digests = [_digest(_code(), engine.name, str(engine.version)) for _ in moments]
    hours = np.array([int(moment.astimezone(UTC).timestamp()) // _HOUR for moment in moments])
    for table in tables:
        row = ibis.struct({name: table[name] for name in table.columns}).hash()
        rows = table.select(hour=table.known_at.epoch_seconds() // _HOUR, row=row)
        counted = rows.group_by("hour").aggregate(rows=rows.count(), mix=rows.row.bit_xor())
        frame = counted.order_by("hour").to_pandas()
        ends = np.searchsorted(frame["hour"].to_numpy(), hours, side="right")
        counts = np.concatenate([[0], frame["rows"].to_numpy().cumsum()])
        mixes = np.concatenate([[0], np.bitwise_xor.accumulate(frame["mix"].to_numpy(dtype=np.int64))])
        digests = [
            _digest(digest, str(counts[end]), str(mixes[end]))
            for digest, end in zip(digests, ends, strict=True)
        ]
    return digests


@cache
def _code() -> str:
    """Give a digest of the code that makes features: what other code computed may differ."""
    package = Path(__file__).parents[1]
    files = [*(package / "features").glob("*.py"), *(package / "renewals").glob("*.py")]
    files.append(package / "history" / "tables.py")
    return _digest(*(f"{path.name}:{path.read_text(encoding='utf-8')}" for path in sorted(files)))


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
