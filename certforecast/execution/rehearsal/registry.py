"""Every check, in the order in which they are made."""

from collections.abc import Iterable
from typing import Final, Protocol

from certforecast.errors import InputError
from certforecast.execution.rehearsal.account import account, clock
from certforecast.execution.rehearsal.caa import caa
from certforecast.execution.rehearsal.challenge import challenge
from certforecast.execution.rehearsal.files import disk, writable
from certforecast.execution.rehearsal.findings import Finding
from certforecast.execution.rehearsal.order import order
from certforecast.execution.rehearsal.records import records
from certforecast.execution.rehearsal.resolution import resolution
from certforecast.execution.rehearsal.server import configuration, reload
from certforecast.execution.rehearsal.subject import Subject

__all__ = ["CHECKS", "Check", "chosen"]


class Check(Protocol):
    """One check: gives what it finds, and leaves nothing behind.

    Raises :class:`~certforecast.execution.rehearsal.findings.LeftOut` where it does not apply.
    """

    def __call__(self, subject: Subject, /) -> Iterable[Finding]:
        """Make the check."""
        ...


CHECKS: Final[dict[str, Check]] = {
    "account": account,
    "clock": clock,
    "dns": resolution,
    "caa": caa,
    "challenge": challenge,
    "records": records,
    "files": writable,
    "disk": disk,
    "configuration": configuration,
    "reload": reload,
    "order": order,
}


def chosen(skip: Iterable[str]) -> dict[str, Check]:
    """Give the checks that are not left out.

    Raises
    ------
    InputError
        If one that is to be left out is not there.
    """
    left = set(skip)
    if unknown := sorted(left - CHECKS.keys()):
        raise InputError(
            f"rehearsal.skip: there is no check {', '.join(unknown)}; there are {', '.join(CHECKS)}"
        )
    return {name: check for name, check in CHECKS.items() if name not in left}
