"""A private CA that is kept with OpenSSL's own tool."""

import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from certforecast.clock import Clock, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.names import is_wildcard, normalise_name
from certforecast.history.sources import NO_MARKS, Batch, Mark, Marks, Rejected, Source
from certforecast.history.sources.batching import Found, Skipped, batches
from certforecast.history.sources.exports import state
from certforecast.history.sources.openssl_index import IndexRow, is_index, read_index
from certforecast.history.sources.openssl_newcerts import Block, archive_blocks, files, folder_blocks
from certforecast.history.x509 import parse

__all__ = ["OpensslCaSource"]

#: Where the certificates lie beside an index: ``openssl ca`` by its usual configuration, then easy-rsa.
_FOLDERS: Final = ("newcerts", "certs_by_serial", "revoked/certs_by_serial", "renewed/certs_by_serial")
_ARCHIVES: Final = ("newcerts.tar.gz", "newcerts.tgz", "newcerts.tar")
#: How deep below the folder given an index is looked for: intermediate CAs often lie within their root's.
_DEPTH: Final = 2
#: Certificates parsed in one go.
_CHUNK: Final = 1000

#: Rows whose certificates have not been met, by serial number and end of validity.
_Missing = dict[tuple[str, datetime], IndexRow]


class OpensslCaSource(Source):
    """The database of ``openssl ca``, also by way of easy-rsa: ``index.txt`` and ``newcerts/``.

    Each certificate in ``newcerts/`` (or ``newcerts.tar.gz .tgz .tar`` beside the index, read as it is;
    ``certs_by_serial/`` of easy-rsa), whether it has a row in an index or not, is a certificate and an event
    ``issued`` of the lineage of its common name, both known from its `not_before` on: the CA writes its
    database when it issues. Each revoked row is an event ``revoked``, known from the time of revocation on,
    with the reason as its code. A folder may hold several indexes (``index.txt``, ``NAME.index.txt``), and
    further CAs up to two levels deep.

    A row whose certificate is missing is rejected, as the index does not tell when it began; its revocation
    is kept. Statuses E and V are not told apart: the dates say what is expired. CA certificates are passed
    over, keys never opened.

    Parameters
    ----------
    path : path or str
        A folder, or an index file of any name.
    certificates : path, optional
        Where the certificates lie if not beside the index: a folder, or a tar archive.
    clock : callable
        Bounds times from the future.
    """

    name = "openssl_ca"

    def __init__(
        self, path: Path | str, *, certificates: Path | None = None, clock: Clock = system_clock
    ) -> None:
        self.path = Path(path)
        self.certificates = None if certificates is None else Path(certificates)
        self.clock = clock

    @classmethod
    def recognises(cls, path: Path) -> str | None:
        """Say what a folder or a file holds if it is an index of ``openssl ca``, or has one."""
        if path.is_file():
            return "index of openssl ca" if is_index(path) else None
        found = [index.name for index in _indexes(path) if is_index(index)]
        return f"database of openssl ca: {', '.join(found)}" if found else None

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:
        """Yield batches of certificates and events.

        Raises
        ------
        SourceError
            If there is no index, or nothing in it is a row of one.
        """
        if self.path.is_file():
            if not is_index(self.path) and self.path.stat().st_size:
                raise SourceError(
                    f"{self.path} is no index of openssl ca; give the file that `database` names in its"
                    " configuration"
                )
            databases = {self.path.parent: [self.path]}
        else:
            databases = _databases(self.path)
        if not databases:
            raise SourceError(
                f"{self.path} holds no index.txt or NAME.index.txt; give the folder of `openssl ca` that"
                " does, or the index itself if it has another name"
            )
        if self.certificates is not None and not self.certificates.exists():
            raise SourceError(f"{self.certificates} does not exist; give a folder or a tar archive")
        yield from batches(chain.from_iterable(self._database(*each, marks) for each in databases.items()))

    def _database(
        self, folder: Path, indexes: list[Path], marks: Marks
    ) -> Iterator[Found | Rejected | Mark | Skipped]:
        if self.certificates is not None:
            kept = [self.certificates]
        else:
            kept = [place for name in (*_FOLDERS, *_ARCHIVES) if (place := folder / name).exists()]
        now = {str(place.absolute()): _state(place) for place in (*indexes, *kept)}
        if all(marks.get(place) == state for place, state in now.items()):
            yield from map(Skipped, now)
            return
        missing: _Missing = {}
        for index in indexes:
            yield from self._index(index, missing)
        for place in kept:
            yield from self._kept(place, marks.get(str(place.absolute()), ""), missing)
        for row in missing.values():
            yield Rejected(
                row.position,
                f"no certificate with serial number {row.serial} that ends at {row.not_after:%Y-%m-%dT%H:%MZ}"
                " is beside the index, which does not tell when it began; put its file into newcerts",
                row.common_name,
            )
        yield from (Mark(place, state) for place, state in now.items())

    def _index(self, index: Path, missing: _Missing) -> Iterator[Found | Rejected]:
        position = self._position(index)
        try:
            for row in read_index(index, position):
                if isinstance(row, IndexRow):
                    missing[row.serial, row.not_after] = row
                    yield from self._revoked(row)
                else:
                    yield Rejected(row[0], str(row[1]))
        except OSError as error:
            yield Rejected(position, f"index cannot be read: {error.strerror}")

    def _kept(self, place: Path, mark: str, missing: _Missing) -> Iterator[Found | Rejected]:
        position = self._position(place)
        if place.is_dir():
            known, fresh = _since(mark, files(place))
            _pass_over(known, missing)
            blocks = folder_blocks(fresh, position)
        else:
            blocks = archive_blocks(place, position)
        while chunk := list(islice(blocks, _CHUNK)):
            yield from self._parsed(chunk, missing)

    def _parsed(self, chunk: list[Block | Rejected], missing: _Missing) -> Iterator[Found | Rejected]:
        yield from (each for each in chunk if isinstance(each, Rejected))
        blocks = [each for each in chunk if isinstance(each, Block)]
        rows = parse([block.der for block in blocks], workers=1).to_pylist()
        for block, row in zip(blocks, rows, strict=True):
            is_chain, reason, _ = row.pop("chain"), row.pop("reason"), row.pop("logged_at")
            if reason is not None:
                yield Rejected(block.position, reason)
                continue
            missing.pop((row["serial"], row["not_after"]), None)
            if not is_chain:
                yield from self._issued(row, block.position)

    def _issued(self, row: dict[str, Any], position: str) -> Iterator[Found]:
        began, now = row["not_before"], self.clock()
        known = min(began, now)
        yield Found(
            "certificates",
            {**row, "source": self.name, "known_at": known, "details_known_at": known},
            position,
        )
        if began <= now:
            names = row["names"]
            lineage = row["subject_cn"] or names[0]
            host = _host(lineage)
            if host not in names:
                host = next((name for name in names if not is_wildcard(name)), None)
            detail = f"serial number {row['serial']}"
            event = self._event("issued", began, lineage, host, detail, position)
            event.row["fingerprint"] = row["fingerprint"]
            yield event

    def _revoked(self, row: IndexRow) -> Iterator[Found | Rejected]:
        if row.revoked_at is None:
            return
        if row.revoked_at > self.clock():
            yield Rejected(row.position, "time of revocation lies in the future", row.common_name)
            return
        detail = f"serial number {row.serial}" + (f"; {row.detail}" if row.detail else "")
        host = _host(row.common_name)
        event = self._event("revoked", row.revoked_at, row.common_name, host, detail, row.position)
        event.row["code"] = row.reason
        yield event

    def _event(
        self, kind: str, at: datetime, lineage: str, host: str | None, detail: str, position: str
    ) -> Found:
        row = {
            "at": at,
            "lineage": lineage,
            "kind": kind,
            "host": host,
            "detail": detail,
            "actor": "openssl ca",
            "source": self.name,
            "known_at": at,
        }
        return Found("events", row, position)

    def _position(self, place: Path) -> str:
        if place.is_relative_to(self.path) and place != self.path:
            return place.relative_to(self.path).as_posix()
        return place.name


def _databases(top: Path) -> dict[Path, list[Path]]:
    """Find the folders that hold an index, and theirs; what is below the top must look like one."""
    found = {top: indexes} if (indexes := _indexes(top)) else {}
    level = [top]
    for _ in range(_DEPTH):
        level = [part for folder in level for part in _parts(folder)]
        for folder in level:
            if indexes := [index for index in _indexes(folder) if is_index(index)]:
                found[folder] = indexes
    return found


def _indexes(folder: Path) -> list[Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return []
    return [
        path
        for path in paths
        if (path.name == "index.txt" or path.name.endswith(".index.txt")) and path.is_file()
    ]


def _parts(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _state(place: Path) -> str:
    return _summary(files(place)) if place.is_dir() else state(place)


def _summary(paths: Iterable[Path]) -> str:
    """Tell the number, the size and the newest time of files."""
    known = [_size_and_time(path) for path in paths]
    return f"{len(known)}:{sum(size for size, _ in known)}:{max((time for _, time in known), default=0)}"


def _since(mark: str, paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """Part files into those that a mark covers and those that are new; all are new if any changed."""
    newest = mark.rpartition(":")[2]
    if newest.isdecimal():
        known = [path for path in paths if _size_and_time(path)[1] <= int(newest)]
        if _summary(known) == mark:
            return known, sorted(set(paths).difference(known))
    return [], paths


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        about = path.stat()
    except OSError:
        return 0, 0
    return about.st_size, about.st_mtime_ns


def _pass_over(known: list[Path], missing: _Missing) -> None:
    """Leave out rows whose files an earlier import read: it has judged them."""
    serials = {path.stem.lower().lstrip("0") or "0" for path in known}
    for key in [key for key in missing if key[0] in serials]:
        del missing[key]


def _host(common_name: str) -> str | None:
    """Give a common name as the names of certificates have it; none if it is many hosts'."""
    try:
        name = normalise_name(common_name)
    except InputError:
        name = common_name.lower()
    return None if is_wildcard(name) else name
