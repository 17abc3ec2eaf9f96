"""Certificates in files: PEM bundles and single DER files, one or a whole folder."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from certforecast.clock import Clock, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.sources import NO_MARKS, Batch, Marks, Rejected, Source
from certforecast.history.sources.batching import Found, batches
from certforecast.history.x509 import certificate_row, is_chain_certificate, split_pem

__all__ = ["PemSource", "read_file"]

#: Files with these endings are certificates, or are meant to be.
SUFFIXES: Final = frozenset({".pem", ".crt", ".cer", ".der", ".cert"})

_MARKER: Final = b"-----BEGIN "
_CERTIFICATE_MARKER: Final = b"-----BEGIN CERTIFICATE-----"
#: How far into a file without a certificate's ending its first certificate is looked for.
_LOOK: Final = 65536


class PemSource(Source):
    """Leaf certificates of a file, or of all files under a folder.

    A file may be a PEM bundle or one DER certificate. In a folder, files that end in ``.pem .crt .cer .der
    .cert`` and files with a PEM certificate in them are read, in the order of their paths; the rest is
    ignored.
    Chain certificates (:func:`certforecast.history.x509.is_chain_certificate`), private keys and other PEM
    blocks are passed over without a word.

    A certificate is known from its file's modification time on, so copy with times kept
    (``cp -p``, ``rsync -t``, ``tar``).

    Parameters
    ----------
    path : path or str
        A file or a folder.
    clock : callable
        Bounds times from the future.
    """

    name = "pem"

    def __init__(self, path: Path | str, *, clock: Clock = system_clock) -> None:
        self.path = Path(path)
        self.clock = clock

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:  # noqa: ARG002
        """Yield batches of certificates.

        Raises
        ------
        SourceError
            If the path is missing, the folder holds no certificate file, or the one file no certificate.
        """
        if self.path.is_dir():
            yield from batches(self._read_folder())
        elif self.path.is_file():
            yield from batches(self._read_single())
        else:
            raise SourceError(f"{self.path} does not exist; give a certificate file or a folder of them")

    def _read_single(self) -> list[Found | Rejected]:
        finds = list(read_file(self.path, self.path.name, self.name, self.clock))
        rejected = [find for find in finds if isinstance(find, Rejected)]
        if finds and len(rejected) == len(finds):
            raise SourceError(f"{self.path} cannot be read as a certificate: {rejected[0].reason}")
        if not finds and not _has_certificate(self.path):
            raise SourceError(f"{self.path} holds no certificate; give a PEM bundle or a DER file")
        return finds

    def _read_folder(self) -> Iterator[Found | Rejected]:
        files = 0
        for path in sorted(self.path.rglob("*")):
            if path.is_file() and (path.suffix.lower() in SUFFIXES or _has_certificate(path)):
                files += 1
                yield from read_file(path, path.relative_to(self.path).as_posix(), self.name, self.clock)
        if not files:
            raise SourceError(
                f"folder {self.path} holds no certificate files;"
                f" they end in {' '.join(sorted(SUFFIXES))} or hold a PEM certificate"
            )


def read_file(path: Path, position: str, source: str, clock: Clock) -> Iterator[Found | Rejected]:
    """Read the leaf certificates of one PEM or DER file.

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
    try:
        data = path.read_bytes()
        modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, OverflowError, ValueError) as error:
        yield Rejected(position, f"file cannot be read: {error}")
        return
    if not data.strip():
        yield Rejected(position, "file is empty")
    elif _MARKER in data:
        for number, block in split_pem(data):
            yield from _leaf(block, f"{position}#{number}", source, modified, clock)
    else:
        yield from _leaf(data, position, source, modified, clock)


def _leaf(
    block: bytes | InputError, position: str, source: str, modified: datetime, clock: Clock
) -> Iterator[Found | Rejected]:
    try:
        if isinstance(block, InputError):
            raise block
        if is_chain_certificate(block):
            return
        row = certificate_row(block, source=source, known_at=modified)
    except InputError as error:
        yield Rejected(position, str(error))
        return
    # No file is older than its certificate, and none is from the future.
    row["known_at"] = min(max(modified, row["not_before"]), clock())
    yield Found("certificates", row, position)


def _has_certificate(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _CERTIFICATE_MARKER in file.read(_LOOK)
    except OSError:
        return False
