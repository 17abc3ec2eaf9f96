"""What certbot's log tells: orders, failed challenges, failures and their causes.

Most lines carry no lineage. It is taken from those that do (``Processing .../NAME.conf``, ``Writing
certificate to .../NAME/...``, ``Failed to renew certificate NAME``) and holds for the attempt around them.
The CA's answers are logged whole, so what it refuses is read from ACME objects (RFC 8555, sections 6.7 and
7.1) and not from prose.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Any, Final

from certforecast.history.sources.certbot_log_records import Record

__all__ = ["LogEvent", "LogReader"]

#: The longest detail of an event, in characters.
_DETAIL: Final = 300

_PROBLEM: Final = re.compile(r"urn:(?:ietf:params:)?acme:error:(\w{1,40})")
_EXCEPTION: Final = re.compile(r"(?:\w+\.)*([A-Z]\w*)(?:: (.*))?")

#: Causes that are no ACME problems, by the exception that certbot ended with; others go by its name.
_CAUSES: Final = {
    "ConnectionError": "unreachable",
    "ProxyError": "unreachable",
    "SSLError": "unreachable",
    "ConnectTimeout": "timeout",
    "ReadTimeout": "timeout",
    "Timeout": "timeout",
    "TimeoutError": "timeout",
    "ConfigurationError": "config",
    "MisconfigurationError": "config",
    "PluginSelectionError": "config",
    "StandaloneBindError": "http_port",
    "NoInstallationError": "plugin",
    "PluginError": "plugin",
}

#: RFC 5280, section 5.3.1; those that certbot knows.
_REASONS: Final = {
    "0": "unspecified",
    "1": "keyCompromise",
    "3": "affiliationChanged",
    "4": "superseded",
    "5": "cessationOfOperation",
}


@dataclass(frozen=True, slots=True)
class LogEvent:
    """Something that the log tells.

    Attributes
    ----------
    position : str
        Where it stood.
    at : datetime
        When it was logged.
    kind : str
        One of the event kinds of the schema.
    lineage : str or None
        certbot's name, if the log gives it. Without it, there are `names`.
    names : tuple of str
        What a certificate was asked for, as far as the log says, in certbot's order.
    host : str or None
        The name that failed, where it is one of several.
    code, detail : str or None
        The cause.
    """

    position: str
    at: datetime
    kind: str
    lineage: str | None = None
    names: tuple[str, ...] = ()
    host: str | None = None
    code: str | None = None
    detail: str | None = None


@dataclass(slots=True)
class _Attempt:
    """One lineage's turn in a run."""

    lineage: str | None = None
    names: tuple[str, ...] = ()
    meant: bool = False  # a certificate was asked for, so that an error is a failed order
    issued: bool = False
    reloading: bool = False
    refused: str | None = None  # the kind of the first problem with a challenge
    failure: LogEvent | None = None
    found: list[LogEvent] = field(default_factory=list)


class LogReader:
    """Reads the records of one or more log files, in the order of time.

    Parameters
    ----------
    timezone : tzinfo
        Of the log's times, in runs that hold no answer of a CA. In others the answer's own ``Date`` tells how
        far the log's clock is from UTC, to the quarter of an hour.
    """

    def __init__(self, timezone: tzinfo) -> None:
        self._timezone = timezone
        self.forget()

    def forget(self) -> None:
        """Begin anew: what comes next does not go on with what came before."""
        self._attempt = _Attempt()
        self._named: str | None = None
        self._dry = False
        self._ahead: timedelta | None = None
        self._done: list[LogEvent] = []
        self._issued: list[_Attempt] = []
        self._revoking: str | None = None
        self._reason: str | None = None

    def read(self, records: Iterable[Record]) -> Iterator[LogEvent]:
        """Give the events of a file. A run that the next file goes on with keeps its lineage."""
        for record in records:
            if record.begins_run:
                yield from self._drain()
                self.forget()
            elif record.logger.startswith("acme"):
                self._hear(record)
            elif record.logger.startswith("certbot"):
                self._follow(record)
        yield from self._drain()

    def _drain(self) -> Iterator[LogEvent]:
        self._end_attempt()
        done, self._done = self._done, []
        if not self._dry:
            yield from (replace(event, at=self._moment(event.at)) for event in done)

    def _moment(self, local: datetime) -> datetime:
        if self._ahead is not None:
            return (local - self._ahead).replace(tzinfo=UTC)
        # In the hour that clocks repeat, the later one: nothing is known too early.
        return local.replace(tzinfo=self._timezone, fold=1).astimezone(UTC)

    def _end_attempt(self) -> None:
        attempt = self._attempt
        lineage = attempt.lineage or self._named
        for event in [*attempt.found, *([attempt.failure] if attempt.failure else [])]:
            if event.lineage or lineage or attempt.names:
                told = replace(event, lineage=event.lineage or lineage, names=attempt.names)
                self._done.append(told)
        attempt.found, attempt.failure = [], None

    def _next_attempt(self, lineage: str | None) -> None:
        self._end_attempt()
        self._attempt = _Attempt(lineage)

    def _add(self, record: Record, kind: str, **more: Any) -> None:
        self._attempt.found.append(LogEvent(record.position, record.at, kind, **more))

    # What the CA says.

    def _hear(self, record: Record) -> None:
        self._attempt.names = record.ordered or self._attempt.names
        if not record.status:
            return
        if self._ahead is None:
            self._ahead = record.ahead
        answer = record.answer
        if record.status == "201" and "identifiers" in answer and "authorizations" in answer:
            self._attempt.meant = True
            self._add(record, "order_created")
        elif answer.get("status") == "invalid" and isinstance(identifier := answer.get("identifier"), dict):
            self._refused(record, identifier.get("value"), _first_problem(answer.get("challenges")))

    def _refused(self, record: Record, host: Any, problem: dict[str, Any] | None) -> None:
        attempt = self._attempt
        told = any(event.kind == "challenge_failed" and event.host == host for event in attempt.found)
        if isinstance(host, str) and problem is not None and not told:
            code = _kind(str(problem.get("type")))
            attempt.refused = attempt.refused or code
            detail = _short(str(problem.get("detail", "")))
            self._add(record, "challenge_failed", host=host, code=code, detail=detail)

    # What certbot says.

    def _follow(self, record: Record) -> None:
        for pattern, act in _ACTS:
            if match := pattern.match(record.message):
                act(self, record, match)
                return

    def _arguments(self, record: Record, _: re.Match[str]) -> None:
        words = record.arguments
        self._dry = "--dry-run" in words
        for word, after in pairwise([*words, ""]):
            if word == "--cert-name":
                self._named = after or None
            elif word.startswith("--cert-name="):
                self._named = word.partition("=")[2] or None

    def _simulating(self, _: Record, __: re.Match[str]) -> None:
        self._dry = True

    def _processing(self, _: Record, match: re.Match[str]) -> None:
        self._next_attempt(match[1])

    def _asking(self, _: Record, match: re.Match[str]) -> None:
        if self._attempt.issued or self._attempt.failure is not None:
            self._next_attempt(None)  # older versions do not say whose turn it is
        self._attempt.meant = True
        if match[1]:
            self._attempt.names = (match[1],)

    def _writing(self, record: Record, match: re.Match[str]) -> None:
        self._attempt.lineage, self._attempt.issued = match[1], True
        self._issued.append(self._attempt)
        self._add(record, "issued")

    def _reloading(self, _: Record, __: re.Match[str]) -> None:
        self._attempt.reloading = True

    def _failed(self, record: Record, match: re.Match[str]) -> None:
        if self._attempt.lineage not in (None, match[1]):
            self._next_attempt(match[1])
        self._attempt.lineage = match[1]
        self._fail(record, match[2], match[2])

    def _trace(self, _: Record, match: re.Match[str]) -> None:
        failure = self._attempt.failure
        if failure is not None and failure.code is None:
            self._attempt.failure = replace(failure, code=self._cause(match[1]))

    def _exiting(self, record: Record, match: re.Match[str]) -> None:
        last = match[1].rstrip().rpartition("\n")[2]
        summary = " renew failure(s), " in last  # of lineages that have been told of
        if self._attempt.meant and self._attempt.failure is None and not summary:
            told = _EXCEPTION.fullmatch(last)
            self._fail(record, (told and told[2]) or last, last)

    def _fail(self, record: Record, detail: str, trace: str) -> None:
        attempt = self._attempt
        if not attempt.issued:
            kind, code = "order_failed", self._cause(trace)
        else:
            kind, code = "reload_failed" if attempt.reloading else "install_failed", "installer"
        attempt.failure = LogEvent(record.position, record.at, kind, code=code, detail=_short(detail))

    def _cause(self, trace: str) -> str | None:
        last = trace.rstrip().rpartition("\n")[2]
        if code := _kind(last) or self._attempt.refused:
            return code
        name = _EXCEPTION.fullmatch(last)
        return _CAUSES.get(name[1], name[1]) if name and name[1].endswith(("Error", "Timeout")) else None

    def _hook(self, record: Record, match: re.Match[str]) -> None:
        hook, detail = match[1] or match[2], f"exit status {match[3]}"
        if hook in ("deploy-hook", "renew-hook"):
            self._add(record, "install_failed", code=hook, detail=detail)
        elif hook == "post-hook":  # runs once, for all that the run issued
            event = LogEvent(record.position, record.at, "install_failed", code=hook, detail=detail)
            self._end_attempt()
            self._done += [replace(event, lineage=one.lineage, names=one.names) for one in self._issued]

    def _broken_configuration(self, record: Record, match: re.Match[str]) -> None:
        detail = _short(record.message)
        self._add(record, "order_failed", lineage=match[1], code="config", detail=detail)

    def _to_revoke(self, _: Record, match: re.Match[str]) -> None:
        self._revoking = match[1]

    def _reason_given(self, _: Record, match: re.Match[str]) -> None:
        self._reason = _REASONS.get(match[1], match[1])

    def _revoked(self, record: Record, _: re.Match[str]) -> None:
        if self._revoking is not None:
            self._add(record, "revoked", lineage=self._revoking, code=self._reason)

    def _deleted(self, record: Record, match: re.Match[str]) -> None:
        self._add(record, "retired", lineage=match[1], detail="certbot delete")


_Act = Callable[[LogReader, Record, re.Match[str]], None]

_TO_PERSON: Final = r"(?:Notifying user: )?(?:[-\s]*\n)?"
_CONFIGURATION: Final = r"[^\n]*?([^/\n]+)\.conf"

#: What is said in the log, and what follows from it; where certbot's wording has changed, the older one too.
_ACTS: Final[tuple[tuple[re.Pattern[str], _Act], ...]] = tuple(
    (re.compile(pattern, re.DOTALL), act)
    for pattern, act in (
        (r"Arguments: \[", LogReader._arguments),
        (rf"{_TO_PERSON}Simulating ", LogReader._simulating),
        (rf"{_TO_PERSON}Processing {_CONFIGURATION}\s*(?:\n|$)", LogReader._processing),
        (
            rf"{_TO_PERSON}(?:Requesting a certificate|Renewing an existing certificate"
            r"|Obtaining a new certificate)(?: for ([^\s,]+))?",
            LogReader._asking,
        ),
        (r"Writing certificate to [^\n]*/(?:archive|live)/([^/\n]+)/cert\d*\.pem\.", LogReader._writing),
        (rf"{_TO_PERSON}Reloading \S+ server after certificate", LogReader._reloading),
        (r"Failed to renew certificate (\S+) with error: (.*)", LogReader._failed),
        (
            r"Attempting to renew cert \((\S+?)\) from \S+ produced an unexpected error: (.*)\. Skipping\.",
            LogReader._failed,
        ),
        (r"Traceback was:\n(.*)", LogReader._trace),
        (r"Exiting abnormally:\n(.*)", LogReader._exiting),
        (r"(?:Hook '([\w-]+)' reported|([\w-]+) command \".*\" returned) error code (\d+)", LogReader._hook),
        (
            rf"Renewal configuration file {_CONFIGURATION}"
            r" (?:is broken|lacks|does not specify|references|\(cert: )",
            LogReader._broken_configuration,
        ),
        (
            rf"An error occurred while parsing {_CONFIGURATION}\. The error was",
            LogReader._broken_configuration,
        ),
        (r"Revoking [^\n]*/(?:archive|live)/([^/\n]+)/[^/\n]+ using ", LogReader._to_revoke),
        (r"Reason code for revocation: (\d+)", LogReader._reason_given),
        (rf"{_TO_PERSON}Congratulations! You have successfully revoked", LogReader._revoked),
        (rf"{_TO_PERSON}Deleted all files relating to certificate (\S+)\.", LogReader._deleted),
    )
)


def _first_problem(challenges: Any) -> dict[str, Any] | None:
    for challenge in challenges if isinstance(challenges, list) else []:
        if isinstance(challenge, dict) and isinstance(problem := challenge.get("error"), dict):
            return problem
    return None


def _kind(text: str) -> str | None:
    """Find the kind of an ACME problem."""
    return match[1] if (match := _PROBLEM.search(text)) else None


def _short(text: str) -> str | None:
    return " ".join(text.partition("\n")[0].split())[:_DETAIL] or None
