"""Equal-length arrays that go together, as one record."""

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Columns", "Flags", "Floats", "Ints"]

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass
class Columns:
    """Base of dataclasses whose every field is an array of the same length."""

    def __len__(self) -> int:
        """Give the number of rows."""
        first: NDArray[Any] = getattr(self, fields(self)[0].name)
        return len(first)

    def take(self, index: NDArray[Any]) -> Self:
        """Give the rows named by positions or by a mask, as copies."""
        return type(self)(**{field.name: getattr(self, field.name)[index] for field in fields(self)})
