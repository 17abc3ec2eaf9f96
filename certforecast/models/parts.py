"""Rows in parts, side by side: what is worked on fits the memory, and no core is idle."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final

import joblib  # noqa: TID253 (of those who import this, all have scikit-learn loaded, and it with that)
import numpy as np
import numpy.typing as npt
from sklearn import config_context, get_config  # noqa: TID253

__all__ = ["by_parts"]

#: Rows at a time.
_ROWS: Final = 10_000


def by_parts(work: Callable[[slice], npt.NDArray[Any]], rows: int) -> npt.NDArray[Any]:
    """Give what `work` makes of parts of so many rows, joined along the first axis.

    Threads do, as numpy lets others work while it does. They work under the settings of the caller. No rows
    are a part, too.
    """
    parts = [slice(start, start + _ROWS) for start in range(0, rows, _ROWS)] or [slice(0, 0)]
    if len(parts) == 1:
        return work(parts[0])
    settings = get_config()

    def settled(part: slice) -> npt.NDArray[Any]:
        with config_context(**settings):
            return work(part)

    with ThreadPoolExecutor(joblib.cpu_count()) as threads:
        found = [threads.submit(copy_context().run, settled, part) for part in parts]
        return np.concatenate([one.result() for one in found])
