"""What can be set for an ACME server."""

from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from certforecast.clock import Clock
from certforecast.execution.issuers import Issuer, IssuerSection
from certforecast.execution.issuers.acme.dns.settings import DnsSettings
from certforecast.settings import Section

__all__ = ["STAGING_OF", "AcmeIssuerSettings", "ExternalAccountSettings"]

#: The staging directory of each production directory that is known to have one.
#: Source: https://letsencrypt.org/docs/staging-environment/, seen on 2026-11-23.
STAGING_OF: Final = {
    "https://acme-v02.api.letsencrypt.org/directory": (
        "https://acme-staging-v02.api.letsencrypt.org/directory"
    ),
}


class ExternalAccountSettings(Section):
    """External account binding (RFC 8555, section 7.3.4), as the CA gave it. Only new accounts need it."""

    kid: str
    hmac_file: Path | None = Field(None, description="holds the MAC key, base64url ...")
    hmac_env: str | None = Field(None, description="... or the environment variable that does")

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if (self.hmac_file is None) == (self.hmac_env is None):
            raise ValueError("name hmac_file or hmac_env: where the MAC key of the CA is")
        return self


class AcmeIssuerSettings(IssuerSection):
    """An ACME server (RFC 8555)."""

    kind: Literal["acme"]
    directory_url: str
    account_key: Path
    contact: list[str] = Field(default=[], description="such as mailto:ops@example.org")
    eab: ExternalAccountSettings | None = Field(
        None, description="who we are to a CA that makes accounts for its customers only"
    )
    challenge: Literal["http-01", "dns-01", "tls-alpn-01"] = Field(
        "http-01", description="how names are validated; wildcards need dns-01, and a table `dns`"
    )
    webroot: Path | None = Field(None, description="http-01: write challenges below this web root ...")
    http_port: int = Field(80, description="... or, without a web root, serve them on this port")
    tls_port: int = Field(443, description="tls-alpn-01: serve challenges on this port")
    dns: DnsSettings | None = Field(None, description="dns-01: who writes the records, and how")
    profile: str | None = Field(None, description="one of the profiles that the directory offers")
    preferred_chain: str | None = Field(
        None, description="common name of the root (or of an issuer on the way) that the chain should lead to"
    )
    timeout_s: float = Field(20.0, gt=0, description="how long the server may say nothing, for any request")
    deadline_s: float = Field(90.0, gt=0, description="how long it may take for an order, waiting included")
    patience_s: float = Field(
        60.0, ge=0, description="how long a request is tried again, and a busy server waited for"
    )
    ca_file: Path | None = Field(
        None, description="trust roots for the ACME server itself; default the system's"
    )
    trust_file: Path | None = Field(None, description="trust roots of issued chains; default the system's")
    caa_identities: list[str] = Field(
        [], description="how CAA records name this CA; default what its directory says"
    )
    staging_directory_url: str | None = Field(
        None, description="the CA's staging directory, for rehearsals; Let's Encrypt's is known"
    )
    staging_account_key: Path | None = Field(
        None, description="default: beside `account_key`, its name after ``staging-``"
    )

    @property
    def staging(self) -> "AcmeIssuerSettings | None":
        """This issuer at its staging directory, with an account of its own; None where there is none."""
        url = self.staging_directory_url or STAGING_OF.get(self.directory_url)
        if url is None:
            return None
        key = self.staging_account_key or self.account_key.with_name(f"staging-{self.account_key.name}")
        return self.model_copy(update={"directory_url": url, "account_key": key})

    @model_validator(mode="after")
    def _staging_is_no_production(self) -> Self:
        url = self.staging_directory_url
        if url is not None and url.rstrip("/") in {self.directory_url.rstrip("/"), *STAGING_OF}:
            raise ValueError(
                f"staging_directory_url {url} is a production directory, where rehearsals never order: "
                "name the CA's staging directory, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _dns_goes_with_dns_01(self) -> Self:
        if self.challenge == "dns-01" and self.dns is None:
            raise ValueError(
                'challenge = "dns-01" needs a table dns that says who writes the records, as in '
                '[issuers.NAME.dns] with provider = "rfc2136"'
            )
        if self.challenge != "dns-01" and self.dns is not None:
            raise ValueError(f'the table dns goes with challenge = "dns-01", and it is {self.challenge!r}')
        return self

    @property
    def authority_url(self) -> str:
        """The ACME directory, by which limits are known."""
        return self.directory_url

    def open(self, clock: Clock) -> Issuer:
        """Give the issuer of this section."""
        del clock
        from certforecast.execution.issuers.acme.issuer import AcmeIssuer

        return AcmeIssuer(self)
