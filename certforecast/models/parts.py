"""Rows in parts, side by side: what is worked on fits the memory, and no core is idle."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import joblib  # noqa: TID253 (scikit-learn, which all that work by parts import, brings it)
import numpy as np
import numpy.typing as npt

__all__ = ["by_parts"]

#: Rows at a time.
_ROWS: Final = 10_000


def by_parts(work: Callable[[slice], npt.NDArray[Any]], rows: int) -> npt.NDArray[Any]:
    """Give what `work` makes of parts of so many rows, joined along the first axis.

    Threads do, as numpy lets others work while it does. No rows are a part, too.
    """
    parts = [slice(start, start + _ROWS) for start in range(0, rows, _ROWS)] or [slice(0, 0)]
    if len(parts) == 1:
        return work(parts[0])
    with ThreadPoolExecutor(joblib.cpu_count()) as threads:
        return np.concatenate(list(threads.map(work, parts)))
