"""What lego keeps of the certificates it manages, and of those it no longer does."""

import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from certforecast.clock import Clock, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.names import host_of
from certforecast.history.sources import NO_MARKS, Batch, Mark, Marks, Rejected, Source
from certforecast.history.sources.batching import Found, Skipped, batches
from certforecast.history.sources.clients import Lineage, unless_unchanged
from certforecast.history.sources.jsonfiles import json_object
from certforecast.history.x509 import certificate_row, split_pem

__all__ = ["LegoSource"]

#: What a description says that belongs to how the lineage renews, in versions 4 and 5.
_TOLD: Final = ("keyType", "profile", "preferredChain", "origin")

#: What lego archives goes by the time it did so: ``1772409600.NAME.crt`` in version 4, in version 5
#: ``NAME_1772409600.zip``.
_LOOSE: Final = re.compile(r"(\d{1,12})\.(.+)\.crt")
_PACKED: Final = re.compile(r"(.+)_(\d{1,12})\.zip")
#: The longest file in an archive that is read, in bytes.
_LIMIT: Final = 1 << 20


class LegoSource(Source):
    """Lineages of lego, from its folder (``.lego``): ``certificates/NAME.crt`` and ``NAME.json``.

    The certificate in ``certificates/`` is the one lego holds now: a row of ``certificates``, an event
    ``issued`` and a row of ``hosts``, known from the file's modification time on. The CA is the server of the
    address that ``NAME.json`` gives for the certificate.

    In ``archives/`` lego puts what was revoked or, in version 5, is no longer configured: a row of
    ``certificates`` and an event ``retired``, at the time that the name of the archive gives. Version 5 packs
    it and keeps it for 30 days; then the certificate is known from that time on.

    Keys are never opened.

    Parameters
    ----------
    path : path or str
        The folder that holds ``certificates/``.
    clock : callable
        Bounds times from the future.
    """

    name = "lego"

    def __init__(self, path: Path | str, *, clock: Clock = system_clock) -> None:
        self.path = Path(path)
        self.clock = clock

    @classmethod
    def recognises(cls, path: Path) -> str | None:
        """Say how many lineages there are."""
        with suppress(OSError):
            found = [file for file in _certificates(path) if file.with_suffix(".json").is_file()]
            return f"{len(found)} lineages of lego" if found else None
        return None

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:
        """Yield batches of certificates, events and hosts. What has not changed is not read again.

        Raises
        ------
        SourceError
            If the folder has no ``certificates/``.
        """
        if not (self.path / "certificates").is_dir():
            raise SourceError(
                f"{self.path} is no folder of lego: it has no certificates/; give the folder that lego's"
                " --path names, .lego unless set"
            )
        yield from batches(self._read(marks))

    def _read(self, marks: Marks) -> Iterator[Found | Rejected | Mark | Skipped]:
        for file in _certificates(self.path):
            about = file.with_suffix(".json")
            yield from unless_unchanged(marks, [file, about], self._held(file, about))
        for file in sorted(self.path.glob("archives/**/*")):
            if file.name.endswith(".crt") and not file.name.endswith(".issuer.crt"):
                yield from unless_unchanged(marks, [file], self._loose(file))
            elif match := _PACKED.fullmatch(file.name):
                yield from unless_unchanged(marks, [file], self._packed(file, match))

    def _held(self, file: Path, description: Path) -> Iterator[Found | Rejected]:
        about: dict[str, Any] = {}
        try:
            about = json_object(description)
        except (OSError, ValueError) as error:
            yield Rejected(f"certificates/{description.name}", f"description cannot be read: {error}")
        lineage = self._lineage(about, file.stem)
        yield from lineage.finds(file, f"certificates/{file.name}", self.clock)

    def _loose(self, file: Path) -> Iterator[Found | Rejected]:
        match = _LOOSE.fullmatch(file.name)
        about: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            about = json_object(file.with_suffix(".json"))
        lineage = self._lineage(about, match[2] if match else file.stem)
        for find in lineage.finds(file, file.relative_to(self.path).as_posix(), self.clock):
            if isinstance(find, Found) and find.table == "hosts":  # lego renews it no more
                continue
            yield find
            if isinstance(find, Found) and find.table == "certificates" and match:
                yield self._retired(lineage, find, match[1])

    def _packed(self, file: Path, match: re.Match[str]) -> Iterator[Found | Rejected]:
        position = file.relative_to(self.path).as_posix()
        if "certificates" not in file.relative_to(self.path).parts:  # accounts are archived too
            return
        try:
            certificate, description = _unpacked(file)
        except (
            OSError,
            EOFError,
            zlib.error,
            zipfile.BadZipFile,
            NotImplementedError,
            RuntimeError,
        ) as error:
            yield Rejected(position, f"archive cannot be read: {error}")
            return
        about: Any = {}
        with suppress(ValueError, RecursionError):
            about = json.loads(description)
        lineage = self._lineage(about if isinstance(about, dict) else {}, match[1])
        archived = _archived(match[2], self.clock())
        blocks = split_pem(certificate)
        number, block = next(iter(blocks), (1, InputError("archive holds no certificate")))  # then the chain
        where = f"{position}#{number}"
        try:
            if isinstance(block, InputError):
                raise block
            row = certificate_row(block, source=self.name, known_at=archived)
        except InputError as error:
            yield Rejected(where, str(error))
            return
        known = max(archived, row["not_before"])
        found = Found("certificates", {**row, "known_at": known, "details_known_at": known}, where)
        yield found
        yield self._retired(lineage, found, match[2])

    def _lineage(self, about: dict[str, Any], stem: str) -> Lineage:
        url = about.get("certUrl")
        issuer = None
        with suppress(ValueError):
            issuer = urlsplit(url).hostname if isinstance(url, str) else None
        return Lineage(
            name=_text(about.get("id")) or _text(about.get("domain")) or stem,
            client=self.name,
            issuer=issuer,
            detail="; ".join(f"{key}={about[key]}" for key in _TOLD if _text(about.get(key))) or None,
        )

    def _retired(self, lineage: Lineage, certificate: Found, seconds: str) -> Found:
        # The name gives whole seconds: not before the certificate was there.
        at = max(_archived(seconds, self.clock()), certificate.row["known_at"])
        row = {
            "at": at,
            "lineage": lineage.name,
            "kind": "retired",
            "host": host_of(certificate.row["names"]),
            "detail": "archived by lego",
            "fingerprint": certificate.row["fingerprint"],
            "actor": self.name,
            "source": self.name,
            "known_at": at,
        }
        return Found("events", row, certificate.position)


def _archived(seconds: str, now: datetime) -> datetime:
    with suppress(OverflowError, OSError, ValueError):
        return min(datetime.fromtimestamp(int(seconds), UTC), now)
    return now


def _unpacked(file: Path) -> tuple[bytes, bytes]:
    """Give the certificate and the description in an archive, empty if there is none; never a key."""
    certificate = description = b""
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".crt") and not member.filename.endswith(".issuer.crt"):
                certificate = _content(archive, member)
            elif member.filename.endswith(".json"):
                description = _content(archive, member)
    return certificate, description


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as content:
        return content.read(_LIMIT)


def _certificates(path: Path) -> list[Path]:
    """List the certificates, without those of their issuers."""
    found = (path / "certificates").glob("*.crt")
    return sorted(file for file in found if not file.name.endswith(".issuer.crt"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
