"""acme-dns: a small DNS server for challenges alone, changed by HTTP."""

import json
from typing import Final

import requests
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from certforecast.errors import IssuanceError
from certforecast.execution.issuers import ChallengeError
from certforecast.execution.issuers.acme.dns.provider import Provider, Record
from certforecast.execution.issuers.acme.dns.settings import AcmeDnsSettings
from certforecast.execution.issuers.acme.secrets import read_private

__all__ = ["AcmeDnsProvider"]

_PATIENCE_S: Final = 20.0


class _Account(BaseModel):
    """What a registration there gave, as clients store it."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    username: str
    password: str
    subdomain: str
    fulldomain: str
    server_url: str | None = None


class AcmeDnsProvider(Provider):
    """Sends texts to acme-dns, which shows the last two of each account.

    Parameters
    ----------
    settings : AcmeDnsSettings
        The accounts are read here.
    """

    def __init__(self, settings: AcmeDnsSettings) -> None:
        self._settings = settings
        text = read_private(settings.accounts_file, "accounts of acme-dns")
        try:
            found = TypeAdapter(dict[str, _Account]).validate_python(json.loads(text))
        except (ValueError, ValidationError) as error:
            places = (
                ", ".join(".".join(map(str, one["loc"])) for one in error.errors(include_input=False))
                if isinstance(error, ValidationError)
                else "no JSON"
            )
            raise IssuanceError(
                f"{settings.accounts_file} holds no accounts of acme-dns as its clients "
                f"store them ({places})",
                code="config",
            ) from None
        self._accounts = {domain.lower().removeprefix("*."): account for domain, account in found.items()}

    def add(self, record: Record) -> None:
        """Send a text.

        Raises
        ------
        ChallengeError
            If there is no account for the domain, its CNAME is missing, or the server does not take it.
        """
        account = self._accounts.get(record.domain)
        if account is None:
            raise ChallengeError(
                f"{self._settings.accounts_file} has no account for {record.domain}: "
                "register one at acme-dns",
                code="config",
            )
        full = account.fulldomain.lower().rstrip(".")
        if self._settings.follow_cname and record.target.lower() != full:
            raise ChallengeError(
                f"{record.name} leads to {record.target}, not to its acme-dns account: "
                f"create the record {record.name}. CNAME {full}.",
                code="dns",
            )
        self._send(account, record)

    def remove(self, record: Record) -> None:
        """Do nothing: acme-dns keeps the last two texts, and takes none away."""

    def _send(self, account: _Account, record: Record) -> None:
        base = account.server_url or self._settings.url
        if base is None:
            raise ChallengeError(
                f"no acme-dns server is named for {record.domain}: set dns.url", code="config"
            )
        url, trust = f"{base.rstrip('/')}/update", self._settings.ca_file
        try:
            answer = requests.post(
                url,
                json={"subdomain": account.subdomain, "txt": record.value},
                headers={"X-Api-User": account.username, "X-Api-Key": account.password},
                timeout=_PATIENCE_S,
                allow_redirects=False,  # the credentials are for this server alone
                verify=True if trust is None else str(trust),
            )
        except requests.RequestException as error:
            raise ChallengeError(f"acme-dns {url} cannot be reached: {error}", code="dns") from error
        if answer.status_code != 200:
            raise ChallengeError(
                f"acme-dns {url} answered {answer.status_code} for {record.domain}: "
                f"{answer.text[:200].strip() or 'nothing'}; see whether the account is still "
                "there, and whether it may be used from this address",
                code="dns",
            )
