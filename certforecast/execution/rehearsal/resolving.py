"""DNS as an authority would ask it: no hosts file, no search list."""

from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from certforecast.errors import ExecutionError, InputError
from certforecast.execution.issuers.acme.dns.servers import read_address

if TYPE_CHECKING:
    import dns.resolver

__all__ = ["Caa", "Resolver", "ResolvingError"]

#: Seconds for one question, all tries taken together.
_PATIENCE_S: Final = 5.0


class ResolvingError(ExecutionError):
    """A question had no answer: not even that there is nothing. Authorities refuse to issue then."""


class Caa(NamedTuple):
    """A CAA record (RFC 8659, section 4.1)."""

    critical: bool
    tag: str
    value: str


class Resolver:
    """A DNS server.

    Parameters
    ----------
    server : str or None
        As ``192.0.2.53``, ``192.0.2.53:5353`` or ``[2001:db8::53]:5353``; None means the system's.

    Raises
    ------
    InputError
        If it is no address.
    """

    def __init__(self, server: str | None = None) -> None:
        self._server = None if server is None else read_address(server, "rehearsal.resolver")

    def addresses(self, name: str) -> list[str]:
        """Give the addresses of a name, IPv6 first, as authorities prefer them; none if there is none.

        Raises
        ------
        ResolvingError
            If its servers do not answer, or with an error.
        """
        return [record.to_text() for kind in ("AAAA", "A") for record in self._records(name, kind)]

    def caa(self, name: str) -> list[Caa]:
        """Give the CAA records of a name itself.

        Raises
        ------
        ResolvingError
            If its servers do not answer, or with an error.
        """
        return [
            Caa(bool(record.flags & 0x80), record.tag.decode("ascii").lower(), record.value.decode("latin-1"))
            for record in self._records(name, "CAA")
        ]

    def _records(self, name: str, kind: str) -> list:  # type: ignore[type-arg] # rdata differ by kind
        import dns.exception
        import dns.name
        import dns.resolver

        try:
            asked = dns.name.from_text(name)
            found = self._asked.resolve(asked, kind, raise_on_no_answer=False, lifetime=_PATIENCE_S)
        except dns.resolver.NXDOMAIN:
            return []
        except dns.exception.DNSException as error:
            raise ResolvingError(f"DNS gives no answer for {kind} of {name}: {error}", code="dns") from error
        return list(found.rrset or ())

    @cached_property
    def _asked(self) -> "dns.resolver.Resolver":
        import dns.exception
        import dns.resolver

        if self._server is not None:
            resolver = dns.resolver.Resolver(configure=False)
            resolver.nameservers, resolver.port = [self._server.address], self._server.port
            return resolver
        try:
            return dns.resolver.Resolver()
        except dns.exception.DNSException as error:
            raise InputError(
                f"the system names no DNS server ({error}): set rehearsal.resolver to one"
            ) from error
