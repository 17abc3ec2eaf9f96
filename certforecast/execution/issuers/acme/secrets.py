"""Secrets that settings name and never hold: in a file of their owner, or in the environment."""

import os
import stat
from pathlib import Path

from certforecast.errors import IssuanceError

__all__ = ["read_private", "read_secret"]


def read_private(path: Path, what: str) -> str:
    """Read a file that holds something secret.

    Parameters
    ----------
    what : str
        What is in it, in words.

    Raises
    ------
    IssuanceError
        If it cannot be read, or others may read it too.
    """
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (stat.S_IROTH | stat.S_IWOTH):
                raise IssuanceError(
                    f"{path} ({what}) is open to every user of this machine: chmod o-rw it, and have the "
                    "secret replaced if others may have read it",
                    code="config",
                )
            return file.read()
    except OSError as error:
        raise IssuanceError(f"{path} ({what}) cannot be read: {error.strerror}", code="config") from error
    except UnicodeDecodeError as error:
        raise IssuanceError(f"{path} ({what}) is no text: is it the right file?", code="config") from error


def read_secret(file: Path | None, variable: str | None, what: str) -> str:
    """Read a secret from its file, or else from an environment variable.

    Raises
    ------
    IssuanceError
        If it is not there, or empty.
    """
    if file is not None:
        found, where = read_private(file, what).strip(), str(file)
    else:
        found, where = os.environ.get(variable or "", "").strip(), f"the environment variable {variable}"
    if not found:
        raise IssuanceError(f"{where} holds no {what}: put it there", code="config")
    return found
