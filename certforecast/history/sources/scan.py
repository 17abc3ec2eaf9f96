"""A look at TLS endpoints: what each serves now, or why it serves nothing."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Final

from certforecast.clock import Clock, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.sources import NO_MARKS, Batch, Marks, Rejected, Source
from certforecast.history.sources.batching import BATCH_SIZE
from certforecast.history.sources.endpoints import Endpoint, parse_endpoints
from certforecast.history.sources.handshake import Contexts, Look, look
from certforecast.history.x509 import certificate_row, fingerprint

__all__ = ["Endpoint", "ScanSource", "scan"]

#: Called with the number of endpoints done.
Progress = Callable[[int], None]

_NAME: Final = "scan"
_CONCURRENCY: Final = 64
_TIMEOUT_S: Final = 5.0


async def scan(
    endpoints: Iterable[Endpoint | str],
    *,
    concurrency: int = _CONCURRENCY,
    timeout_s: float = _TIMEOUT_S,
    ca_file: Path | str | None = None,
    clock: Clock = system_clock,
    progress: Progress | None = None,
) -> Batch:
    """Look at endpoints, many at a time.

    Each gets exactly one observation: with the fingerprint of the leaf it served and what a careful client
    makes of it (`chain_status`), or with the kind of error. A slow or dead endpoint holds up no other.

    Parameters
    ----------
    endpoints : iterable of Endpoint or str
        Where to look; strings as :meth:`Endpoint.parse` reads them.
    concurrency : int
        How many endpoints are looked at at once.
    timeout_s : float
        Seconds for each stage: resolving the name, connecting, handshake. An endpoint whose certificate
        or TLS is refused is asked a second time, without verification, for its leaf.
    ca_file : path or str, optional
        PEM certificates of authorities to trust beside those of the system.
    clock : callable
        Gives the time of each observation.
    progress : callable, optional
        Called with the number of endpoints done, after each.

    Returns
    -------
    Batch
        `observations` in the order of the endpoints, `certificates` once each, and as `rejected` the leaves
        that cannot be read.

    Raises
    ------
    InputError
        If a limit is not positive, an endpoint is malformed, or `ca_file` cannot be read.

    Examples
    --------
    >>> batch = await scan(["www.example.org", "192.0.2.7:8443"])  # doctest: +SKIP
    """
    if concurrency < 1 or timeout_s <= 0:
        raise InputError(f"concurrency ({concurrency}) and timeout_s ({timeout_s}) must be positive")
    places = [Endpoint.parse(place) if isinstance(place, str) else place for place in endpoints]
    contexts = Contexts.load(ca_file)
    looks: dict[int, tuple[datetime, Look]] = {}
    pending = iter(enumerate(places))
    resolvers = ThreadPoolExecutor(concurrency, thread_name_prefix="resolve")

    async def work() -> None:
        for index, place in pending:  # shared: whoever is free takes the next
            seen = await look(place, contexts, timeout_s=timeout_s, resolvers=resolvers, clock=clock)
            looks[index] = clock(), seen
            if progress:
                progress(len(looks))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(places))):
                group.create_task(work())
    finally:
        resolvers.shutdown(wait=False, cancel_futures=True)  # a look-up may hang far beyond our time
    return _batch([(place, *looks[index]) for index, place in enumerate(places)])


class ScanSource(Source):
    """TLS endpoints, looked at now.

    Parameters
    ----------
    endpoints : path, str, or iterable of str
        The endpoints, or the file that lists them, one a line with ``#`` for comments. Each is ``HOST``,
        ``HOST:PORT`` or ``[IPV6]:PORT``, with ``=SERVERNAME`` after it to ask for another name than HOST.
    concurrency, timeout_s, ca_file, clock, progress
        See :func:`scan`.
    """

    name = _NAME

    def __init__(
        self,
        endpoints: Path | str | Iterable[str],
        *,
        concurrency: int = _CONCURRENCY,
        timeout_s: float = _TIMEOUT_S,
        ca_file: Path | str | None = None,
        clock: Clock = system_clock,
        progress: Progress | None = None,
    ) -> None:
        self.endpoints = endpoints if isinstance(endpoints, Path | str) else tuple(endpoints)
        self.concurrency = concurrency
        self.timeout_s = timeout_s
        self.ca_file = ca_file
        self.clock = clock
        self.progress = progress

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:  # noqa: ARG002
        """Yield batches of observations and certificates. Works under a running event loop too.

        Raises
        ------
        SourceError
            If the list is missing, or lists nothing.
        InputError
            As :func:`scan` does.
        """
        places: list[Endpoint] = []
        malformed: list[Rejected] = []
        for entry in self._entries():
            if isinstance(entry, Rejected):
                malformed.append(entry)
            else:
                places.append(entry)
        if not places and not malformed:
            raise SourceError(f"{self._called()} lists no endpoint; give HOST or HOST:PORT, one a line")
        if malformed:
            yield Batch(rejected=malformed)
        for start in range(0, len(places), BATCH_SIZE):
            yield self._scan(places[start : start + BATCH_SIZE], start)

    def _called(self) -> str:
        return str(self.endpoints) if isinstance(self.endpoints, Path | str) else "endpoints"

    def _entries(self) -> Iterator[Endpoint | Rejected]:
        if isinstance(self.endpoints, tuple):
            return parse_endpoints(self.endpoints, "endpoints")
        path = Path(self.endpoints)
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise SourceError(
                f"list of endpoints {path} cannot be read: {error.strerror}; "
                "give a text file, one endpoint a line"
            ) from error
        except UnicodeDecodeError as error:
            raise SourceError(
                f"list of endpoints {path} is not text: byte {error.start} is not UTF-8; "
                "give one endpoint a line"
            ) from error
        return parse_endpoints(lines, path.name)

    def _scan(self, places: list[Endpoint], start: int) -> Batch:
        progress = self.progress
        work = scan(
            places,
            concurrency=self.concurrency,
            timeout_s=self.timeout_s,
            ca_file=self.ca_file,
            clock=self.clock,
            progress=None if progress is None else lambda done: progress(start + done),
        )
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(work)
        with ThreadPoolExecutor(1) as thread:  # a notebook's loop is running, and cannot wait for itself
            return thread.submit(asyncio.run, work).result()


def _batch(looks: list[tuple[Endpoint, datetime, Look]]) -> Batch:
    batch = Batch()
    found: set[str] = set()
    for place, at, seen in looks:
        digest = None if seen.der is None else fingerprint(seen.der)
        batch.observations.append(
            {
                "observed_at": at,
                "host": place.host,
                "port": place.port,
                "server_name": place.server_name,
                "fingerprint": digest,
                "chain_status": seen.chain_status,
                "error": seen.error,
                "latency_ms": seen.latency_ms,
                "source": _NAME,
                "known_at": at,
            }
        )
        if seen.der is None or digest is None or digest in found:
            continue
        found.add(digest)
        try:
            batch.certificates.append(certificate_row(seen.der, source=_NAME, known_at=at))
        except InputError as error:
            batch.rejected.append(Rejected(str(place), str(error)))
    batch.positions["observations"] = [str(place) for place, _, _ in looks]
    return batch
