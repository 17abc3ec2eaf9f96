"""Tokens for web services: from a file or the environment, never from the command line."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from certforecast.errors import SourceError

__all__ = ["read_token"]

#: What fits into a header and is meant to.
_TOKEN: Final = re.compile(r"[!-~]{1,16384}")


def read_token(
    file: Path | str | None, variables: Sequence[str] = (), usual: Path | str | None = None
) -> str | None:
    """Give the token for a service; None if there is none anywhere.

    Parameters
    ----------
    file : path, optional
        The file that the user named. It must hold a token.
    variables : sequence of str
        Environment variables to look into if no file was named; the first that is set counts.
    usual : path, optional
        Where the service's own client keeps it; read last, if it is there.

    Raises
    ------
    SourceError
        If the named file cannot be read or is empty, or what was found cannot be a token. What was found
        is never part of the message.
    """
    if file is not None:
        return _checked(_content(Path(file)), f"token file {file}")
    for variable in variables:
        if text := os.environ.get(variable, "").strip():
            return _checked(text, f"environment variable {variable}")
    if usual is not None and Path(usual).is_file():
        return _checked(_content(Path(usual)), f"token file {usual}")
    return None


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not plain text"
        raise SourceError(f"token file {path} cannot be read: {reason}; check the path") from None


def _checked(text: str, where: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise SourceError(f"{where} holds no token: it is empty, or has spaces or odd characters")
    return text
