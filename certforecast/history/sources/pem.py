"""Certificates in files: PEM, DER, PKCS#7, PKCS#12 and Java keystores, one file or a whole folder."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from certforecast.clock import Clock, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.sources import NO_MARKS, Batch, Mark, Marks, Rejected, Source, Whole
from certforecast.history.sources.batching import Found, Skipped, batches
from certforecast.history.sources.containers import certificates_in
from certforecast.history.x509 import certificate_row, is_chain_certificate, parse, split_pem

__all__ = ["PemSource", "read_file"]

#: Files with these endings hold certificates, or are meant to.
SUFFIXES: Final = (
    *(".pem", ".crt", ".cer", ".der", ".cert"),
    *(".p7b", ".p7c", ".p7s"),
    *(".p12", ".pfx"),
    *(".jks", ".jceks", ".keystore"),
)
#: Environment variable with the password of PKCS#12 files.
_PASSWORD: Final = "CERTFORECAST_PASSWORD"  # noqa: S105 (a name)

_MARKER: Final = b"-----BEGIN "
_CERTIFICATE_MARKER: Final = b"-----BEGIN CERTIFICATE-----"
#: How far into a file without a certificate's ending its first certificate is looked for.
_LOOK: Final = 65536

_Finds = Iterator[Whole | Rejected]


class PemSource(Source):
    """Certificates in files or whole folders: PEM, DER, PKCS#7, PKCS#12 and Java keystores.

    In a folder, files with the endings of such files (``.pem .crt .cer .der .cert .p7b .p7c .p7s .p12 .pfx
    .jks .jceks .keystore``) and files with a PEM certificate in them are read, in the order of their paths;
    the rest is ignored. Chain certificates (:func:`certforecast.history.x509.parse`), private keys and other
    PEM blocks are passed over without a word. Private keys in PKCS#12 are decrypted, as there is no other way
    to the certificates, and never kept.

    A certificate is known from its file's modification time on, or from the earliest time of the SCTs
    within, so copy with times kept (``cp -p``, ``rsync -t``, ``tar``). A file whose size and time have
    not changed since the last import is not opened again.

    Parameters
    ----------
    path : path or str
        A file or a folder.
    password : str, optional
        Of PKCS#12 files; one for all.
    password_file : path, optional
        A file with the password, on its first line. Without either, the environment variable
        ``CERTFORECAST_PASSWORD``.
    clock : callable
        Gives the present; nothing is known later.
    """

    name = "pem"
    fallback = True

    def __init__(
        self,
        path: Path | str,
        *,
        password: str | None = None,
        password_file: Path | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self.path = Path(path)
        self.password = password
        self.password_file = password_file
        self.clock = clock

    @classmethod
    def recognises(cls, path: Path) -> str | None:
        """Say whether a file holds certificates, or a folder has files that do."""
        if path.is_file():
            return "certificates" if _is_candidate(path.name, str(path)) else None
        if path.is_dir() and any(_candidates(str(path))):
            return "files with certificates"
        return None

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:
        """Yield batches of certificates.

        Raises
        ------
        SourceError
            If the path is missing, the folder holds no certificate file, or the one file no certificate.
        InputError
            If the password file cannot be read.
        """
        password = self._password()
        if self.path.is_dir():
            yield from batches(self._read_folder(marks, password))
        elif self.path.is_file():
            yield from batches(self._read_single(marks, password))
        else:
            raise SourceError(f"{self.path} does not exist; give a certificate file or a folder of them")

    def _password(self) -> bytes | None:
        text = self.password
        if text is None and self.password_file is not None:
            try:
                text = self.password_file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"password file {self.password_file} cannot be read: {error}") from error
        if text is None:
            text = os.environ.get(_PASSWORD)
        return None if text is None else text.encode()

    def _read_single(self, marks: Marks, password: bytes | None) -> list[Whole | Rejected | Mark | Skipped]:
        place, state = str(self.path.resolve()), _state(self.path.stat())
        if marks.get(place) == state:
            return [Skipped(place)]
        finds = list(_wholes(self.path, self.path.name, password, self.clock()))
        reasons = [_reason(find) for find in finds]
        if all(reasons) and reasons:
            raise SourceError(f"{self.path} cannot be read as a certificate: {reasons[0]}")
        if not finds and not _has_certificate(str(self.path)):
            raise SourceError(f"{self.path} holds no certificate; give a PEM bundle or a DER file")
        return [*finds, Mark(place, state)]

    def _read_folder(
        self, marks: Marks, password: bytes | None
    ) -> Iterator[Whole | Rejected | Mark | Skipped]:
        folder = self.path.resolve()
        now, files = self.clock(), 0
        for entry in _candidates(str(folder)):
            files += 1
            state = _state(entry.stat())
            if marks.get(entry.path) == state:
                yield Skipped(entry.path)
                continue
            path = Path(entry.path)
            yield from _wholes(path, path.relative_to(folder).as_posix(), password, now)
            yield Mark(entry.path, state)
        if not files:
            raise SourceError(
                f"folder {self.path} holds no certificate files;"
                f" they end in {' '.join(SUFFIXES)} or hold a PEM certificate"
            )


def read_file(path: Path, position: str, source: str, clock: Clock) -> Iterator[Found | Rejected]:
    """Read the leaf certificates of one file, for sources that need what is in them.

    Parameters
    ----------
    path : Path
        The file.
    position : str
        What the file is called in positions; the second certificate of a bundle stands at ``"position#2"``.
    source : str
        Name of the source, for the rows.
    clock : callable
        Gives the present, which bounds the file's time.

    Yields
    ------
    Found or Rejected
        Rows of ``certificates``; what was refused, with the reason and never the content, which may
        be a private key.
    """
    for find in _wholes(path, position, None, now := clock()):
        if isinstance(find, Rejected):
            yield find
            continue
        try:
            if is_chain_certificate(find.der):
                continue
            row = certificate_row(find.der, source=source, known_at=find.known_at)
        except InputError as error:
            yield Rejected(find.position, str(error))
            continue
        # No file is older than its certificate, and none is from the future.
        known = min(max(row["known_at"], row["not_before"]), now)
        yield Found("certificates", {**row, "known_at": known, "details_known_at": known}, find.position)


def _reason(find: Whole | Rejected) -> str | None:
    reason: str | None = find.reason if isinstance(find, Rejected) else parse([find.der])["reason"][0].as_py()
    return reason


def _wholes(path: Path, position: str, password: bytes | None, now: datetime) -> _Finds:
    try:
        data = path.read_bytes()
        modified = min(datetime.fromtimestamp(path.stat().st_mtime, UTC), now)
    except (OSError, OverflowError, ValueError) as error:
        yield Rejected(position, f"file cannot be read: {error}")
        return
    if not data.strip():
        yield Rejected(position, "file is empty")
        return
    try:
        held = certificates_in(data, password)
    except InputError as error:
        yield Rejected(position, str(error))
        return
    if held is not None:
        for number, der in enumerate(held, start=1):
            yield Whole(der, modified, f"{position}#{number}")
    elif _MARKER in data:
        for number, block in split_pem(data):
            where = f"{position}#{number}"
            if isinstance(block, InputError):
                yield Rejected(where, str(block))
            else:
                yield Whole(block, modified, where)
    else:
        yield Whole(data, modified, position)


def _state(stat: os.stat_result) -> str:
    return f"{stat.st_size}:{stat.st_mtime_ns}"


def _candidates(folder: str) -> Iterator["os.DirEntry[str]"]:
    """Walk the files that may hold certificates, in the order of their names, folder by folder.

    Links to folders are not followed: they may lead in circles.
    """
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in listed:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _candidates(entry.path)
            elif entry.is_file() and _is_candidate(entry.name, entry.path):
                yield entry
        except OSError:  # it went away, or is not ours to look at
            continue


def _is_candidate(name: str, path: str) -> bool:
    return name.lower().endswith(SUFFIXES) or _has_certificate(path)


def _has_certificate(path: str) -> bool:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (a million of them: no Path for each)
            return _CERTIFICATE_MARKER in file.read(_LOOK)
    except OSError:
        return False
