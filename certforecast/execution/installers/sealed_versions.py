"""Versions that were handed to a service which does not give keys back: kept here, sealed, for a rollback.

::

    DIRECTORY/sealing.key                made on first use, unless the environment gives the key
    DIRECTORY/NAME/FINGERPRINT.sealed    chain and key together
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from certforecast.atomic import write_file
from certforecast.errors import InstallationError, SealingError
from certforecast.execution.checks import check_pair, leaf_fingerprint, private_key
from certforecast.execution.installers.versions import KEPT
from certforecast.security.sealing import Sealer

__all__ = ["SealedVersions"]

_PURPOSE: Final = "version"


class SealedVersions:
    """The versions of one certificate that were handed over.

    Parameters
    ----------
    directory : path
        For all lineages; made on first use, for its owner alone.
    name : str
        The lineage's.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._sealer = Sealer(directory)
        self._folder = directory / name

    def holds(self, fingerprint: str) -> bool:
        """Tell whether a version is kept."""
        return self._path(fingerprint).exists()

    def keep(self, chain_pem: bytes, key_pem: bytes) -> None:
        """Keep a version as the newest; the oldest goes.

        Raises
        ------
        InstallationError
            If certificate and key do not belong together, or the version cannot be sealed or written.
        """
        check_pair(chain_pem, key_pem)
        path = self._path(leaf_fingerprint(chain_pem))
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.exists():
                os.utime(path)
            else:
                pair = chain_pem.rstrip() + b"\n" + private_key(key_pem)
                write_file(path, self._sealer.seal(pair, _PURPOSE), mode=0o600)
            # One more than beside files: the one in place is among them.
            found = sorted(self._folder.glob("*.sealed"), key=lambda each: each.stat().st_mtime_ns)
            for old in found[: -KEPT - 1]:
                with suppress(OSError):
                    old.unlink()
        except OSError as error:
            raise InstallationError(
                f"{path} cannot be written: {error.strerror}; without it there would be no way back",
                code="permission",
            ) from error
        except SealingError as error:
            raise InstallationError(str(error), code="config") from error

    def give(self, fingerprint: str) -> tuple[bytes, bytes]:
        """Give chain and key of a version.

        Raises
        ------
        InstallationError
            If it is not kept, or cannot be opened.
        """
        path = self._path(fingerprint)
        try:
            pair = self._sealer.open(path.read_bytes(), _PURPOSE)
        except OSError as error:
            raise InstallationError(
                f"version {fingerprint[:12]} is not kept in {self._folder}: put back a backup"
            ) from error
        except SealingError as error:
            raise InstallationError(f"{path} cannot be opened: {error}", code="config") from error
        key = private_key(pair)
        return pair[: pair.index(key.rstrip())], key

    def _path(self, fingerprint: str) -> Path:
        return self._folder / f"{fingerprint}.sealed"
