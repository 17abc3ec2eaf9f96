"""Who issues certificates. An issuer takes a signing request in two steps, so that a killed run can go on."""

from pathlib import Path
from typing import Any, Protocol

from certforecast.clock import Clock
from certforecast.errors import IssuanceError
from certforecast.settings import EmbeddedIssuerSettings, Settings

__all__ = ["ChallengeError", "Issuer", "Order", "open_issuer"]

#: What an issuer needs to find an order again. It is checkpointed, so it is JSON and holds nothing secret.
Order = dict[str, Any]


class ChallengeError(IssuanceError):
    """The issuer could not validate a name."""


class Issuer(Protocol):
    """An issuer of certificates."""

    @property
    def roots(self) -> Path | None:
        """PEM file of the roots that issued chains lead to; None means the system's."""
        ...

    def order(self, csr: bytes) -> Order:
        """Place an order for the names of a signing request (PEM). No certificate is issued yet.

        Raises
        ------
        IssuanceError
            If the issuer refuses it.
        """
        ...

    def issue(self, order: Order, csr: bytes) -> bytes:
        """Give the chain (PEM, leaf first) of an order.

        Called again for the same order it gives the same certificate, and never a second one.

        Raises
        ------
        ChallengeError
            If a name could not be validated; `code` says why.
        IssuanceError
            If no certificate was issued for another reason.
        """
        ...


def open_issuer(name: str | None, settings: Settings, clock: Clock) -> Issuer:
    """Give the issuer of a section ``[issuers.NAME]``.

    Raises
    ------
    IssuanceError
        If there is no such section.
    """
    section = settings.issuers.get(name) if name is not None else None
    if section is None:
        known = ", ".join(sorted(settings.issuers)) or "none"
        raise IssuanceError(
            f"the settings have no section [issuers.{name or 'NAME'}] (there are: {known}); "
            "add one, or name another in the inventory or in executor.issuer",
            code="config",
        )
    if isinstance(section, EmbeddedIssuerSettings):
        from certforecast.execution.issuers.embedded import EmbeddedIssuer

        return EmbeddedIssuer(section.directory, validity_days=section.validity_days, clock=clock)
    from certforecast.execution.issuers.acme import AcmeIssuer

    return AcmeIssuer(section)
