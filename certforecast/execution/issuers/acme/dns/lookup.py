"""Looking at DNS: where a name leads, which zone it is in, and who shows its records."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.resolver

from certforecast.execution.issuers import ChallengeError
from certforecast.execution.issuers.acme.dns.servers import Server, read_address

__all__ = ["Lookup", "await_shown", "zone_at"]

#: Seconds for one question, all tries taken together.
_PATIENCE_S: Final = 5.0
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0


class Lookup:
    """A DNS server that finds things.

    Parameters
    ----------
    server : str or None
        Its address; None means the system's.
    """

    def __init__(self, server: str | None) -> None:
        self._where = server or "the system's DNS server"
        if server is not None:
            self._resolver = _asking(read_address(server, "dns.resolver"))
            return
        try:
            self._resolver = dns.resolver.Resolver()
        except dns.exception.DNSException as error:
            raise ChallengeError(
                f"the system names no DNS server ({error}): set dns.resolver of the issuer", code="dns"
            ) from error
        self._resolver.lifetime = _PATIENCE_S

    def follow(self, name: str) -> str:
        """Give where a name leads, by CNAME records; itself without any.

        Raises
        ------
        ChallengeError
            If its servers do not answer.
        """
        try:
            return self._resolver.canonical_name(name).to_text(omit_final_dot=True)
        except dns.exception.DNSException as error:
            raise ChallengeError(
                f"{self._where} does not say whether {name} is an alias: {error}; mend it, or set "
                "dns.resolver of the issuer, or follow_cname = false",
                code="dns",
            ) from error

    def authoritative(self, name: str) -> list[Server]:
        """Give the servers of the zone that a name is in.

        Raises
        ------
        ChallengeError
            If they cannot be found.
        """
        try:
            zone = dns.resolver.zone_for_name(name, resolver=self._resolver)
            hosts = [record.target for record in self._resolver.resolve(zone, "NS")]
            found = [Server(a) for host in hosts for a in self._resolver.resolve_name(host).addresses()]
        except dns.exception.DNSException as error:
            raise ChallengeError(
                f"{self._where} does not say which servers have {name}: {error}; mend it, or set "
                "dns.nameservers of the issuer",
                code="dns",
            ) from error
        return list(dict.fromkeys(found))


def zone_at(server: Server, name: str) -> dns.name.Name:
    """Give the zone of a server that a name is in, by its SOA records.

    Raises
    ------
    ChallengeError
        If the server does not answer, or has no such zone.
    """
    try:
        zone = dns.resolver.zone_for_name(name, resolver=_asking(server))
    except dns.exception.DNSException as error:
        raise ChallengeError(
            f"DNS server {server} gives no zone for {name}: {error}; check dns.server, or set dns.zone",
            code="dns",
        ) from error
    if zone == dns.name.root:
        raise ChallengeError(
            f"DNS server {server} has no zone for {name}: check dns.server, or set dns.zone", code="dns"
        )
    return zone


def await_shown(
    servers: Mapping[str, Sequence[Server]], records: Mapping[str, Collection[str]], timeout_s: float
) -> None:
    """Wait until every server shows every record.

    Parameters
    ----------
    servers : mapping
        Those that must show the records of a name.
    records : mapping
        The texts that there must be, by name; others may be there too.

    Raises
    ------
    ChallengeError
        If one does not in time, saying which, and what it said.
    """
    deadline, pause = time.monotonic() + timeout_s, _FIRST_PAUSE_S
    left = [(server, name) for name in records for server in servers[name]]
    while True:
        seen = {(server, name): _missing(server, name, records[name]) for server, name in left}
        left = [pair for pair in left if seen[pair] is not None]
        if not left:
            return
        if time.monotonic() + pause > deadline:
            told = "; ".join(f"{server}: {name} {seen[server, name]}" for server, name in left)
            raise ChallengeError(
                f"not every DNS server shows the challenge's records after {timeout_s:g} s ({told}): see "
                "whether changes reach it, or raise dns.propagation_timeout_s",
                code="dns",
            )
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)


def _missing(server: Server, name: str, wanted: Collection[str]) -> str | None:
    """Say what is missing at a server; None if nothing is."""
    question = dns.message.make_query(name, "TXT")
    try:
        answer, _ = dns.query.udp_with_fallback(
            question, server.address, timeout=_PATIENCE_S, port=server.port
        )
    except (dns.exception.DNSException, OSError) as error:
        return f"gets no answer ({error})"
    shown = {
        b"".join(record.strings).decode("latin-1")
        for rrset in answer.answer
        if rrset.rdtype == dns.rdatatype.TXT
        for record in rrset
    }
    absent = sorted(set(wanted) - shown)
    return f"lacks {', '.join(absent)}" if absent else None


def _asking(server: Server) -> dns.resolver.Resolver:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.lifetime = [server.address], server.port, _PATIENCE_S
    return resolver
