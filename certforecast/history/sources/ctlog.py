"""Certificate Transparency itself: the logs."""

import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal

from certforecast.clock import Clock, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.sources import NO_MARKS, Batch, Mark, Marks, Source
from certforecast.history.sources.ct_entries import Entry
from certforecast.history.sources.ct_heads import Head, LogKey
from certforecast.history.sources.ct_logs import Log
from certforecast.history.sources.ct_matches import Wanted, matches
from certforecast.history.sources.ct_rfc6962 import Rfc6962Log
from certforecast.history.sources.ct_static import TILE, StaticLog
from certforecast.history.sources.http import Service
from certforecast.history.sources.merkle import Frontier, leaf_hash

__all__ = ["CtLogSource"]

#: Entries read before they are proven and stored.
_PAGE: Final = 4 * TILE
#: Pages asked for at a time, and those on their way or waiting to be stored.
_THREADS, _AHEAD = 4, 6

#: Asked of tiles; some logs pack them unasked.
_HEADERS: Final = {"Accept-Encoding": "gzip, identity"}


class CtLogSource(Source):
    """Certificates of your domains from a Certificate Transparency log itself (RFC 6962, or tiles).

    Of each entry for a name at or below one of the domains, the certificate or precertificate is kept, known
    from the time in the entry on, which is that of its SCT. The others are read, hashed and dropped.

    Nothing is kept that the log has not signed: the tree head's signature is checked where the log's key is
    given, and after each page of 1,024 entries the root is computed from what was read and what the log says
    of the rest (an audit path, or hash tiles): it must be the one that is signed. A precertificate, which the
    tree does not cover, must agree with the entry, which it does. The next import goes on where the last one
    ended, and begins with the proof that the tree has only grown since.

    Parameters
    ----------
    url : str
        The log's address: what ``ct/v1/`` or, with tiles, ``checkpoint`` is added to.
    domains : sequence of str
        Which domains to keep; ``*`` keeps everything.
    key : path or str, optional
        The log's public key: a file (PEM or DER), or base64 as lists of logs give it.
    kind : {"auto", "rfc6962", "static"}
        How to ask. ``"auto"`` takes tiles if there is a checkpoint.
    start : int, optional
        The first entry of the first import. Default: the beginning.
    limit : int, optional
        Entries to read at most.
    partial : bool
        Read also the last tile while it is not full. By default it is left to a later import: until it is
        full, or until an import finds it not full for the second time.
    ca_file : path, optional
        Authorities to trust for the connection instead of the system's.
    clock : callable
        No entry is known later than now.
    """

    name = "ctlog"

    def __init__(
        self,
        url: str,
        *,
        domains: tuple[str, ...] = (),
        key: Path | str | None = None,
        kind: Literal["auto", "rfc6962", "static"] = "auto",
        start: int | None = None,
        limit: int | None = None,
        partial: bool = False,
        ca_file: Path | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self.url = url
        self.domains = domains
        self.key = key
        self.kind = kind
        self.start = start
        self.limit = limit
        self.partial = partial
        self.ca_file = ca_file
        self.clock = clock

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:
        """Yield a batch of certificates for each page of the log.

        Raises
        ------
        InputError
            If no domains are named, or the key cannot be read.
        SourceError
            If the log cannot be reached, answers with something else, has another key, or shows different
            trees.
        """
        wanted = Wanted(self.domains)
        log = self._log()
        head = log.head()
        place = f"{log.url} {wanted}"
        state = marks.get(place)
        if state is None:
            read, end = self._begin(log, head), log.settled(head)
        else:
            read, earlier = _from_state(state)
            self._check_growth(log, head, earlier)
            # In a quiet log, a tile that was not full last time either would wait for ever.
            end = head.size if earlier.size > log.settled(head) else log.settled(head)
        if self.partial:
            end = head.size
        if self.limit is not None:
            end = min(end, read.size + self.limit)

        if read.size >= end:
            self._prove(log, head, read)
            now = _state(read, head)
            yield Batch(skipped=1) if now == state else Batch(marks=[Mark(place, now)])
            return
        for entries in _pages(log, head, read.size, end):
            first = read.size
            for entry in entries:
                read.append(leaf_hash(entry.leaf))
            self._prove(log, head, read)
            batch = matches(entries, wanted, f"{self.url}#", first, self.clock())
            batch.marks.append(Mark(place, _state(read, head)))
            yield batch

    def _log(self) -> Log:
        key = None if self.key is None else LogKey(self.key)
        service = Service(self.url, headers=_HEADERS, ca_file=self.ca_file)
        kind = self.kind
        if kind == "auto":
            kind = "static" if _has_checkpoint(service) else "rfc6962"
        return StaticLog(service, key) if kind == "static" else Rfc6962Log(service, key)

    def _begin(self, log: Log, head: Head) -> Frontier:
        start = self.start or 0
        if not 0 <= start <= head.size:
            raise InputError(f"start {start} is none of the log's {head.size:,} entries")
        return log.frontier(head, start)

    def _check_growth(self, log: Log, head: Head, earlier: Head) -> None:
        if head.size < earlier.size:
            raise SourceError(
                f"{log.url} has {head.size:,} entries now, but had {earlier.size:,} before: it takes back"
                " what it signed (a rollback), or the server that answered lags behind; try later"
            )
        if head != earlier and not log.follows(head, earlier):
            raise SourceError(
                f"{log.url} has signed a tree of {head.size:,} entries that does not go on from the one of"
                f" {earlier.size:,} that it signed before (a split view, or a rewritten log): do not trust it"
            )

    def _prove(self, log: Log, head: Head, read: Frontier) -> None:
        if not log.contains(head, read):
            raise SourceError(
                f"{log.url} has signed a tree of {head.size:,} entries that does not contain the"
                f" {read.size:,} that it gave, so nothing of this page is kept: do not trust it, or what lies"
                " between"
            )


def _pages(log: Log, head: Head, start: int, end: int) -> Iterator[list[Entry]]:
    """Give the pages in order, with several on their way at once."""
    starts = iter(range(start - start % TILE, end, _PAGE))
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="ctlog") as pool:
        under_way: deque[Future[list[Entry]]] = deque()
        try:
            while True:
                while len(under_way) < _AHEAD and (first := next(starts, None)) is not None:
                    page = max(first, start), min(first + _PAGE, end)
                    under_way.append(pool.submit(log.entries, head, *page))
                if not under_way:
                    return
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()


def _has_checkpoint(service: Service) -> bool:
    try:
        note = service.get("checkpoint").content
    except SourceError:
        return False
    return "\n\n— ".encode() in note


def _state(read: Frontier, head: Head) -> str:
    """Write down what was read, and the newest tree that the log has signed."""
    return json.dumps(
        {
            "next": read.size,
            "nodes": [node.hex() for node in read.nodes],
            "tree_size": head.size,
            "root": head.root.hex(),
        }
    )


def _from_state(state: str) -> tuple[Frontier, Head]:
    held = json.loads(state)
    nodes = [bytes.fromhex(node) for node in held["nodes"]]
    return Frontier(held["next"], nodes), Head(held["tree_size"], bytes.fromhex(held["root"]))
