"""Dynamic updates (RFC 2136), signed with a key that is shared with the server (TSIG, RFC 8945)."""

import base64
import binascii
from typing import Final

import dns.exception
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update

from certforecast.errors import IssuanceError
from certforecast.execution.issuers import ChallengeError
from certforecast.execution.issuers.acme.dns.lookup import zone_at
from certforecast.execution.issuers.acme.dns.provider import Record
from certforecast.execution.issuers.acme.dns.servers import Server, find_server
from certforecast.execution.issuers.acme.dns.settings import Rfc2136Settings
from certforecast.execution.issuers.acme.secrets import read_secret

__all__ = ["Rfc2136Provider"]

_PATIENCE_S: Final = 10.0

#: What to do about a refusal, by its code (RFC 2136, section 2.2; RFC 8945, section 5.2).
_ADVICE: Final = {
    dns.rcode.REFUSED: "let the key change TXT records there (update-policy or allow-update of the zone)",
    dns.rcode.NOTAUTH: "see that it is the primary of the zone, and that it knows the key",
    dns.rcode.NOTZONE: "set dns.zone to the zone that the name is in",
    dns.rcode.SERVFAIL: "see its log: often its folder or journal is not writable",
}


class Rfc2136Provider:
    """Changes a zone at its primary.

    Parameters
    ----------
    settings : Rfc2136Settings
        The secret of its key is read here.
    """

    def __init__(self, settings: Rfc2136Settings) -> None:
        self._settings = settings
        self._server = find_server(settings.server, "dns.server")
        secret = read_secret(settings.key_file, settings.key_env, "secret of a TSIG key")
        try:
            decoded = base64.b64decode(secret, validate=True)
        except (binascii.Error, ValueError):
            raise IssuanceError(
                f"the secret of the TSIG key {settings.key_name} is not base64: put there just what stands "
                'after "secret" in the file that tsig-keygen writes',
                code="config",
            ) from None
        self._key = dns.tsig.Key(settings.key_name, decoded, settings.algorithm)
        self._zones: dict[str, dns.name.Name] = {}

    @property
    def servers(self) -> list[Server]:
        """The server that is changed."""
        return [self._server]

    def add(self, record: Record) -> None:
        """Add a record to those of its name.

        Raises
        ------
        ChallengeError
            If the server cannot be reached or refuses.
        """
        update = self._update(record)
        update.add(dns.name.from_text(record.target), self._settings.ttl, _text(record))
        self._send(update, f"adding TXT {record.target}")

    def remove(self, record: Record) -> None:
        """Remove a record, and no other of its name.

        Raises
        ------
        ChallengeError
            If the server cannot be reached or refuses.
        """
        update = self._update(record)
        update.delete(dns.name.from_text(record.target), _text(record))
        self._send(update, f"removing TXT {record.target}")

    def _update(self, record: Record) -> dns.update.UpdateMessage:
        return dns.update.UpdateMessage(self._zone(record.target), keyring=self._key)

    def _zone(self, name: str) -> dns.name.Name:
        if self._settings.zone is not None:
            return dns.name.from_text(self._settings.zone)
        if name not in self._zones:
            self._zones[name] = zone_at(self._server, name)
        return self._zones[name]

    def _send(self, update: dns.update.UpdateMessage, what: str) -> None:
        where = f"{what} at {self._server}"
        try:
            answer = dns.query.tcp(update, self._server.address, timeout=_PATIENCE_S, port=self._server.port)
        except dns.tsig.PeerError as error:
            raise ChallengeError(
                f"{where}: the server does not take key {self._settings.key_name} ({error}): compare name, "
                "algorithm and secret with its settings, and both clocks",
                code="dns",
            ) from error
        except (dns.exception.DNSException, OSError) as error:
            raise ChallengeError(
                f"{where}: no answer that can be trusted ({str(error) or type(error).__name__}): "
                "see that the server listens there by TCP",
                code="dns",
            ) from error
        code = answer.rcode()
        if code != dns.rcode.NOERROR:
            advice = _ADVICE.get(code, "see its log")
            raise ChallengeError(f"{where} was refused ({dns.rcode.to_text(code)}): {advice}", code="dns")


def _text(record: Record) -> dns.rdata.Rdata:
    return dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.TXT, f'"{record.value}"')
