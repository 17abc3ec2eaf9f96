"""Who issues certificates. An issuer takes a signing request in two steps, so that a killed run can go on.

A kind of issuer is a subclass of `IssuerSection` with what can be set for it. Others add theirs by an entry
point in the group ``certforecast.issuers``; nothing else has to know of it.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Protocol

from certforecast.clock import Clock
from certforecast.errors import IssuanceError
from certforecast.settings import IssuerSettings, Settings

__all__ = ["ChallengeError", "Issuer", "IssuerSection", "Order", "open_issuer"]

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


class IssuerSection(IssuerSettings, ABC):
    """What can be set for one kind of issuer."""

    @abstractmethod
    def open(self, clock: Clock) -> Issuer:
        """Give the issuer of this section; what it needs is imported here, and not before."""

    def open_among(self, settings: Settings, clock: Clock) -> Issuer:
        """Give the issuer of this section, which may need other sections.

        Raises
        ------
        IssuanceError
            If the settings do not hold what it needs.
        """
        del settings
        return self.open(clock)


def open_issuer(name: str | None, settings: Settings, clock: Clock) -> Issuer:
    """Give the issuer of a section ``[issuers.NAME]``.

    Raises
    ------
    IssuanceError
        If there is no such section.
    """
    section = settings.issuers.get(name) if name is not None else None
    if not isinstance(section, IssuerSection):
        known = ", ".join(sorted(settings.issuers)) or "none"
        raise IssuanceError(
            f"the settings have no section [issuers.{name or 'NAME'}] (there are: {known}); "
            "add one, or name another in the inventory or in executor.issuer",
            code="config",
        )
    return section.open_among(settings, clock)
