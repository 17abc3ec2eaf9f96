"""Certificate Transparency as crt.sh tells it, in exports and live."""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from certforecast.clock import Clock, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.sources import NO_MARKS, Batch, Mark, Marks, Rejected, Source
from certforecast.history.sources.batching import Found, Skipped, batches
from certforecast.history.sources.crtsh_entries import Entry, entry_id, merged, parse_entry
from certforecast.history.sources.crtsh_live import Crtsh
from certforecast.history.sources.domains import domain_or_path, is_within
from certforecast.history.sources.exports import LIMIT, excerpt, items, look, state, text_of

__all__ = ["CrtshSource"]

_WHAT: Final = "a crt.sh export (crt.sh answers with a web page when it is busy: fetch it again)"

#: Columns of the CSV export, as the names that JSON has for them.
_COLUMNS: Final = {
    "crt.sh id": "id",
    "logged at": "entry_timestamp",
    "not before": "not_before",
    "not after": "not_after",
    "common name": "common_name",
    "matching identities": "name_value",
    "issuer name": "issuer_name",
    "serial number": "serial_number",
}
_NEEDED: Final = frozenset({"entry_timestamp", "issuer_name", "not_after", "not_before"})


class CrtshSource(Source):
    """Certificates of a domain in CT logs, from crt.sh: an export in a file (JSON, CSV, gzip), or live.

    A file may be JSON in the present form, JSON in the older form without serial numbers (``min_cert_id`` or
    ``id``, a row a name or names joined), JSON Lines of either, or CSV. The logs' entries for one
    certificate, the precertificate among them, become one row, known from the earliest entry on: entries are
    one where issuer, serial number and validity agree, or, without serial numbers, issuer, validity and
    names. CSV has dates only; what is logged on a date is known from the end of that day on.

    crt.sh gives no certificate, so the fingerprint is ``"~"`` and 63 hex digits of the SHA-256 of crt.sh's
    lowest number for it: the older and the newer form of one entry meet in the store. An export names only
    what its query matched: query by domain rather than by host to get whole sets of names.

    Of a domain asked live, only entries are yielded that crt.sh has numbered since the last import.

    Parameters
    ----------
    place : path or str
        A file, or a domain.
    url : str
        Where crt.sh is.
    expired : bool
        Whether to ask for certificates that have expired.
    cache : path, optional
        A folder for crt.sh's answers, so that an import that was stopped does not ask again. They are
        exports, too.
    cache_hours : float
        How long such an answer is used.
    cut : int
        After so many names crt.sh cuts an answer: larger ones are asked for in parts, by issuer.
    timeout_s : float
        Seconds of silence after which a try is given up.
    tries : int
        How often to ask when crt.sh is busy.
    clock : callable
        Bounds times from the future.
    """

    name = "crtsh"

    def __init__(
        self,
        place: Path | str,
        *,
        url: str = "https://crt.sh",
        expired: bool = True,
        cache: Path | None = None,
        cache_hours: float = 12.0,
        cut: int = 10_000,
        timeout_s: float = 90.0,
        tries: int = 5,
        clock: Clock = system_clock,
    ) -> None:
        self.place = domain_or_path(place)
        self.url = url
        self.expired = expired
        self.cache = cache
        self.cache_hours = cache_hours
        self.cut = cut
        self.timeout_s = timeout_s
        self.tries = tries
        self.clock = clock

    @classmethod
    def recognises(cls, path: Path) -> str | None:
        """Say what a file holds if it is an export: JSON or CSV."""
        beginning = look(path).lstrip()
        if beginning.startswith(("[", "{")) and all(
            f'"{name}"' in beginning for name in ("issuer_name", "name_value")
        ):
            return "crt.sh export, JSON"
        return "crt.sh export, CSV" if _header(beginning) else None

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:
        """Yield batches of certificates.

        Raises
        ------
        SourceError
            If the file is missing, or is no list of entries; if crt.sh cannot be reached, or gives no list.
        """
        place = self.place
        yield from batches(self._file(place, marks) if isinstance(place, Path) else self._live(place, marks))

    def _file(self, path: Path, marks: Marks) -> Iterator[Found | Rejected | Mark | Skipped]:
        place, now = str(path.absolute()), state(path)
        if marks.get(place) == now:
            yield Skipped(place)
            return
        text = text_of(path, _WHAT)
        entries, rejected = _checked(_rows(text, path) if _header(text) else items(text, path, _WHAT))
        yield from rejected
        yield from self._found(merged(entries))
        yield Mark(place, now)

    def _live(self, domain: str, marks: Marks) -> Iterator[Found | Rejected | Mark]:
        asked = Crtsh(
            domain,
            url=self.url,
            expired=self.expired,
            cache=self.cache,
            cache_hours=self.cache_hours,
            cut=self.cut,
            timeout_s=self.timeout_s,
            tries=self.tries,
        )
        seen = int(known) if (known := marks.get(asked.place, "")).isdecimal() else 0
        answered = list(asked.items())
        newest = max([seen, *(entry_id(item) or 0 for item in answered)])
        entries, rejected = _checked((f"{domain}#{entry_id(item)}", item) for item in answered)
        yield from rejected
        # Merged with what is known already, so that a certificate keeps its number and its time.
        fresh = [entry for entry in merged(entries) if (entry.last or newest) > seen]
        yield from self._found(entry for entry in fresh if is_within(entry.names, domain))
        if asked.missed:
            yield Rejected(asked.place, asked.missed)
        elif newest > seen:
            yield Mark(asked.place, str(newest))

    def _found(self, entries: Iterable[Entry]) -> Iterator[Found | Rejected]:
        for entry in entries:
            try:
                row = entry.row(self.name, self.clock())
            except InputError as error:
                yield Rejected(entry.position, str(error))
            else:
                yield Found("certificates", row, entry.position)


def _checked(found: Iterable[tuple[str, Any]]) -> tuple[list[Entry], list[Rejected]]:
    entries, rejected = [], []
    for position, item in found:
        try:
            if isinstance(item, InputError):
                raise item
            entries.append(parse_entry(item, position))
        except InputError as error:
            rejected.append(Rejected(position, str(error), excerpt(item)))
    return entries, rejected


def _header(text: str) -> list[str]:
    """Give the columns of a CSV export, by JSON's names for them; nothing if it is none."""
    first = text.lstrip().partition("\n")[0][:LIMIT]
    columns = [column.strip(' \r"').lower() for column in first.split(",")]
    columns = [_COLUMNS.get(column, column) for column in columns]
    return columns if _NEEDED.issubset(columns) else []


def _rows(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    columns = _header(text)
    # A field holds all names of a certificate, of which there may be ten thousand.
    before = csv.field_size_limit(LIMIT)
    try:
        rows = list(csv.reader(io.StringIO(text.lstrip(), newline="")))[1:]
    except csv.Error as error:
        raise SourceError(f"{path} is not CSV: {error}; give {_WHAT}") from error
    finally:
        csv.field_size_limit(before)
    for number, row in enumerate(rows, start=1):
        item = dict(zip(columns, row, strict=False))
        # A query for exactly one name lists no matches: the common name is all there is.
        if "name_value" not in columns:
            item["name_value"] = item.get("common_name", "")
        if row:
            yield f"{path.name}#{number}", item
