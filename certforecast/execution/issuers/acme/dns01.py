"""dns-01 (RFC 8555, section 8.4): TXT records that are there for as long as the server looks for them."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from acme import challenges  # noqa: TID253

from certforecast.execution.issuers import ChallengeError
from certforecast.execution.issuers.acme.answers import Answer
from certforecast.execution.issuers.acme.dns.lookup import Lookup, await_shown
from certforecast.execution.issuers.acme.dns.provider import Provider, Record, open_provider
from certforecast.execution.issuers.acme.dns.servers import read_address
from certforecast.execution.issuers.acme.dns.settings import DnsSettings

__all__ = ["Dns01Solver"]

_LOG: Final = logging.getLogger(__name__)


class Dns01Solver:
    """Writes TXT records.

    Parameters
    ----------
    settings : DnsSettings
        The section ``[issuers.NAME.dns]``.
    strict : bool
        Whether a record that cannot be removed is an error. Else it is logged: it does no harm.
    """

    kind = "dns-01"

    def __init__(self, settings: DnsSettings, *, strict: bool = False) -> None:
        self._settings = settings
        self._strict = strict

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
        lookup, provider = Lookup(self._settings.resolver), open_provider(self._settings)
        records = [self._record(answers, place, lookup) for place in range(len(answers))]
        with ExitStack() as stack:
            for record in records:
                # First, as a call that failed may have written it all the same.
                stack.enter_context(self._removed(provider, record))
                provider.add(record)
            self._await(provider, lookup, records)
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

    def _await(self, provider: Provider, lookup: Lookup, records: Sequence[Record]) -> None:
        settings = self._settings
        if not settings.propagation_timeout_s:
            return
        wanted: dict[str, set[str]] = {}
        for record in records:
            wanted.setdefault(record.target, set()).add(record.value)
        everywhere = [read_address(text, "dns.nameservers") for text in settings.nameservers]
        everywhere = everywhere or provider.servers
        where = {target: everywhere or lookup.authoritative(target) for target in wanted}
        await_shown(where, wanted, settings.propagation_timeout_s)

    @contextmanager
    def _removed(self, provider: Provider, record: Record) -> Iterator[None]:
        """Remove a record after the block; what went wrong in it is worth more than what does here."""
        with _HOLDERS.holding((record.target, record.value)) as is_last:
            try:
                yield
            except BaseException:
                if is_last():
                    _remove(provider, record)
                raise
            if not is_last():
                return
            if self._strict:
                provider.remove(record)
            else:
                _remove(provider, record)


class _Holders:
    """Who of this process needs a record: two orders may wait for one authorization, so for one record."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counter[tuple[str, str]]()

    @contextmanager
    def holding(self, key: tuple[str, str]) -> Iterator[Callable[[], bool]]:
        """Need a record for the time of the block; gives who tells whether nobody else does."""
        with self._lock:
            self._counts[key] += 1
        try:
            yield lambda: self._counts[key] == 1
        finally:
            with self._lock:
                self._counts[key] -= 1
                if not self._counts[key]:
                    del self._counts[key]


_HOLDERS: Final = _Holders()


def _remove(provider: Provider, record: Record) -> None:
    try:
        provider.remove(record)
    except ChallengeError as error:
        _LOG.warning("the record of a challenge is left behind: %s", error)
