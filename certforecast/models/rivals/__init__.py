"""Models of other libraries, behind the interface of ours, to be compared with. None is used in service."""

from typing import TYPE_CHECKING

from certforecast.lazy import lazy

if TYPE_CHECKING:
    from certforecast.models.rivals.registry import RIVALS, Rival

__all__ = ["RIVALS", "Rival"]

__getattr__ = lazy(__name__, {"registry": ["RIVALS", "Rival"]})
