"""Endpoints to look at, as people write them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Self

from certforecast.errors import InputError
from certforecast.history.names import is_ip, normalise_name
from certforecast.history.sources import Rejected

__all__ = ["SCHEMES", "Endpoint", "parse_endpoints"]

#: What may stand before ``://``: the protocol that it means, and the port if none is given. Ports as
#: registered with IANA.
SCHEMES: Final = {
    "tls": ("tls", 443),
    "https": ("tls", 443),
    "smtps": ("tls", 465),
    "imaps": ("tls", 993),
    "pop3s": ("tls", 995),
    "ldaps": ("tls", 636),
    "smtp": ("smtp", 25),
    "imap": ("imap", 143),
    "pop3": ("pop3", 110),
    "ldap": ("ldap", 389),
    "postgres": ("postgres", 5432),
    "postgresql": ("postgres", 5432),
    "mysql": ("mysql", 3306),
    "mariadb": ("mysql", 3306),
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect, what to speak, and the name to ask for (server name indication) and to verify.

    Attributes
    ----------
    host, server_name : str
        Normalised names or addresses.
    port : int
        From 1 to 65535.
    protocol : str
        ``"tls"`` where TLS comes first; else what is spoken until then, such as ``"smtp"``.
    """

    host: str
    port: int
    server_name: str
    protocol: str = "tls"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``HOST``, ``HOST:PORT`` or ``[IPV6]:PORT``, with an optional ``=SERVERNAME`` after it.

        A scheme of `SCHEMES` and ``://`` may stand before it; without one, TLS is spoken at once. The port is
        the scheme's usual one and the server name is the host unless given.

        Raises
        ------
        InputError
            If the text is not of this form.

        Examples
        --------
        >>> Endpoint.parse("192.0.2.7:8443=www.example.org")
        Endpoint(host='192.0.2.7', port=8443, server_name='www.example.org', protocol='tls')
        >>> Endpoint.parse("smtp://mail.example.org").port
        25
        """
        if "@" in text:  # a whole address of a database, its password perhaps within: not to be repeated
            raise InputError("an endpoint has neither user nor password; give HOST or HOST:PORT alone")
        place, equals, asked = text.strip().partition("=")
        scheme, colon, rest = place.partition("://")
        protocol, usual = _scheme(scheme, text) if colon else SCHEMES["tls"]
        host, port = _split(rest.removesuffix("/").strip() if colon else place.strip(), str(usual))
        if not (port.isascii() and port.isdecimal() and 1 <= int(port[:6]) <= 65535):
            raise InputError(f"port of endpoint {text.strip()!r} is not a number from 1 to 65535")
        if equals and not asked.strip():
            raise InputError(f"endpoint {text.strip()!r} has no server name after '='")
        host = _name(host, text)
        return cls(host, int(port), _name(asked, text) if equals else host, protocol)

    def __str__(self) -> str:
        place = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        if self.protocol != "tls":
            place = f"{self.protocol}://{place}"
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
            yield Rejected(f"{name}#{number}", str(error), "" if "@" in line else line.strip())
            continue
        if endpoint not in seen:
            seen.add(endpoint)
            yield endpoint


def _scheme(scheme: str, endpoint: str) -> tuple[str, int]:
    found = SCHEMES.get(scheme.strip().lower())
    if found is None:
        raise InputError(
            f"endpoint {endpoint.strip()!r} begins with a scheme that is not known; use {', '.join(SCHEMES)}"
        )
    return found


def _split(place: str, usual: str) -> tuple[str, str]:
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        return (host, usual) if bracket and not rest else (host, rest.removeprefix(":"))
    if is_ip(place):
        return place, usual
    host, colon, port = place.rpartition(":")
    return (host, port) if colon else (place, usual)


def _name(text: str, endpoint: str) -> str:
    name = normalise_name(text)
    if "*" in name:
        raise InputError(f"endpoint {endpoint.strip()!r} has a wildcard; name one host")
    return name
