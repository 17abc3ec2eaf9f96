"""Certificate Transparency logs with the interface of RFC 6962, section 4."""

from typing import Any

from certforecast.errors import SourceError
from certforecast.history.sources.ct_entries import Entry, from_leaf
from certforecast.history.sources.ct_heads import Head, unbase64
from certforecast.history.sources.ct_logs import Log
from certforecast.history.sources.merkle import (
    Frontier,
    frontier_on_path,
    is_consistent,
    leaf_hash,
    root_on_path,
)

__all__ = ["Rfc6962Log"]

#: What reading a field of an answer may raise, if it is not what the RFC says.
_WRONG = (KeyError, TypeError, ValueError, OverflowError)


class Rfc6962Log(Log):
    """A log asked by ``get-sth``, ``get-entries`` and, for the proofs, by audit paths."""

    def head(self) -> Head:
        """Ask for the signed tree head (section 4.3)."""
        answer = self._json("get-sth")
        try:
            head = Head.of(int(answer["tree_size"]), answer["sha256_root_hash"])
            timestamp, signature = int(answer["timestamp"]), unbase64(answer["tree_head_signature"])
        except _WRONG as error:
            raise self._unreadable("tree head", error) from error
        if self.key is not None and not self.key.has_signed(head, timestamp, signature):
            raise self.unsigned()
        return head

    def settled(self, head: Head) -> int:
        """All entries cost the same."""
        return head.size

    def entries(self, head: Head, start: int, end: int) -> list[Entry]:  # noqa: ARG002
        """Ask for entries until all have come: logs give fewer than they are asked for (section 4.6)."""
        found = list[Entry]()
        while (first := start + len(found)) < end:
            given = self._json("get-entries", start=first, end=end - 1).get("entries")
            if not isinstance(given, list) or not given:
                raise SourceError(f"{self.url} gave no entries from {first} on; try later")
            try:
                found += [
                    from_leaf(unbase64(one["leaf_input"]), unbase64(one["extra_data"]))
                    for one in given[: end - first]
                ]
            except _WRONG as error:
                raise self._unreadable(f"entry after {first}", error) from error
        return found

    def frontier(self, head: Head, size: int) -> Frontier:
        """Take it from the audit path of the last leaf (section 4.8)."""
        if not size:
            return Frontier()
        leaf, path = self._path(head, size - 1)
        found = frontier_on_path(size, head.size, leaf, path)
        if found is None:
            raise SourceError(f"{self.url} gave a proof of the wrong length for entry {size - 1}; try later")
        return found

    def contains(self, head: Head, read: Frontier) -> bool:
        """Check the audit path of the last entry that was read.

        A proof of consistency would tell the same, but logs owe it only between trees that they have signed.
        """
        if read.size in (0, head.size):
            return not read.size or read.root() == head.root
        return root_on_path(read, head.size, self._path(head, read.size - 1)[1]) == head.root

    def follows(self, head: Head, earlier: Head) -> bool:
        """Check a proof of consistency (section 4.4)."""
        proof: list[bytes] = []
        if 0 < earlier.size < head.size:
            answer = self._json("get-sth-consistency", first=earlier.size, second=head.size)
            try:
                proof = [unbase64(one) for one in answer["consistency"]]
            except _WRONG as error:
                raise self._unreadable("proof", error) from error
        return is_consistent(earlier.size, earlier.root, head.size, head.root, proof)

    def _path(self, head: Head, index: int) -> tuple[bytes, list[bytes]]:
        answer = self._json("get-entry-and-proof", leaf_index=index, tree_size=head.size)
        try:
            return leaf_hash(unbase64(answer["leaf_input"])), [unbase64(one) for one in answer["audit_path"]]
        except _WRONG as error:
            raise self._unreadable(f"proof for entry {index}", error) from error

    def _json(self, method: str, **parameters: int) -> dict[str, Any]:
        try:
            answer = self.service.json(f"ct/v1/{method}", **parameters)
        except RecursionError as error:
            raise self._unreadable("answer", error) from error
        if not isinstance(answer, dict):
            raise SourceError(f"{self.url}ct/v1/{method} answered with something that is no JSON object")
        return answer

    def _unreadable(self, what: str, error: Exception) -> SourceError:
        return SourceError(
            f"{self.url} gave a {what} that cannot be read: {error!r}; check that this is a log's address"
        )
