"""What can be set for dns-01: who writes the records, and where they must be seen."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from certforecast.execution.issuers.acme.dns.servers import read_address
from certforecast.settings import Section

__all__ = [
    "AcmeDnsSettings",
    "CertbotHookSettings",
    "CertbotPluginSettings",
    "DnsSettings",
    "LegoExecSettings",
    "ProviderSection",
    "Rfc2136Settings",
]


class ProviderSection(Section):
    """What every way of writing records has."""

    resolver: str | None = Field(
        None, description="DNS server that finds aliases and zones, as ``192.0.2.53``; default the system's"
    )
    follow_cname: bool = Field(
        True, description="write where a CNAME of ``_acme-challenge`` leads; off: at that name itself"
    )
    nameservers: list[str] = Field(
        [], description="servers that must show a record before the CA is told; default see the provider"
    )
    propagation_timeout_s: float = Field(
        120.0, ge=0, description="how long they may take; 0 tells the CA at once"
    )

    @model_validator(mode="after")
    def _addresses_are_legible(self) -> Self:
        if self.resolver is not None:
            read_address(self.resolver, "resolver")
        for text in self.nameservers:
            read_address(text, "nameservers")
        return self


class Rfc2136Settings(ProviderSection):
    """Dynamic updates (RFC 2136), signed (TSIG). Without `nameservers`, `server` must show the record."""

    provider: Literal["rfc2136"]
    server: str = Field(description="the primary, as ``192.0.2.53``, ``192.0.2.53:5353`` or a host name")
    key_name: str
    key_file: Path | None = Field(None, description="holds the key's secret, base64 ...")
    key_env: str | None = Field(None, description="... or the environment variable that does")
    algorithm: Literal["hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"] = "hmac-sha256"
    zone: str | None = Field(None, description="default: found by its SOA record")
    ttl: int = Field(60, ge=0)

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if (self.key_file is None) == (self.key_env is None):
            raise ValueError("name key_file or key_env: where the secret of the TSIG key is")
        return self


class AcmeDnsSettings(ProviderSection):
    """acme-dns: ``_acme-challenge`` is a CNAME into a zone of its own, which is changed by HTTP."""

    provider: Literal["acme-dns"]
    accounts_file: Path = Field(
        description="JSON: for each domain username, password, subdomain, fulldomain, and server_url if not "
        "`url`; what acme-dns clients (lego too) store"
    )
    url: str | None = Field(None, description="such as https://auth.example.org")
    ca_file: Path | None = Field(None, description="trust roots for it; default the system's")


class CertbotHookSettings(ProviderSection):
    """Programs written for ``certbot --manual --preferred-challenges dns``."""

    provider: Literal["certbot-hook"]
    auth_hook: list[str] = Field(min_length=1, description="argument list, run without a shell")
    cleanup_hook: list[str] = Field(default=[], description="run afterwards, also after failures")
    hook_timeout_s: float = Field(120.0, gt=0, description="how long one run may take")


class LegoExecSettings(ProviderSection):
    """Programs written for lego's provider ``exec``."""

    provider: Literal["lego-exec"]
    program: list[str] = Field(min_length=1, description="argument list, run without a shell (EXEC_PATH)")
    raw: bool = Field(False, description="give domain, token and key authorization (EXEC_MODE=RAW)")
    hook_timeout_s: float = Field(120.0, gt=0, description="how long one run may take")


class CertbotPluginSettings(ProviderSection):
    """A DNS plugin of certbot, installed into the same environment; certbot itself is not run."""

    provider: Literal["certbot-plugin"]
    plugin: str = Field(description="as certbot names it, such as dns-cloudflare")
    options: dict[str, str | int | bool] = Field(
        default={}, description="as certbot takes them, without the plugin's name before: credentials"
    )


DnsSettings = Annotated[
    Rfc2136Settings | AcmeDnsSettings | CertbotHookSettings | CertbotPluginSettings | LegoExecSettings,
    Field(discriminator="provider"),
]
