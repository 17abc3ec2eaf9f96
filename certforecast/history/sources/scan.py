"""A look at TLS endpoints: what each serves now, or why it serves nothing."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from certforecast.clock import Clock, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.sources import NO_MARKS, Batch, Marks, Rejected, Source, Whole
from certforecast.history.sources.crowd import work_off
from certforecast.history.sources.endpoints import Endpoint, parse_endpoints
from certforecast.history.sources.handshake import Look, lenient_context, look
from certforecast.history.sources.trust import Trust, chain_status
from certforecast.history.x509 import fingerprint, parse

__all__ = ["Endpoint", "ScanSource", "scan"]

#: Called with the number of endpoints done.
Progress = Callable[[int], None]

_NAME: Final = "scan"
_CONCURRENCY: Final = 64
_TIMEOUT_S: Final = 5.0
#: Endpoints looked at before what they showed is judged and stored. That competes with the looks that go on
#: for Python's lock, so it comes seldom.
_BATCH: Final = 5000


def scan(
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
        Seconds for each stage: resolving the name, connecting, asking for TLS, handshake.
    ca_file : path or str, optional
        PEM certificates of authorities to trust beside those of the system.
    clock : callable
        Gives the time of each observation.
    progress : callable, optional
        Called with the number of endpoints done, after each.

    Returns
    -------
    Batch
        `observations` in the order of the endpoints, and the leaves they served as `wholes`, once each.

    Raises
    ------
    InputError
        If a limit is not positive, an endpoint is malformed, or `ca_file` cannot be read.

    Examples
    --------
    >>> batch = scan(["www.example.org", "192.0.2.7:8443", "smtp://mail.example.org"])  # doctest: +SKIP
    """
    places = [Endpoint.parse(place) if isinstance(place, str) else place for place in endpoints]
    trust = Trust(ca_file)
    seen = dict[int, _Seen]()
    for some in _look_at(places, concurrency, timeout_s, clock):
        for place, one in some:
            seen[place] = one
            if progress:
                progress(len(seen))
    return _batch([one for _, one in sorted(seen.items())], trust)


class ScanSource(Source):
    """Live TLS endpoints, also those that begin with STARTTLS: what each serves now.

    Parameters
    ----------
    endpoints : path, str, or iterable of str
        The endpoints, or the file that lists them, one a line with ``#`` for comments. Each is ``HOST``,
        ``HOST:PORT`` or ``[IPV6]:PORT``, with ``=SERVERNAME`` after it to ask for another name than HOST and
        a protocol before it (``smtp://mail.example.org``) that begins without TLS.
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
        """Yield batches of observations and certificates.

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
        trust = Trust(self.ca_file)
        done, waiting = 0, list[_Seen]()
        for some in _look_at(places, self.concurrency, self.timeout_s, self.clock):
            waiting += [seen for _, seen in some]
            done += len(some)
            if self.progress:
                self.progress(done)
            if len(waiting) >= _BATCH or done == len(places):
                yield _batch(waiting, trust)
                waiting = []

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


@dataclass(frozen=True, slots=True)
class _Seen:
    """One look: where, when, and what."""

    place: Endpoint
    at: datetime
    look: Look


def _look_at(
    places: list[Endpoint], concurrency: int, timeout_s: float, clock: Clock
) -> Iterator[list[tuple[int, _Seen]]]:
    """Look at endpoints, and give what was seen as it comes, with the endpoints' places in the list."""
    if concurrency < 1 or timeout_s <= 0:
        raise InputError(f"concurrency ({concurrency}) and timeout_s ({timeout_s}) must be positive")
    context = lenient_context()
    resolvers = ThreadPoolExecutor(concurrency, thread_name_prefix="resolve")

    def see(place: Endpoint) -> _Seen:
        seen = look(place, context, timeout_s=timeout_s, resolvers=resolvers)
        return _Seen(place, clock(), seen)

    try:
        yield from work_off(see, places, most=concurrency)
    finally:
        resolvers.shutdown(wait=False, cancel_futures=True)  # a look-up may hang far beyond our time


def _batch(found: list[_Seen], trust: Trust) -> Batch:
    leaves = {seen.look.chain[0]: seen for seen in reversed(found) if seen.look.chain}
    parsed = parse(list(leaves), workers=1).select(["fingerprint", "names", "not_after"]).to_pylist()
    known: dict[bytes, dict[str, Any]] = dict(zip(leaves, parsed, strict=True))
    batch = Batch(wholes=[Whole(leaf, one.at, str(one.place), served=True) for leaf, one in leaves.items()])
    batch.observations = [
        {
            "observed_at": seen.at,
            "host": seen.place.host,
            "port": seen.place.port,
            "server_name": seen.place.server_name,
            "fingerprint": None,
            "chain_status": None,
            "error": seen.look.error,
            "latency_ms": seen.look.latency_ms,
            "source": _NAME,
            "known_at": seen.at,
            **_served(seen, known, trust),
        }
        for seen in found
    ]
    batch.positions["observations"] = [str(seen.place) for seen in found]
    return batch


def _served(seen: _Seen, known: dict[bytes, dict[str, Any]], trust: Trust) -> dict[str, str]:
    if not seen.look.chain:
        return {}
    der = seen.look.chain[0]
    leaf = known[der]
    if leaf["fingerprint"] is None:  # the store sets it aside, and says why
        return {"fingerprint": fingerprint(der)}
    row = {"fingerprint": leaf["fingerprint"]}
    if seen.look.error is None:
        row["chain_status"] = chain_status(
            trust.verdict(seen.look.chain), seen.place.server_name, leaf["names"], leaf["not_after"], seen.at
        )
    return row
