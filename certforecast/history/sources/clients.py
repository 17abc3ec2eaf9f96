"""What ACME clients leave behind has one shape: a certificate, when it was issued, and who renews it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from certforecast.clock import Clock
from certforecast.history.names import host_of
from certforecast.history.sources import Mark, Marks, Rejected
from certforecast.history.sources.batching import Found, Skipped
from certforecast.history.sources.pem import read_file

__all__ = ["Lineage", "unless_unchanged"]


@dataclass(frozen=True, slots=True)
class Lineage:
    """One lineage of a client, of which it keeps the certificate it holds now.

    Attributes
    ----------
    name : str
        What the client calls it.
    client : str
        The client, which is the source too.
    issuer : str or None
        The CA, as the client names it.
    detail : str or None
        What else the client says of how it renews; no secrets.
    issued_at : datetime or None
        When the client says it was issued; None for the file's time.
    installer : str or None
        What the client installs it into.
    settings_at : datetime or None
        When the client last wrote how it renews, if that is later than the issue.
    """

    name: str
    client: str
    issuer: str | None = None
    detail: str | None = None
    issued_at: datetime | None = None
    installer: str | None = None
    settings_at: datetime | None = None

    def finds(self, path: Path, position: str, clock: Clock) -> Iterator[Found | Rejected]:
        """Give the certificate of a file, that it was issued, and that the client renews it.

        All are known from the time of issue on, as the client writes its settings with each certificate; the
        row of ``hosts`` only from `settings_at` on.
        """
        first: Found | None = None
        for find in read_file(path, position, self.client, clock):
            if isinstance(find, Found) and first is None:  # a bundle goes on with the chain
                first = find = self._dated(find, clock())
            yield find
        if first is not None:
            yield from self.told_by(first)

    def told_by(self, certificate: Found) -> Iterator[Found]:
        """Give what a certificate in the client's hands tells: its issue, and a host that it renews."""
        at = certificate.row["known_at"]
        host = host_of(certificate.row["names"])
        event = {
            "at": at,
            "lineage": self.name,
            "kind": "issued",
            "host": host,
            "code": self.issuer,
            "detail": self.detail,
            "fingerprint": certificate.row["fingerprint"],
            "actor": self.client,
            "source": self.client,
            "known_at": at,
        }
        inventory = {
            "host": host,
            "automation": self.client,
            "issuer": self.issuer,
            "installer": self.installer,
            "valid_from": at,
            "known_at": max(at, self.settings_at or at),
        }
        yield Found("events", event, certificate.position)
        yield Found("hosts", inventory, certificate.position)

    def _dated(self, find: Found, now: datetime) -> Found:
        if self.issued_at is not None:
            known = min(max(self.issued_at, find.row["not_before"]), now)
            find.row.update(known_at=known, details_known_at=known)
        return find


def unless_unchanged(
    marks: Marks, files: list[Path], finds: Iterator[Found | Rejected]
) -> Iterator[Found | Rejected | Mark | Skipped]:
    """Give what is found in files and mark them, unless the mark says that they are as they were.

    Parameters
    ----------
    marks : mapping of str to str
        Of the import before.
    files : list of Path
        Those that `finds` is read from; the first names the mark. They need not exist.
    finds : iterator
        Read only if something has changed.
    """
    place, state = str(files[0].absolute()), " ".join(_state(file) for file in files)
    if marks.get(place) == state:
        yield Skipped(place)
    else:
        yield from finds
        yield Mark(place, state)


def _state(file: Path) -> str:
    try:
        stat = file.stat()
    except OSError:
        return "-"
    return f"{stat.st_size}:{stat.st_mtime_ns}"
