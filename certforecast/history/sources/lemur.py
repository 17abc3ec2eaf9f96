"""The certificates that Netflix Lemur manages."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from certforecast.clock import Clock, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.sources import NO_MARKS, Batch, Mark, Marks, Rejected, Source, Whole
from certforecast.history.sources.answers import json_answer
from certforecast.history.sources.batching import Found, Skipped, batches
from certforecast.history.sources.exports import items, look, modified, state, text_of
from certforecast.history.sources.http import Service
from certforecast.history.sources.lemur_certificates import Entry, number_of
from certforecast.history.sources.tokens import read_token

__all__ = ["LemurSource"]

_WHAT: Final = "a JSON answer of Lemur's /certificates"
#: Stand in the first certificate of an answer, and together nowhere else.
_SIGNS: Final = ('"body"', '"dateCreated"', '"signingAlgorithm"')

Finds = Iterator[Found | Whole | Rejected | Mark | Skipped]


class LemurSource(Source):
    """Certificates that Netflix Lemur manages, what replaces what, and their owners: its API, or a file.

    A certificate is known from the time on that Lemur took it in (``dateCreated``). The lineage is the chain
    of certificates that replace one another (``replaces``), under the name of its first.

    Owner, endpoints' kinds and settings of rotation are what Lemur has now, so they are known from the import
    on (or the file's time), and only read of certificates that are in force. So are revocations, for which
    Lemur has no time.

    Parameters
    ----------
    place : path or str
        Address of the API, such as ``https://lemur.example.org/api/1``, or a file with an answer of
        ``/certificates``.
    token_file : path, optional
        Holds the API key. Without it, it is ``LEMUR_TOKEN`` of the environment.
    ca_file : path, optional
        PEM certificates of the authorities to trust instead of the system's.
    page_size : int
        Certificates in one question.
    anew : bool
        Whether to read everything again, not just what is new: for changes of older certificates.
    clock : callable
        Gives the present.
    """

    name = "lemur"

    def __init__(
        self,
        place: Path | str,
        *,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        page_size: int = 100,
        anew: bool = False,
        clock: Clock = system_clock,
    ) -> None:
        self.place = place
        self.token_file = token_file
        self.ca_file = ca_file
        self.page_size = page_size
        self.anew = anew
        self.clock = clock

    @classmethod
    def recognises(cls, path: Path) -> str | None:
        """Say what a path holds if it is an answer of Lemur's API."""
        beginning = look(path)
        return "certificates of Lemur, JSON" if all(sign in beginning for sign in _SIGNS) else None

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:
        """Yield batches of certificates, events and hosts.

        Raises
        ------
        SourceError
            If the file cannot be read or is none of Lemur's; if the API cannot be reached, refuses, or gives
            no list.
        """
        if str(self.place).startswith(("http://", "https://")):
            yield from self._live(str(self.place).rstrip("/"), marks)
        else:
            yield from batches(self._file(Path(self.place), marks))

    # -- a file -----------------------------------------------------------------------------------

    def _file(self, path: Path, marks: Marks) -> Finds:
        place, now = str(path.absolute()), state(path)
        if marks.get(place) == now and not self.anew:
            yield Skipped(place)
            return
        answers = items(text_of(path, _WHAT), path, _WHAT)
        found = [each for position, answer in answers for each in _unpacked(position, answer)]
        # In the order of their numbers, so that what is replaced comes before what replaces it.
        found.sort(key=lambda each: number_of(each[1]) or 0)
        chains = _Chains(place, NO_MARKS)
        for position, item in found:
            yield from self._certificate(item, position, modified(path, self.clock), chains)
        yield Mark(place, now)

    # -- the API ----------------------------------------------------------------------------------

    def _live(self, address: str, marks: Marks) -> Iterator[Batch]:
        if not urlsplit(address).netloc:
            raise SourceError(f"{address} is no address; give one such as https://lemur.example.org/api/1")
        token = read_token(self.token_file, ("LEMUR_TOKEN",))
        service = Service(address, token=token, ca_file=self.ca_file)
        chains = _Chains(address, marks)
        last, count = (-1, 0) if self.anew else _reached(marks.get(address))
        highest = last
        for before, page in self._pages(service, last, count):
            new = [item for item in page if _after(item, last)]
            highest = max([highest, *(number_of(item) or 0 for item in page)])
            mark = Mark(address, f"{highest} {before + len(page)}")
            yield from batches(self._page(address, new, chains, mark))
        if last >= 0:
            for _, page in self._pages(service, -1, 0, filter="status;revoked"):
                old = [item for item in page if not _after(item, last)]
                yield from batches(self._revocations(address, old, chains))

    def _pages(
        self, service: Service, last: int, count: int, **question: str
    ) -> Iterator[tuple[int, list[Any]]]:
        """Give pages from the one on that has number `last`, each with how many certificates stand before it.

        `count` tells how many stood up to `last`, in the order of numbers. If some were deleted since, it
        stands further up.
        """
        size, highest = max(self.page_size, 1), -1
        start = place = count // size
        while True:
            asked = {"page": place + 1, "count": size, "sortBy": "id", "sortDir": "asc", "showExpired": 1}
            page, total = _listed(service, json_answer(service, "certificates", {**asked, **question}))
            first = next((item for item in page if number_of(item) is not None), None)
            if place == start > 0 and _after(first, last):
                start = place = place - 1
                continue
            if first is not None and not _after(first, highest):
                raise SourceError(f"{service.url}certificates repeats its pages; try another page_size")
            if page and place * size + len(page) < total and len(page) < size:
                raise SourceError(
                    f"{service.url}certificates gives {len(page)} at once, not {size}; set page_size to that"
                )
            yield place * size, page
            if len(page) < size:
                return
            highest = max([highest, *(number_of(item) or 0 for item in page)])
            place += 1

    def _page(self, address: str, page: list[Any], chains: "_Chains", mark: Mark) -> Finds:
        now = self.clock()
        for item in page:
            yield from self._certificate(item, f"{address}/certificates/{number_of(item)}", now, chains)
        yield mark

    def _revocations(self, address: str, page: list[Any], chains: "_Chains") -> Finds:
        now = self.clock()
        for item in page:
            try:
                entry = Entry.of(item, now)
            except InputError:
                continue  # told when it was read
            yield from self._revocation(entry, f"{address}/certificates/{entry.number}", now, chains)

    # -- both -------------------------------------------------------------------------------------

    def _certificate(self, item: Any, position: str, now: datetime, chains: "_Chains") -> Finds:
        try:
            entry = Entry.of(item, now)
            lineage = chains.lineage(entry)
            rows = [("events", entry.issued(lineage))]
            if entry.live(now):
                rows.append(("events", entry.configured(lineage, now)))
                if place := entry.inventory(now):
                    rows.append(("hosts", place))
        except InputError as error:
            # No more of it: destinations and notifications may hold secrets.
            yield Rejected(position, str(error), json.dumps({"id": number_of(item)}))
            return
        yield Whole(entry.der, entry.created, position)
        for table, row in rows:
            yield Found(table, row, position)
        if entry.replaces:
            yield chains.mark(entry, lineage)
        yield from self._revocation(entry, position, now, chains)

    def _revocation(self, entry: Entry, position: str, now: datetime, chains: "_Chains") -> Finds:
        if entry.revoked and (mark := chains.revoke(entry)):
            yield Found("events", entry.revocation(chains.lineage(entry), now), position)
            yield mark


class _Chains:
    """Which lineage a certificate belongs to, and which ones were told to be revoked, over imports.

    One that replaces another has a mark with the name of its lineage; one that is revoked has a mark, too.
    """

    def __init__(self, place: str, marks: Marks) -> None:
        self._place = place
        self._marks = dict(marks)

    def lineage(self, entry: Entry) -> str:
        """Give the name of the first of its chain: its own, if it replaces none that is older."""
        earlier = [number for number in entry.replaces if number < entry.number]
        if not earlier:
            return entry.name
        first = min(earlier)
        return self._marks.get(f"{self._place}#{first}", entry.replaces[first])

    def mark(self, entry: Entry, lineage: str) -> Mark:
        """Remember the lineage of a certificate."""
        place = f"{self._place}#{entry.number}"
        self._marks[place] = lineage
        return Mark(place, lineage)

    def revoke(self, entry: Entry) -> Mark | None:
        """Remember a revocation; None if it was told before."""
        place = f"{self._place}#{entry.number} revoked"
        if place in self._marks:
            return None
        self._marks[place] = ""
        return Mark(place, "")


def _unpacked(position: str, item: Any) -> Iterator[tuple[str, Any]]:
    """Take the certificates out of an answer; anything else is one itself."""
    if isinstance(item, dict) and isinstance(item.get("items"), list):
        yield from ((f"{position}.{number}", each) for number, each in enumerate(item["items"]))
    else:
        yield position, item


def _after(item: Any, number: int) -> bool:
    """Tell whether a certificate has a higher number, or none at all."""
    own = number_of(item)
    return own is None or own > number


def _listed(service: Service, answer: Any) -> tuple[list[Any], int]:
    """Give the certificates of a page, and how many there are on all."""
    listed = answer.get("items") if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        raise SourceError(f"{service.url}certificates gave no list; give the API's address, with /api/1")
    total = answer.get("total")
    return listed, total if isinstance(total, int) else 0


def _reached(state: str | None) -> tuple[int, int]:
    """Read a mark: the highest number read, and how many certificates the list had up to there."""
    try:
        last, count = map(int, (state or "").split())
    except ValueError:
        return -1, 0
    return last, max(count, 0)
