"""The certificates that ``openssl ca`` keeps: a folder of files, or a tar archive of it."""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from certforecast.errors import InputError, SourceError
from certforecast.history.sources import Rejected
from certforecast.history.x509 import split_pem

__all__ = ["Block", "archive_blocks", "files", "folder_blocks"]

_SUFFIXES: Final = frozenset({".pem", ".crt", ".cer", ".der"})
_MARKER: Final = b"-----BEGIN "
#: The longest certificate file that is read, in bytes: ``openssl ca`` writes the certificate as text, too.
_LONGEST: Final = 8 << 20
#: The longest archive that is read, in bytes, unpacked.
_LIMIT: Final = 16 << 30


@dataclass(frozen=True, slots=True)
class Block:
    """What may be a certificate, and where it stood."""

    der: bytes
    position: str


def files(folder: Path) -> list[Path]:
    """List the certificate files of a folder, in the order of their names; none if it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    except OSError:
        return []


def folder_blocks(paths: list[Path], position: str) -> Iterator[Block | Rejected]:
    """Read certificate files; what cannot be read is rejected."""
    for path in paths:
        where = f"{position}/{path.name}"
        try:
            if not path.is_file():
                raise InputError("it is not a file")
            with path.open("rb") as file:
                data = file.read(_LONGEST + 1)
        except (OSError, InputError) as error:
            reason = getattr(error, "strerror", None) or error
            yield Rejected(where, f"file cannot be read: {reason}")
        else:
            yield from _blocks(data, where)


def archive_blocks(path: Path, position: str) -> Iterator[Block | Rejected]:
    """Read the certificate files of a tar archive (also gzipped), without unpacking it to disk.

    Links and devices in it are passed over. Where it is damaged, what came before is kept.
    """
    try:
        with _unpacked(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            while member := archive.next():
                archive.members.clear()  # type: ignore[attr-defined] # else it keeps them all
                if member.offset_data + member.size > _LIMIT:
                    raise SourceError(f"it is longer than {_LIMIT >> 30} GiB, unpacked")
                if member.isfile() and PurePosixPath(member.name).suffix.lower() in _SUFFIXES:
                    where = f"{position}/{member.name}"
                    if member.size > _LONGEST:
                        yield Rejected(where, f"file is longer than {_LONGEST >> 20} MiB")
                    elif content := archive.extractfile(member):
                        yield from _blocks(content.read(), where)
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, OverflowError) as error:
        yield Rejected(position, f"archive cannot be read to its end: {error}; pack it anew")


def _blocks(data: bytes, position: str) -> Iterator[Block | Rejected]:
    if len(data) > _LONGEST:
        yield Rejected(position, f"file is longer than {_LONGEST >> 20} MiB")
    elif not data.strip():
        yield Rejected(position, "file is empty")
    elif _MARKER not in data:
        yield Block(data, position)
    else:
        number = 0
        for number, block in split_pem(data):
            where = f"{position}#{number}"
            yield Rejected(where, str(block)) if isinstance(block, InputError) else Block(block, where)
        if not number:
            yield Rejected(position, "file holds no certificate")


@contextmanager
def _unpacked(path: Path) -> Iterator[Any]:
    with gzip.open(path) if path.suffix.lower() in (".gz", ".tgz") else path.open("rb") as file:
        yield _Bounded(file)


class _Bounded:
    """A file that refuses to be read in huge pieces, which a forged header may ask for."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LONGEST:
            raise tarfile.ReadError(f"a part of it claims to be of {size} bytes")
        data: bytes = self._file.read(size)
        return data
