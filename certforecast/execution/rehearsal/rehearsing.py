"""Many rehearsals side by side, each check bounded in time."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from certforecast.clock import Clock, system_clock
from certforecast.errors import ExecutionError, InputError
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.rehearsal.authority import Authority
from certforecast.execution.rehearsal.findings import CheckResult, Finding, LeftOut, Rehearsal
from certforecast.execution.rehearsal.recording import SOURCE, rows
from certforecast.execution.rehearsal.registry import Check, chosen
from certforecast.execution.rehearsal.resolving import Resolver
from certforecast.execution.rehearsal.subject import Subject
from certforecast.settings import Settings

if TYPE_CHECKING:
    from certforecast.history.store import History
    from certforecast.planning.rehearsing import Candidate

__all__ = ["rehearse"]

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


def rehearse(
    candidates: "Sequence[Candidate]",
    settings: Settings,
    history: "History | None" = None,
    clock: Clock = system_clock,
) -> "Iterator[tuple[Candidate, Rehearsal]]":
    """Rehearse renewals, ``rehearsal.workers`` at a time; nothing is installed.

    Parameters
    ----------
    candidates : sequence of Candidate
        As given by :func:`certforecast.planning.rehearsing.choose_rehearsals`.
    settings : Settings
        Issuers, installers, and the section ``[rehearsal]``.
    history : History, optional
        The store in which each is recorded when it is done, as events of the actor ``executor.actor``.
    clock : callable
        Gives the present.

    Yields
    ------
    Candidate, Rehearsal
        As they are done. Whatever goes wrong with one is a finding of it, and stops no other.

    Raises
    ------
    InputError
        If ``rehearsal.skip`` names a check that is not there.
    """
    checks = chosen(settings.rehearsal.skip)
    resolver = Resolver(settings.rehearsal.resolver)
    authorities = {
        name: Authority(section, clock)
        for name, section in settings.issuers.items()
        if isinstance(section, AcmeIssuerSettings)
    }

    def one(candidate: "Candidate") -> Rehearsal:
        subject = Subject(candidate, settings, resolver, authorities, clock)
        at = clock()
        return Rehearsal(
            name=candidate.name,
            lineage=candidate.lineage,
            fingerprint=candidate.fingerprint,
            host=candidate.host,
            at=at,
            checks=tuple(_made(name, check, subject) for name, check in checks.items()),
        )

    with ThreadPoolExecutor(settings.rehearsal.workers) as pool:
        waiting = {pool.submit(one, candidate): candidate for candidate in candidates}
        try:
            for done in as_completed(waiting):
                made = done.result()
                if history is not None:
                    history.append(rows(made, settings.executor.actor), source=SOURCE)
                yield waiting[done], made
        finally:
            for left in waiting:
                left.cancel()


def _made(name: str, check: Check, subject: Subject) -> CheckResult:
    """Make one check; whatever it raises becomes what it found."""
    limit = subject.settings.rehearsal.timeout_s
    started = time.perf_counter()
    status, detail, findings = "found", "", tuple[Finding, ...]()
    try:
        findings = bounded(lambda: tuple(check(subject)), limit)
        status = "found" if findings else "passed"
    except LeftOut as reason:
        status, detail = "left_out", str(reason)
    except TimeoutError:
        findings = (
            Finding(
                code="timeout",
                message=f"the check {name} did not end within {limit:g} s (rehearsal.timeout_s): see "
                "whether a server it asks hangs",
            ),
        )
    except ExecutionError as error:
        findings = (Finding(code=error.code or name, message=str(error)),)
    except InputError as error:
        findings = (Finding(code="config", message=str(error)),)
    except Exception as error:  # one bad lineage never stops the others
        _LOG.exception("%s: check %s", subject.candidate.name, name)
        findings = (Finding(code="unexpected", message=f"{type(error).__name__}: {error}"),)
    seconds = round(time.perf_counter() - started, 3)
    return CheckResult(check=name, status=status, detail=detail, findings=findings, seconds=seconds)


def bounded(call: Callable[[], T], seconds: float) -> T:
    """Give what a call gives; one that hangs is left behind in a thread that does not keep the process.

    Raises
    ------
    TimeoutError
        If it does not end in time.
    """
    answer: Future[T] = Future()

    def work() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:
            answer.set_exception(error)

    Thread(target=work, daemon=True).start()
    return answer.result(seconds)
