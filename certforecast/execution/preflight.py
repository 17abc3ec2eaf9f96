"""What can be known before an order is spent. Nothing here changes anything."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from certforecast.clock import Clock
from certforecast.errors import ExecutionError, InstallationError, VerificationError
from certforecast.execution.installers import Installer, InstallerSection, make_installer
from certforecast.execution.issuers import Issuer, open_issuer
from certforecast.execution.verification import Served, handshake
from certforecast.planning.plan import Action, Endpoint
from certforecast.settings import Settings

__all__ = ["Ready", "open_installers", "open_places", "preflight", "proven_at"]


@dataclass(frozen=True, slots=True)
class Ready:
    """Everything an action needs, tried as far as that changes nothing.

    Attributes
    ----------
    installers : list of Installer
        One for each set of files that the action's endpoints use.
    served : list of Served
        What each endpoint serves now.
    present : bool
        Whether what is to be installed is in place already, so that it only needs to be loaded.
    """

    issuer: Issuer
    installers: list[Installer]
    served: list[Served]
    present: bool


def preflight(
    action: Action,
    settings: Settings,
    clock: Clock,
    *,
    issuer: Issuer | None = None,
    precheck: Callable[[Installer], None] = lambda installer: installer.precheck(),
) -> Ready:
    """Refuse an action that cannot end well.

    Parameters
    ----------
    action : Action
        For the executor.
    settings : Settings
        Its issuer and its installers.
    clock : callable
        Gives the present.
    issuer : Issuer, optional
        Its issuer, if it is open already.
    precheck : callable
        Has an installer refuse what cannot end well.

    Raises
    ------
    ExecutionError
        If an issuer, installer or endpoint is missing, the files in place could not be put back, the server
        refuses its configuration as it is, or an endpoint serves no certificate.
    """
    if not action.names:
        raise ExecutionError(f"{action.name} has no names to order a certificate for", code="config")
    issuer = issuer or open_issuer(action.issuer, settings, clock)
    installers = open_installers(action, settings)
    for installer in installers:
        installer.check_files()
        precheck(installer)
    endpoints = proven_at(action, settings)
    served = [handshake(endpoint, roots=issuer.roots) for endpoint in endpoints]
    for endpoint, seen in zip(endpoints, served, strict=True):
        if seen.fingerprint is None:
            raise VerificationError(
                f"{endpoint} serves no certificate ({seen.error}), so nothing could be proven there: "
                "start its server, or retire the endpoint"
            )
    present = (
        action.kind == "install"
        and action.successor is not None
        and all(installer.current() == action.successor for installer in installers)
    )
    return Ready(issuer, installers, served, present)


class Installed(Protocol):
    """What installers are opened for: an action, or a candidate for a rehearsal."""

    @property
    def name(self) -> str:
        """What people call the lineage."""
        ...

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """Where it is served."""
        ...

    @property
    def installer(self) -> str | None:
        """A name under ``[installers]``."""
        ...


def open_installers(action: Installed, settings: Settings) -> list[Installer]:
    """Give the installers of an action, in the order of its endpoints.

    Raises
    ------
    InstallationError
        If the action or an endpoint names no installer of the settings, or there is no endpoint.
    """
    return [installer for installer, _ in open_places(action, settings)]


def open_places(action: Installed, settings: Settings) -> list[tuple[Installer, list[Endpoint]]]:
    """Give the installers of an action, each with the endpoints it is proven at, in their order.

    Raises
    ------
    InstallationError
        As of `open_installers`.
    """
    found: dict[tuple[str, ...], tuple[Installer, list[Endpoint]]] = {}
    for endpoint in proven_at(action, settings):
        section = _section(endpoint.installer or action.installer, settings)
        installer = make_installer(section, name=action.name, host=endpoint.host, port=endpoint.port)
        kind = (section.kind, *installer.describe())
        found.setdefault(kind, (installer, []))[1].append(endpoint)
    return list(found.values())


def proven_at(action: Installed, settings: Settings) -> list[Endpoint]:
    """Give the endpoints of an action, with what each speaks until TLS begins.

    Raises
    ------
    InstallationError
        As of `open_installers`.
    """
    if not action.endpoints:
        _section(action.installer, settings)
        raise InstallationError(
            f"{action.name} has no known endpoint where it could be proven: scan for it", code="config"
        )
    endpoints = []
    for endpoint in action.endpoints:
        section = _section(endpoint.installer or action.installer, settings)
        spoken = endpoint.starttls or section.starttls_at(endpoint.port)
        endpoints.append(endpoint.model_copy(update={"starttls": spoken}))
    return endpoints


def _section(name: str | None, settings: Settings) -> InstallerSection:
    section = settings.installers.get(name) if name is not None else None
    if section is None:
        known = ", ".join(sorted(settings.installers)) or "none"
        raise InstallationError(
            f"the settings have no section [installers.{name or 'NAME'}] (there are: {known}): "
            "add one, or name another in the inventory or in executor.installer",
            code="config",
        )
    if not isinstance(section, InstallerSection):
        raise InstallationError(f"there is no installer of kind {section.kind!r}", code="config")
    return section
