"""PEM bundles (RFC 7468)."""

import binascii
import re
from collections.abc import Iterator
from typing import Final

from certforecast.errors import InputError

__all__ = ["split_pem"]

# A broken block ends where the next one begins, so that nothing else in the file is ever read as part of it.
_BLOCK: Final = re.compile(
    rb"-----BEGIN (?:X509 )?CERTIFICATE-----(.*?)(-----END (?:X509 )?CERTIFICATE-----|(?=-----BEGIN )|\Z)",
    re.DOTALL,
)
#: A certificate is a sequence; nothing else is worth handing on.
_SEQUENCE: Final = b"\x30"


def split_pem(data: bytes) -> Iterator[tuple[int, bytes | InputError]]:
    """Cut a PEM bundle into its certificates.

    Text between the blocks, private keys and other blocks are passed over.

    Parameters
    ----------
    data : bytes
        Anything.

    Yields
    ------
    position : int
        Which CERTIFICATE block of the bundle this is, from 1.
    der : bytes or InputError
        What the block holds, not looked into yet, or why it holds nothing. A broken block does not lose
        the others.
    """
    for position, match in enumerate(_BLOCK.finditer(data), start=1):
        body, ending = match.groups()
        try:
            der = binascii.a2b_base64(b"".join(body.split()), strict_mode=True)
        except binascii.Error:
            der = b""
        if ending and der[:1] == _SEQUENCE:
            yield position, der
        else:
            yield position, InputError("PEM block is truncated or is not a certificate; fetch the file anew")
