"""Certificate Transparency itself: the logs."""

import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal

from certforecast.clock import Clock, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.names import normalise_name
from certforecast.history.sources import NO_MARKS, Batch, Mark, Marks, Rejected, Source, Whole
from certforecast.history.sources.ct_entries import Entry, Head, LogKey, load_key
from certforecast.history.sources.ct_logs import TILE, Log, Rfc6962Log, StaticLog
from certforecast.history.sources.http import Service
from certforecast.history.sources.merkle import Frontier, leaf_hash
from certforecast.history.x509 import parse

__all__ = ["CtLogSource"]

#: Entries read before they are confirmed and stored.
_PAGE: Final = 4 * TILE
#: Pages asked for at a time, and those asked for ahead.
_THREADS, _AHEAD = 4, 6


class CtLogSource(Source):
    """Certificates of your domains from a Certificate Transparency log itself (RFC 6962, or tiles).

    Of each entry for a name at or below one of the domains, the certificate or precertificate is kept, known
    from the time in the entry on, which is that of its SCT. The others are read, hashed and dropped.

    Nothing is kept that the log has not signed: the tree head's signature is checked where the log's key is
    given, and after each page of 1,024 entries it is proven that the signed tree contains exactly what was
    read (RFC 9162, section 2.1.4; with tiles, the root is computed anew). The next import goes on where the
    last one ended, and so proves also that the log has only grown.

    Parameters
    ----------
    url : str
        The log's address: what ``ct/v1/`` or, with tiles, ``checkpoint`` is added to.
    domains : sequence of str
        Which domains to keep; ``*`` keeps everything.
    key : path or str, optional
        The log's public key: a file (PEM or DER), or base64 as lists of logs give it.
    kind : {"auto", "rfc6962", "static"}
        How to ask. ``"auto"`` tries the checkpoint first.
    start : int, optional
        The first entry of the first import. Default: the beginning.
    limit : int, optional
        Entries to read at most.
    partial : bool
        Read also the last tile, which is not full yet. It is fetched again with every import until it is.
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
            If the log cannot be reached, answers with something else, or shows different trees.
        """
        wanted = _Wanted.of(self.domains)
        log = self._log()
        head = log.head()
        place = f"{log.url} {' '.join(wanted.domains) or '*'}"
        read = self._begin(log, head, marks.get(place))
        end = head.size
        if isinstance(log, StaticLog) and not self.partial:
            end -= end % TILE  # partial tiles cost the log most: they are left until they are full
        if self.limit is not None:
            end = min(end, read.size + self.limit)
        if read.size >= end:
            log.confirm(head, read)
            return
        for entries in _pages(log, read.size, end):
            first = read.size
            for entry in entries:
                read.append(leaf_hash(entry.leaf))
            log.confirm(head, read)
            batch = self._batch(entries, first, wanted)
            batch.marks.append(Mark(place, _state(read)))
            yield batch

    def _log(self) -> Log:
        service = Service(self.url, ca_file=self.ca_file)
        key = self._key()
        if self.kind != "auto":
            return (StaticLog if self.kind == "static" else Rfc6962Log)(service, key)
        try:
            service.get("checkpoint")
        except SourceError:
            return Rfc6962Log(service, key)
        return StaticLog(service, key)

    def _key(self) -> LogKey | None:
        if self.key is None:
            return None
        try:
            return load_key(
                Path(self.key).read_bytes() if Path(self.key).exists() else str(self.key).encode()
            )
        except OSError as error:
            raise InputError(f"key of the log, {self.key}, cannot be read: {error.strerror}") from error

    def _begin(self, log: Log, head: Head, state: str | None) -> Frontier:
        if state is None:
            start = self.start or 0
            if start > head.size:
                raise InputError(f"start {start} lies beyond the log's {head.size:,} entries")
            return log.frontier(start)
        read = _frontier(state)
        if read.size > head.size:
            raise SourceError(
                f"{log.url} has {head.size:,} entries now, but had {read.size:,} before: logs only grow, so"
                " this is another log or one that takes back what it signed"
            )
        return read

    def _batch(self, entries: list[Entry], first: int, wanted: "_Wanted") -> Batch:
        batch, now = Batch(), self.clock()
        names = parse([entry.der for entry in entries], workers=1).select(["names", "reason"]).to_pylist()
        for number, (entry, read) in enumerate(zip(entries, names, strict=True), start=first):
            position = f"{self.url}#{number}"
            if entry.logged_at is None:
                batch.rejected.append(Rejected(position, entry.reason or ""))
            elif read["reason"] is not None:
                # Only of what is ours can be said that it is missing, and nobody knows whose this is.
                if wanted.named_in(entry.der):
                    batch.rejected.append(Rejected(position, read["reason"]))
            elif wanted.holds(read["names"]):
                batch.wholes.append(Whole(entry.der, min(entry.logged_at, now), position))
        return batch


class _Wanted:
    """The domains whose certificates are kept."""

    def __init__(self, domains: tuple[str, ...]) -> None:
        self.domains = domains
        self._below = tuple(f".{domain}" for domain in domains)

    @classmethod
    def of(cls, domains: tuple[str, ...]) -> "_Wanted":
        if not domains:
            raise InputError(
                "no domains are named: give domains=example.org,example.com, or domains=* for the whole log"
            )
        return cls(() if "*" in domains else tuple(sorted({normalise_name(one) for one in domains})))

    def holds(self, names: list[str]) -> bool:
        """Tell whether one of the names is at or below one of the domains."""
        return not self.domains or any(name in self.domains or name.endswith(self._below) for name in names)

    def named_in(self, der: bytes) -> bool:
        """Tell whether one of the domains stands somewhere in bytes that cannot be read."""
        return not self.domains or any(domain.encode() in der.lower() for domain in self.domains)


def _pages(log: Log, start: int, end: int) -> Iterator[list[Entry]]:
    """Give the pages in order, with several on their way at once."""
    starts = iter(range(start - start % TILE, end, _PAGE))
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="ctlog") as pool:
        under_way: deque[Future[list[Entry]]] = deque()
        try:
            while True:
                while len(under_way) < _AHEAD and (first := next(starts, None)) is not None:
                    under_way.append(pool.submit(log.entries, max(first, start), min(first + _PAGE, end)))
                if not under_way:
                    return
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()


def _state(read: Frontier) -> str:
    return json.dumps({"size": read.size, "nodes": [node.hex() for node in read.nodes]})


def _frontier(state: str) -> Frontier:
    held: dict[str, Any] = json.loads(state)
    return Frontier(held["size"], [bytes.fromhex(node) for node in held["nodes"]])
