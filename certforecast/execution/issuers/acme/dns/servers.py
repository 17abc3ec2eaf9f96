"""DNS servers as settings write them."""

import re
import socket
from ipaddress import ip_address
from typing import Final, NamedTuple

from certforecast.errors import InputError
from certforecast.execution.issuers import ChallengeError

__all__ = ["Server", "find_server", "read_address"]

_BRACKETED: Final = re.compile(r"\[([^]]+)\](?::(\d+))?")
_PLAIN: Final = re.compile(r"([^:]+)(?::(\d+))?")


class Server(NamedTuple):
    """Where a DNS server listens."""

    address: str
    port: int = 53

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}"


def read_address(text: str, setting: str) -> Server:
    """Read an address, with a port or without.

    Parameters
    ----------
    setting : str
        Which setting it is, for the error.

    Raises
    ------
    InputError
        If it is none.
    """
    host, port = _split(text)
    try:
        return Server(str(ip_address(host)), int(port or 53))
    except ValueError as error:
        raise InputError(
            f"{setting}: {text!r} is no address such as 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:5353"
        ) from error


def find_server(text: str, setting: str) -> Server:
    """Read an address, or find that of a host name.

    Raises
    ------
    ChallengeError
        If there is no such host.
    """
    host, port = _split(text)
    try:
        (_, _, _, _, found), *_ = socket.getaddrinfo(host, int(port or 53), type=socket.SOCK_STREAM)
    except (OSError, ValueError, OverflowError) as error:
        raise ChallengeError(
            f"{setting}: no DNS server {text!r} is found ({error}): check the name", code="config"
        ) from error
    return Server(str(found[0]), int(found[1]))


def _split(text: str) -> tuple[str, str | None]:
    match = _BRACKETED.fullmatch(text) or _PLAIN.fullmatch(text)
    host, port = match.groups() if match else (text, None)
    return host, port
