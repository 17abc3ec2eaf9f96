"""Taking private keys out of text that others wrote: an error of a library, the output of a program."""

import base64
import logging
import re
from typing import Final

__all__ = ["hush", "redact"]

_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_HIDDEN: Final = "[private key]"

#: A shorter piece tells nothing, and would be found in innocent words.
_PIECE: Final = 16


def redact(text: str, *secrets: bytes) -> str:
    """Replace private keys in a text.

    Parameters
    ----------
    text : str
        Written by others.
    *secrets : bytes
        What must not be in it, such as a key in PEM: each of its lines, and the whole in base64.

    Returns
    -------
    str
        Without them, and without anything that is marked as a private key in PEM.
    """
    text = _BLOCK.sub(_HIDDEN, text.replace("\\n", "\n"))
    for secret in secrets:
        pieces = [base64.b64encode(secret).decode("ascii"), *secret.decode("latin-1").splitlines()]
        for piece in pieces:
            if len(piece) >= _PIECE and not piece.startswith("-----"):
                text = text.replace(piece, _HIDDEN)
    return text


def hush(*loggers: str) -> None:
    """Keep libraries from logging what they send: at the level of debugging some log whole requests.

    Parameters
    ----------
    *loggers : str
        Names of their loggers, which from now on log from ``INFO`` upwards.
    """
    for name in loggers:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.getEffectiveLevel(), logging.INFO))
