"""Prometheus: what its exporters have seen of certificates."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from certforecast.clock import Clock, as_utc, parse_moment, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.sources import NO_MARKS, Batch, Mark, Marks, Rejected, Source
from certforecast.history.sources.answers import json_answer
from certforecast.history.sources.batching import Found, Skipped, batches
from certforecast.history.sources.exports import excerpt, items, look, state, text_of
from certforecast.history.sources.http import Service
from certforecast.history.sources.metrics_places import CertManagers, Files, Traefiks
from certforecast.history.sources.metrics_probes import Probes
from certforecast.history.sources.metrics_series import (
    Series,
    moment,
    parse_answer,
    parse_duration,
    parse_matcher,
)
from certforecast.history.sources.metrics_watch import Family, Watch
from certforecast.history.sources.tokens import read_token

__all__ = ["MetricsSource"]

_FAMILIES: Final[dict[str, type[Family]]] = {
    "blackbox": Probes,
    "x509": Files,
    "certmanager": CertManagers,
    "traefik": Traefiks,
}
_WHAT: Final = "answers of Prometheus to range queries, JSON"
#: The most samples a series that Prometheus gives in one answer (``web/api/v1/api.go``).
_MOST_POINTS: Final = 11_000
#: How far back the first import asks, unless told. Most servers keep less.
_BACK: Final = timedelta(days=366)

Finds = Iterator[Found | Rejected | Mark | Skipped]


class MetricsSource(Source):
    """What exporters of Prometheus saw of certificates: its API, or a saved answer.

    These are the blackbox exporter, x509-certificate-exporter, cert-manager and Traefik. A Prometheus, or
    anything with its API, is asked by range queries for all that is new since the last import; a file holds
    saved answers to such queries, one or more. A sample counts as known from its own time on.

    Of samples that say the same again, one in `heartbeat_hours` is kept: a certificate in service for a year
    is a few rows a day; each change, each failure and each return after silence is a row. Where there is no
    sample there was no look.

    Parameters
    ----------
    place : path or str
        The address, such as ``http://prometheus.example:9090``, or the file.
    start, end : datetime, optional
        The time to ask for. By default, from where the last import ended, or a year ago, until now.
    step : str
        From one sample to the next, as ``1h``. Shorter steps see shorter failures and cost more.
    labels : str or tuple of str
        Conditions on labels that all series must fulfil, such as ``job=blackbox`` or ``env=~"prod|stage"``.
    only : tuple of str
        Which of ``blackbox``, ``x509``, ``certmanager``, ``traefik`` to read; all by default.
    heartbeat_hours : float
        Of samples that say the same again, one in so many hours is kept.
    every : bool
        Whether to keep every sample.
    points : int
        The most samples a series in one answer, at most 11,000. Fewer are easier for a busy server.
    token_file : path, optional
        Holds a bearer token.
    ca_file : path, optional
        PEM certificates of the authorities to trust instead of the system's.
    timeout_s : float
        Seconds of silence after which a try is given up.
    clock : callable
        Gives the present.
    """

    name = "metrics"

    def __init__(
        self,
        place: Path | str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        step: str = "1h",
        labels: str | tuple[str, ...] = (),
        only: tuple[str, ...] = (),
        heartbeat_hours: float = 6.0,
        every: bool = False,
        points: int = 1000,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        timeout_s: float = 60.0,
        clock: Clock = system_clock,
    ) -> None:
        self.place = place
        self.start = start
        self.end = end
        self.step = step
        self.labels = labels
        self.only = only
        self.heartbeat_hours = heartbeat_hours
        self.every = every
        self.points = points
        self.token_file = token_file
        self.ca_file = ca_file
        self.timeout_s = timeout_s
        self.clock = clock

    @classmethod
    def recognises(cls, path: Path) -> str | None:
        """Say that a file holds answers of Prometheus with metrics of certificates."""
        beginning = look(path)
        known = (metric for family in _FAMILIES.values() for metric in family.metrics)
        if '"matrix"' in beginning and any(f'"{metric}"' in beginning for metric in known):
            return "answers of Prometheus, JSON"
        return None

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:
        """Yield batches of observations, certificates and events.

        Raises
        ------
        SourceError
            If the address cannot be reached or refuses, or the file is missing or holds no answers.
        InputError
            If an option does not fit.
        """
        if not 0 < self.heartbeat_hours < 1e6:
            raise InputError(f"heartbeat_hours is {self.heartbeat_hours}; it must be positive")
        if unknown := set(self.only) - set(_FAMILIES):
            raise InputError(f"only cannot be {', '.join(sorted(unknown))}; it may be {', '.join(_FAMILIES)}")
        if str(self.place).startswith(("http://", "https://")):
            for page in self._live(str(self.place), marks):
                yield from batches(page)
        else:
            yield from batches(self._file(Path(self.place), marks))

    def _chosen(self) -> dict[str, type[Family]]:
        return {name: family for name, family in _FAMILIES.items() if name in (self.only or _FAMILIES)}

    def _watch(self, step_ms: int, after_ms: int = -1) -> Watch:
        heartbeat_ms = max(1, round(self.heartbeat_hours * 3_600_000))
        return Watch(step_ms=step_ms, heartbeat_ms=heartbeat_ms, every=self.every, after_ms=after_ms)

    def _file(self, path: Path, marks: Marks) -> Finds:
        now = state(path)
        if marks.get(str(path)) == now:
            yield Skipped(str(path))
            return
        series = list[Series]()
        answers = 0
        for position, item in items(text_of(path, _WHAT), path, _WHAT):
            try:
                if isinstance(item, InputError):
                    raise item
                for find in parse_answer(item, position, self.clock()):
                    if isinstance(find, Rejected):
                        yield find
                    else:
                        series.append(find)
                answers += 1
            except InputError as error:
                yield Rejected(position, str(error), excerpt(item))
        if not answers:
            raise SourceError(f"{path} holds no answer of Prometheus to a range query; give {_WHAT}")
        step_ms = _usual_step(series)
        for family in self._chosen().values():
            told = family(self._watch(step_ms), self.name)
            yield from told.finds([one for one in series if one.metric in family.metrics])
        yield Mark(str(path), now)

    def _live(self, address: str, marks: Marks) -> Iterator[Finds]:
        if not 1 <= self.points <= _MOST_POINTS:
            raise InputError(f"points is {self.points}; Prometheus gives 1 to {_MOST_POINTS} in an answer")
        labels = [self.labels] if isinstance(self.labels, str) else self.labels
        matchers = ",".join(parse_matcher(label) for label in labels)
        token = read_token(self.token_file)
        service = Service(address, token=token, ca_file=self.ca_file, timeout_s=self.timeout_s)
        step = parse_duration(self.step)
        end = self.clock() if self.end is None else min(as_utc(self.end), self.clock())
        last = _milliseconds(end) // step * step
        for name, family in self._chosen().items():
            place = f"{service.url} {name} {{{matchers}}}"
            after = _marked(marks, place)
            start = end - _BACK if self.start is None else as_utc(self.start)
            # On the grid of the step, so that every import asks for the same moments. The last moment of the
            # import before is asked for again: it tells what was then the case.
            first = max(-(-_milliseconds(start) // step) * step, after // step * step)
            told = family(self._watch(step, after), self.name)
            if first > last or after >= last:
                yield iter([Skipped(place)])
                continue
            if family.index:
                for known in self._known(service, f"{family.index}{{{matchers}}}", first, last):
                    told.know(known)
            for begin in range(first, last + 1, self.points * step):
                finish = min(begin + (self.points - 1) * step, last)
                yield self._page(service, told, matchers, (begin, finish, step), place)

    def _page(
        self, service: Service, told: Family, matchers: str, times: tuple[int, int, int], place: str
    ) -> Finds:
        begin, finish, step = times
        series = list[Series]()
        for metric in told.metrics:
            query = f"{metric}{{{matchers}}}"
            parameters = {"query": query, "start": begin / 1000, "end": finish / 1000, "step": step / 1000}
            answer = _ask(service, "api/v1/query_range", parameters, query)
            try:
                for find in parse_answer(answer, query, self.clock()):
                    if isinstance(find, Rejected):
                        yield find
                    else:
                        series.append(find)
            except InputError as error:
                raise SourceError(f"{service.url}: {error}; check the address") from error
        yield from told.finds(series)
        yield Mark(place, moment(finish).isoformat())

    def _known(self, service: Service, selector: str, first: int, last: int) -> Iterator[dict[str, str]]:
        """List the series that there were, also before `first`: a target may be down all the time since."""
        parameters = {"match[]": selector, "start": (first - _span()) / 1000, "end": last / 1000}
        answer = _ask(service, "api/v1/series", parameters, selector)
        found = answer.get("data") if isinstance(answer, dict) else None
        for labels in found if isinstance(found, list) else ():
            if isinstance(labels, dict) and all(isinstance(value, str) for value in labels.values()):
                yield labels


def _ask(service: Service, path: str, parameters: dict[str, Any], query: str) -> Any:
    try:
        return json_answer(service, path, parameters)
    except SourceError as error:
        advice = "if it asks for too much, give fewer points, a longer step, a later start, or labels"
        raise SourceError(f"{query}: {error}; {advice}") from error


def _milliseconds(time: datetime) -> int:
    return max(0, int(time.timestamp() * 1000))


def _span() -> int:
    return int(_BACK.total_seconds() * 1000)


def _marked(marks: Marks, place: str) -> int:
    try:
        return _milliseconds(parse_moment(marks[place]))
    except (KeyError, ValueError):
        return -1


def _usual_step(series: list[Series]) -> int:
    """Find the usual time between samples: the median."""
    steps = sorted(
        later - earlier for one in series for earlier, later in zip(one.times, one.times[1:], strict=False)
    )
    return steps[len(steps) // 2] if steps else 1
