"""Endpoints to look at, as people write them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from certforecast.errors import InputError
from certforecast.history.names import is_ip, normalise_name
from certforecast.history.sources import Rejected

__all__ = ["Endpoint", "parse_endpoints"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect, and the name to ask for (server name indication) and to verify."""

    host: str
    port: int
    server_name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HOST``, ``HOST:PORT`` or ``[IPV6]:PORT``, each with an optional ``=SERVERNAME``.

        The port is 443 and the server name is the host unless given.

        Raises
        ------
        InputError
            If the text is not of this form.

        Examples
        --------
        >>> Endpoint.parse("192.0.2.7:8443=www.example.org")
        Endpoint(host='192.0.2.7', port=8443, server_name='www.example.org')
        """
        place, _, server_name = text.strip().partition("=")
        host, port = _split(place.strip())
        if not (port.isascii() and port.isdecimal() and 1 <= int(port[:6]) <= 65535):
            raise InputError(f"port of endpoint {text.strip()!r} is not a number from 1 to 65535")
        if "=" in text and not server_name.strip():
            raise InputError(f"endpoint {text.strip()!r} has no server name after '='")
        host = _name(host, text)
        return cls(host, int(port), _name(server_name, text) if server_name.strip() else host)

    def __str__(self) -> str:
        place = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        return place if self.server_name == self.host else f"{place}={self.server_name}"


def parse_endpoints(lines: Iterable[str], name: str) -> Iterator[Endpoint | Rejected]:
    """Read a list of endpoints, one a line; ``#`` begins a comment. Repeated ones are given once.

    Parameters
    ----------
    lines : iterable of str
        The list.
    name : str
        What the list is called in positions (``"fleet.txt#12"``, lines from 1).
    """
    seen = set()
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            endpoint = Endpoint.parse(text)
        except InputError as error:
            yield Rejected(f"{name}#{number}", str(error), line.strip())
            continue
        if endpoint not in seen:
            seen.add(endpoint)
            yield endpoint


def _split(place: str) -> tuple[str, str]:
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        return (host, "443") if bracket and not rest else (host, rest.removeprefix(":"))
    if is_ip(place):
        return place, "443"
    host, colon, port = place.rpartition(":")
    return (host, port) if colon else (place, "443")


def _name(text: str, endpoint: str) -> str:
    name = normalise_name(text)
    if "*" in name:
        raise InputError(f"endpoint {endpoint.strip()!r} has a wildcard; name one host")
    return name
