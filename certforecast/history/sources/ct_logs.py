"""What can be asked of a Certificate Transparency log, whichever interface it has."""

from abc import ABC, abstractmethod

from certforecast.errors import SourceError
from certforecast.history.sources.ct_entries import Entry
from certforecast.history.sources.ct_heads import Head, LogKey
from certforecast.history.sources.http import Service
from certforecast.history.sources.merkle import Frontier

__all__ = ["Log"]


class Log(ABC):
    """A log under one address.

    Parameters
    ----------
    service : Service
        Where it is.
    key : LogKey, optional
        Its key. Without it no signature is checked.
    """

    def __init__(self, service: Service, key: LogKey | None) -> None:
        self.service = service
        self.key = key
        self.url = service.url

    @abstractmethod
    def head(self) -> Head:
        """Give the newest tree head.

        Raises
        ------
        SourceError
            If there is none, or the log's key has not signed it.
        """

    @abstractmethod
    def settled(self, head: Head) -> int:
        """Tell up to which entry reading costs the log no more than it must."""

    @abstractmethod
    def entries(self, head: Head, start: int, end: int) -> list[Entry]:
        """Give the entries from `start` to before `end`, all of them."""

    @abstractmethod
    def frontier(self, head: Head, size: int) -> Frontier:
        """Give the frontier of the first `size` leaves as the log tells it, which proves nothing yet."""

    @abstractmethod
    def contains(self, head: Head, read: Frontier) -> bool:
        """Tell whether it is proven that the tree of `head` begins with what was read."""

    @abstractmethod
    def follows(self, head: Head, earlier: Head) -> bool:
        """Tell whether it is proven that the tree of `head` begins with the whole tree of an earlier head."""

    def unsigned(self) -> SourceError:
        """Make the error for a head that the key has not signed."""
        return SourceError(
            f"{self.url} gave a tree head that is not signed by the key given: the key is another log's, or"
            " the answer is not this log's"
        )
