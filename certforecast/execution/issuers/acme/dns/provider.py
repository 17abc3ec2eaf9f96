"""What writes a TXT record, whatever way."""

from dataclasses import dataclass
from typing import Protocol, assert_never

from certforecast.execution.issuers.acme.dns.servers import Server
from certforecast.execution.issuers.acme.dns.settings import (
    AcmeDnsSettings,
    CertbotHookSettings,
    CertbotPluginSettings,
    DnsSettings,
    LegoExecSettings,
    Rfc2136Settings,
)

__all__ = ["Provider", "Record", "open_provider"]


@dataclass(frozen=True)
class Record:
    """The answer to one dns-01 challenge (RFC 8555, section 8.4).

    Attributes
    ----------
    domain : str
        The name that is validated; of a wildcard, what it stands below.
    name : str
        Where the authority looks: ``_acme-challenge.`` before the domain.
    target : str
        Where that leads, by CNAME records; `name` itself without any.
    value : str
        The text of the record.
    token, key_authorization : str
        What `value` is made of.
    domains : tuple of str
        All that are validated together.
    remaining : int
        How many come after this one.
    """

    domain: str
    name: str
    target: str
    value: str
    token: str
    key_authorization: str
    domains: tuple[str, ...]
    remaining: int


class Provider(Protocol):
    """Writes records, and takes away just those again: others at the same name stay."""

    @property
    def servers(self) -> list[Server]:
        """Which servers must show them; none, unless a provider says otherwise: those of the zone."""
        return []

    def add(self, record: Record) -> None:
        """Write a record, or leave it as it is.

        Raises
        ------
        ChallengeError
            If it cannot be written.
        """
        ...

    def remove(self, record: Record) -> None:
        """Take a record away, or leave it so.

        Raises
        ------
        ChallengeError
            If it cannot be removed.
        """
        ...


def open_provider(settings: DnsSettings) -> Provider:
    """Give the provider of a section ``[issuers.NAME.dns]``."""
    from certforecast.execution.issuers.acme.dns import acmedns, certbotplugin, hooks, rfc2136

    match settings:
        case Rfc2136Settings():
            return rfc2136.Rfc2136Provider(settings)
        case AcmeDnsSettings():
            return acmedns.AcmeDnsProvider(settings)
        case CertbotHookSettings():
            return hooks.CertbotHookProvider(settings)
        case CertbotPluginSettings():
            return certbotplugin.CertbotPluginProvider(settings)
        case LegoExecSettings():
            return hooks.LegoExecProvider(settings)
        case _:
            assert_never(settings)
