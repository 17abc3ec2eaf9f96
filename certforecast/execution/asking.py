"""Asking CAs when the certificates in use should be renewed, and storing what they say."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from certforecast.clock import Clock, as_utc, system_clock
from certforecast.errors import ExecutionError
from certforecast.execution.issuers import open_issuer
from certforecast.execution.issuers.suggestions import Suggesting, Suggestion
from certforecast.execution.placing import known_certid
from certforecast.history.names import host_of
from certforecast.history.sources import Batch
from certforecast.planning.asking import asked
from certforecast.planning.places import hosts, tools
from certforecast.renewals import renewals
from certforecast.renewals.ari import Asked, moment_in
from certforecast.settings import Settings

if TYPE_CHECKING:
    from certforecast.history.store import History

__all__ = ["Answers", "Told", "ask"]

_SOURCE: Final = "ari"
_ABREAST: Final = 8


@dataclass(frozen=True, slots=True)
class Told:
    """What a CA says about one certificate in use.

    Attributes
    ----------
    name, fingerprint, issuer : str
    window : Asked or None
        When to renew it; None if the CA does not say, and never did.
    early : bool
        Whether that is before it would be due, as before a revocation.
    fresh : bool
        Whether the CA was asked now, and not before its last answer allows.
    ask_again : datetime
        When.
    problem : str or None
        Why the last answer has no window.
    """

    name: str
    fingerprint: str
    issuer: str
    window: Asked | None
    early: bool
    fresh: bool
    ask_again: datetime
    problem: str | None


def ask(history: "History", settings: Settings, clock: Clock = system_clock) -> list[Told]:
    """Ask about every certificate in use whose issuer says when to renew (ARI, RFC 9773).

    A server is not asked before it allows (``Retry-After``). New answers become events ``ari_window``: from
    then on renewals are due and planned by them.

    Parameters
    ----------
    history : History
    settings : Settings
        Issuers; ``ari.sqlite`` in the home folder keeps what was answered.
    clock : callable
        Gives the present.

    Returns
    -------
    list of Told
        Early windows first, then by moment; what has none comes last.
    """
    now = clock()
    subjects = list(_subjects(history, settings, now, clock))
    known, answers = asked(history, now), Answers(settings.home / "ari.sqlite")
    told: list[Told] = []
    batch = Batch()

    def answer(subject: _Subject) -> tuple[_Subject, Suggestion, datetime, bool]:
        kept = answers.find(subject.issuer, subject.certid, now)
        if kept is not None:
            return subject, *kept, False
        suggestion = subject.source.suggestion(subject.certid)
        again = clock() + timedelta(seconds=suggestion.retry_after_s)
        return subject, suggestion, again, True

    with ThreadPoolExecutor(_ABREAST) as threads, answers.open():
        for subject, suggestion, again, fresh in threads.map(answer, subjects):
            if fresh:
                answers.keep(subject.issuer, subject.certid, suggestion, again)
            window, before = _window(subject, suggestion, settings), known.get(subject.fingerprint)
            if window is not None and (before is None or window.detail != before.detail):
                batch.events.append(_event(subject, window, clock(), settings))
            told.append(_told(subject, window or before, suggestion, again, fresh, settings))
    if batch.events:
        history.append(batch, source=_SOURCE)
    far = datetime.max.replace(tzinfo=UTC)
    return sorted(told, key=lambda one: (not one.early, one.window.moment if one.window else far, one.name))


@dataclass(frozen=True, slots=True)
class _Subject:
    name: str
    names: tuple[str, ...]
    fingerprint: str
    certid: str
    issuer: str
    source: Suggesting
    not_before: datetime
    not_after: datetime


def _subjects(history: "History", settings: Settings, now: datetime, clock: Clock) -> Iterator[_Subject]:
    """Give what is valid, open and not replaced, of issuers that say when to renew."""
    frame = renewals(history, now, settings.policy)
    frame = frame[(frame["outcome"] == "open") & (frame["not_after"] > now) & frame["successor"].isna()]
    certificates = history.tables().at([now]).certificates
    known = certificates.select("fingerprint", "issuer_key_id", "serial").to_pandas()
    certids = {
        str(key): known_certid(key_id, serial)
        for key, key_id, serial in known.itertuples(index=False, name=None)
    }
    described = hosts(history, now)
    sources: dict[str, Suggesting | None] = {}
    for row in frame.sort_values("fingerprint").to_dict("records"):
        issuer, _ = tools(described.get(row["fingerprint"], {}), settings)
        certid = certids.get(row["fingerprint"])
        if issuer is None or certid is None:
            continue
        if issuer not in sources:
            sources[issuer] = _opened(issuer, settings, clock)
        source = sources[issuer]
        if source is not None:
            yield _Subject(
                name=row["name"],
                names=tuple(row["names"]),
                fingerprint=row["fingerprint"],
                certid=certid,
                issuer=issuer,
                source=source,
                not_before=as_utc(row["not_before"].to_pydatetime()),
                not_after=as_utc(row["not_after"].to_pydatetime()),
            )


def _opened(issuer: str, settings: Settings, clock: Clock) -> Suggesting | None:
    try:
        opened: object = open_issuer(issuer, settings, clock)
    except ExecutionError:
        return None  # a plan says so where it matters
    return opened if isinstance(opened, Suggesting) else None


def _window(subject: _Subject, suggestion: Suggestion, settings: Settings) -> Asked | None:
    if suggestion.start is None or suggestion.end is None:
        return None
    moment = moment_in(
        suggestion.start,
        suggestion.end,
        subject.fingerprint,
        not_before=subject.not_before,
        not_after=subject.not_after,
        policy=settings.policy,
    )
    return Asked(suggestion.start, suggestion.end, moment, suggestion.url)


def _early(subject: _Subject, window: Asked, settings: Settings) -> bool:
    return window.early(subject.not_before, subject.not_after, settings.policy)


def _event(subject: _Subject, window: Asked, at: datetime, settings: Settings) -> dict[str, object]:
    return {
        "at": at,
        "lineage": subject.name,
        "kind": "ari_window",
        "host": host_of(subject.names),
        "code": "early" if _early(subject, window, settings) else None,
        "detail": window.detail,
        "fingerprint": subject.fingerprint,
        "actor": settings.executor.actor,
        "source": _SOURCE,
        "known_at": at,
    }


def _told(
    subject: _Subject,
    window: Asked | None,
    suggestion: Suggestion,
    again: datetime,
    fresh: bool,
    settings: Settings,
) -> Told:
    return Told(
        name=subject.name,
        fingerprint=subject.fingerprint,
        issuer=subject.issuer,
        window=window,
        early=window is not None and _early(subject, window, settings),
        fresh=fresh,
        ask_again=again,
        problem=suggestion.problem,
    )


class Answers:
    """The last answer about each certificate, in a file, so that nobody is asked before it is time.

    Parameters
    ----------
    path : path
        A SQLite database; made on first use. It may be deleted at any time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: dict[tuple[str, str], tuple[Suggestion, datetime]] = {}
        self._new: list[tuple[object, ...]] = []

    @contextmanager
    def open(self) -> Iterator[None]:
        """Read what is kept; write what is new at the end, all of it or nothing."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=30)) as database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS answers (issuer TEXT, certid TEXT, opens REAL, closes REAL, "
                "url TEXT, problem TEXT, again REAL NOT NULL, PRIMARY KEY (issuer, certid))"
            )
            for issuer, certid, start, end, url, problem, again in database.execute("SELECT * FROM answers"):
                first, last = (None if at is None else datetime.fromtimestamp(at, UTC) for at in (start, end))
                self._kept[issuer, certid] = (
                    Suggestion(first, last, url, 0.0, problem),
                    datetime.fromtimestamp(again, UTC),
                )
            try:
                yield
            finally:  # what was asked before something broke need not be asked again
                with database:
                    database.executemany(
                        "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", self._new
                    )

    def find(self, issuer: str, certid: str, now: datetime) -> tuple[Suggestion, datetime] | None:
        """Give the last answer and when to ask again, unless that is over."""
        found = self._kept.get((issuer, certid))
        return found if found is not None and now < found[1] else None

    def keep(self, issuer: str, certid: str, suggestion: Suggestion, again: datetime) -> None:
        """Keep an answer."""
        times = [None if at is None else at.timestamp() for at in (suggestion.start, suggestion.end)]
        self._new.append((issuer, certid, *times, suggestion.url, suggestion.problem, again.timestamp()))
