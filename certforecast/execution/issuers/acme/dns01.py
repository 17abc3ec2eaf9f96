"""dns-01 (RFC 8555, section 8.4): TXT records that are there for as long as the server looks for them."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from acme import challenges  # noqa: TID253

from certforecast.execution.issuers import ChallengeError
from certforecast.execution.issuers.acme.answers import Answer
from certforecast.execution.issuers.acme.dns.lookup import Lookup, await_shown
from certforecast.execution.issuers.acme.dns.provider import Provider, Record, open_provider
from certforecast.execution.issuers.acme.dns.servers import read_address
from certforecast.execution.issuers.acme.dns.settings import ProviderSection

__all__ = ["Dns01Solver", "publish"]

_LOG: Final = logging.getLogger(__name__)


class Dns01Solver:
    """Writes TXT records.

    Parameters
    ----------
    settings : ProviderSection
        The section ``[issuers.NAME.dns]``.
    """

    kind = "dns-01"

    def __init__(self, settings: ProviderSection) -> None:
        self._settings = settings

    @contextmanager
    def show(self, answers: Sequence[Answer]) -> Iterator[None]:
        """Show answers for the time of the block; where they may be seen is waited for.

        Raises
        ------
        IssuanceError
            If a record cannot be written, or is not shown in time.
        """
        if not answers:
            yield
            return
        lookup = Lookup(self._settings.resolver)
        with publish(
            self._settings, lookup, [self._record(answers, at, lookup) for at in range(len(answers))]
        ):
            yield

    def _record(self, answers: Sequence[Answer], place: int, lookup: Lookup) -> Record:
        answer = answers[place]
        name = f"{challenges.DNS01.LABEL}.{answer.name}"
        return Record(
            domain=answer.name,
            name=name,
            target=lookup.follow(name) if self._settings.follow_cname else name,
            value=answer.challenge.validation(answer.key),
            token=answer.challenge.encode("token"),
            key_authorization=answer.challenge.key_authorization(answer.key),
            domains=tuple(one.name for one in answers),
            remaining=len(answers) - place - 1,
        )


@contextmanager
def publish(
    settings: ProviderSection, lookup: Lookup, records: Sequence[Record], *, strict: bool = False
) -> Iterator[None]:
    """Write records, wait until they are shown, and remove them after the block, whatever became of it.

    Parameters
    ----------
    strict : bool
        Whether a record that cannot be removed is an error. Else it is logged: it does no harm.

    Raises
    ------
    ChallengeError
        If a record cannot be written, or is not shown in time.
    """
    provider = open_provider(settings)
    with ExitStack() as stack:
        for record in records:
            # First, as a call that failed may have written it all the same.
            stack.enter_context(_removed(provider, record, strict=strict))
            provider.add(record)
        _await(settings, provider, lookup, records)
        yield


def _await(settings: ProviderSection, provider: Provider, lookup: Lookup, records: Sequence[Record]) -> None:
    if not settings.propagation_timeout_s:
        return
    wanted: dict[str, set[str]] = {}
    for record in records:
        wanted.setdefault(record.target, set()).add(record.value)
    everywhere = [read_address(text, "dns.nameservers") for text in settings.nameservers] or provider.servers
    for target, values in wanted.items():
        servers = everywhere or lookup.authoritative(target)
        await_shown(servers, {target: values}, settings.propagation_timeout_s)


@contextmanager
def _removed(provider: Provider, record: Record, *, strict: bool) -> Iterator[None]:
    """Remove a record after the block; what went wrong in it is worth more than what does here."""
    try:
        yield
    except BaseException:
        _remove(provider, record)
        raise
    if strict:
        provider.remove(record)
    else:
        _remove(provider, record)


def _remove(provider: Provider, record: Record) -> None:
    try:
        provider.remove(record)
    except ChallengeError as error:
        _LOG.warning("the record of a challenge is left behind: %s", error)
