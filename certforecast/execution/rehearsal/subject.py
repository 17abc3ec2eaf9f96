"""What the checks of one rehearsal share."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from certforecast.clock import Clock
from certforecast.errors import InstallationError
from certforecast.execution.installers import Installer
from certforecast.execution.issuers.embedded import EmbeddedIssuerSettings
from certforecast.execution.preflight import open_installers
from certforecast.execution.rehearsal.authority import Authority
from certforecast.execution.rehearsal.findings import LeftOut
from certforecast.history.names import is_ip
from certforecast.settings import Settings

if TYPE_CHECKING:
    from certforecast.execution.rehearsal.resolving import Resolver
    from certforecast.planning.rehearsing import Candidate

__all__ = ["Subject"]


@dataclass(frozen=True)
class Subject:
    """One certificate whose renewal is rehearsed.

    Attributes
    ----------
    candidate : Candidate
        Its names, endpoints, issuer and installer.
    authorities : dict of str to Authority
        The ACME servers of the settings, by the name of their section.
    """

    candidate: "Candidate"
    settings: Settings
    resolver: "Resolver"
    authorities: dict[str, Authority]
    clock: Clock

    @property
    def acme(self) -> Authority:
        """The ACME server that issues it.

        Raises
        ------
        LeftOut
            If there is none.
        """
        name = self.candidate.issuer
        section = self.settings.issuers.get(name) if name is not None else None
        if section is not None and section.stands_for is not None:
            name, section = section.stands_for, self.settings.issuers.get(section.stands_for)
        if section is None:
            raise LeftOut("neither the inventory nor executor.issuer names an issuer of the settings")
        if isinstance(section, EmbeddedIssuerSettings):
            raise LeftOut(f"the issuer {name} is our own authority: it validates nothing, has no staging")
        return self.authorities[str(name)]

    @cached_property
    def installers(self) -> Sequence[Installer]:
        """What would put it in place.

        Raises
        ------
        LeftOut
            If there is none.
        """
        own = [endpoint.installer for endpoint in self.candidate.endpoints]
        if self.candidate.installer is None and not any(own):
            raise LeftOut("neither the inventory nor executor.installer names an installer of the settings")
        try:
            return open_installers(self.candidate, self.settings)
        except InstallationError as error:
            raise LeftOut(str(error)) from error

    @property
    def hosts(self) -> list[str]:
        """Its names that are DNS names, wildcards as they are."""
        return [name for name in self.candidate.names if not is_ip(name)]
