"""The embedded sample: where it lies, and how to play it again."""

from datetime import UTC, datetime
from pathlib import Path

from certforecast.errors import SourceError

__all__ = ["SAMPLE_END", "SAMPLE_SEED", "sample_folder"]

#: What made it (data/sample/README.md).
SAMPLE_SEED = 7
SAMPLE_END = datetime(2026, 10, 1, tzinfo=UTC)


def sample_folder() -> Path:
    """Find the sample: in the installed package, or in the checkout.

    Raises
    ------
    SourceError
        If it is in neither.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "sample", here.parents[1] / "data" / "sample"):
        if (folder / "certificates.parquet").is_file():
            return folder
    raise SourceError(
        "the embedded sample is missing from this installation; make it again with "
        f"'certforecast simulate FOLDER --seed {SAMPLE_SEED}'"
    )
