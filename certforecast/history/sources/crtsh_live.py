"""Asking crt.sh for a domain, in as many parts as it takes."""

import hashlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urljoin

from certforecast.errors import SourceError
from certforecast.history.sources.answers import json_answer
from certforecast.history.sources.http import Service

__all__ = ["Crtsh"]

#: The most questions that are asked about one domain.
_QUESTIONS: Final = 200


class Crtsh:
    """What crt.sh has of a domain.

    crt.sh has no pages. It stops a search after 10,000 names, whichever they are (``LIMIT`` in its
    ``web_apis.fnc``), and says nothing of it. What it can do is leave out issuers (``excludeCAs``) and
    certificates that have expired (``exclude=expired``). So an answer that was cut is asked for again in two
    parts, each without one half of the issuers in it; whatever was not seen yet is in both.

    Parameters
    ----------
    domain : str
        A-labels.
    url, expired, cache, cache_hours, cut, timeout_s, tries
        As :class:`~certforecast.history.sources.crtsh.CrtshSource` has them.

    Attributes
    ----------
    place : str
        The address of the question.
    missed : str or None
        What could not be had, once all items are read.
    """

    def __init__(
        self,
        domain: str,
        *,
        url: str,
        expired: bool,
        cache: Path | None,
        cache_hours: float,
        cut: int,
        timeout_s: float,
        tries: int,
    ) -> None:
        self.domain = domain
        self.expired = expired
        self.cache = cache
        self.cache_hours = cache_hours
        self.cut = cut
        self.tries = tries
        self.missed: str | None = None
        self._service = Service(url, timeout_s=timeout_s, tries=tries)
        question = {"q": f"%.{domain}"} | ({} if expired else {"exclude": "expired"})
        self.place = urljoin(self._service.url, f"?{urlencode(question)}")

    def items(self) -> Iterator[Any]:
        """Yield entries as crt.sh gives them, some more than once.

        Raises
        ------
        SourceError
            If crt.sh cannot be reached, or its answer is no list.
        """
        itself = False
        for item in self._matching(f"%.{self.domain}"):
            itself = itself or self.domain in _names(item)
            yield item
        # Where "%." matches the domain itself, too, as crt.sh takes it today, that was all.
        if not itself:
            yield from self._matching(self.domain)

    def _matching(self, query: str) -> Iterator[Any]:
        parts = [(frozenset[int](), self.expired)]
        for asked in range(_QUESTIONS):
            if not parts:
                return
            excluded, expired = parts.pop()
            items = self._ask(query, excluded, expired, first=not asked)
            yield from items
            if sum(map(_weight, items)) >= self.cut:
                parts += self._divided(items, excluded, expired)
        if parts:
            self.missed = f"{self.domain} has more certificates than {_QUESTIONS} answers of crt.sh hold"

    def _divided(
        self, items: list[Any], excluded: frozenset[int], expired: bool
    ) -> list[tuple[frozenset[int], bool]]:
        counts = Counter(issuer for item in items if isinstance(issuer := _field(item, "issuer_ca_id"), int))
        issuers = [issuer for issuer, _ in counts.most_common() if issuer not in excluded]
        if len(issuers) > 1:
            return [(excluded | set(half), expired) for half in (issuers[::2], issuers[1::2])]
        self.missed = (
            f"{self.domain} has more certificates of issuer {issuers or 'unknown'} than crt.sh gives in one"
            f" answer ({self.cut} names); ask for its subdomains one by one"
        )
        others = [(excluded | set(issuers), expired)] if issuers and expired == self.expired else []
        return others + ([(excluded, False)] if expired else [])

    def _ask(self, query: str, excluded: frozenset[int], expired: bool, *, first: bool) -> list[Any]:
        parameters = {
            "q": query,
            "output": "json",
            "exclude": None if expired else "expired",
            "excludeCAs": ",".join(map(str, sorted(excluded))) or None,
        }
        kept = self._kept(parameters)
        if kept is not None and (answer := self._remembered(kept)) is not None:
            return answer
        try:
            answer = json_answer(self._service, "", parameters, tries=self.tries)
        except SourceError as error:
            advice = "; for a domain with many certificates, try expired=false" if first and expired else ""
            raise SourceError(f"{error}{advice}") from error
        if not isinstance(answer, list):
            raise SourceError(f"{self.place} gave no list of entries; check the address, or try later")
        if kept is not None:
            self._remember(kept, answer)
        return answer

    def _kept(self, parameters: dict[str, Any]) -> Path | None:
        if self.cache is None:
            return None
        whole = f"{self._service.url}?{urlencode(parameters)}"
        return self.cache / f"{self.domain}-{hashlib.sha256(whole.encode()).hexdigest()[:16]}.json"

    def _remembered(self, kept: Path) -> list[Any] | None:
        with suppress(OSError, ValueError, RecursionError):
            if time.time() - kept.stat().st_mtime <= self.cache_hours * 3600:
                answer = json.loads(kept.read_bytes())
                return answer if isinstance(answer, list) else None
        return None

    def _remember(self, kept: Path, answer: list[Any]) -> None:
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=kept.parent, delete=False, encoding="ascii") as file:
                json.dump(answer, file)
            Path(file.name).replace(kept)
        except OSError as error:
            raise SourceError(
                f"cache {kept.parent} cannot be written: {error.strerror}; name another"
            ) from error


def _field(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, dict) else None


def _names(item: Any) -> list[str]:
    written = _field(item, "name_value")
    return written.lower().split("\n") if isinstance(written, str) else []


def _weight(item: Any) -> int:
    """Count the names that an entry takes of crt.sh's limit."""
    count = _field(item, "result_count")
    return count if isinstance(count, int) else max(1, len(_names(item)))
