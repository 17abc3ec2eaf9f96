"""The account with the authority, and the clock that both must agree on."""

from collections.abc import Iterator
from datetime import timedelta

from certforecast.errors import IssuanceError
from certforecast.execution.rehearsal.advice import advised
from certforecast.execution.rehearsal.findings import Finding, LeftOut
from certforecast.execution.rehearsal.subject import Subject

__all__ = ["account", "clock"]


def account(subject: Subject) -> Iterator[Finding]:
    """Find the account of the key, without making one."""
    authority = subject.acme
    try:
        known = authority.directory()
        address = authority.account()
    except IssuanceError as error:
        yield advised(error)
        return
    if address is None and known.wants_external_account and authority.section.eab is None:
        yield Finding(
            code="externalAccountRequired",
            message=f"{authority.section.directory_url} makes accounts for its customers only, and there is "
            f"no account key {authority.section.account_key}: put the key of an account there, or "
            "set eab to what the authority gave",
        )


def clock(subject: Subject) -> Iterator[Finding]:
    """Compare the clock with that of the authority."""
    authority = subject.acme
    try:
        ahead = authority.directory().ahead
    except IssuanceError as error:
        raise LeftOut(f"its server gave no date, see account: {error}") from error
    if ahead is None:
        raise LeftOut(f"{authority.section.directory_url} gives no date")
    tolerance = subject.settings.rehearsal.clock_tolerance_s
    if abs(ahead) > timedelta(seconds=tolerance):
        seconds = ahead.total_seconds()
        way = "ahead of" if seconds > 0 else "behind"
        yield Finding(
            code="clock",
            message=f"the clock of this machine is {abs(seconds):,.0f} s {way} "
            f"that of {authority.section.directory_url} (more than the {tolerance:g} s of "
            "rehearsal.clock_tolerance_s): set it, and have it kept by NTP",
        )
