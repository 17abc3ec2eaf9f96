"""Whether the names are there, and lead here."""

from collections.abc import Iterator

from certforecast.execution.rehearsal.findings import Finding, LeftOut
from certforecast.execution.rehearsal.resolving import ResolvingError
from certforecast.execution.rehearsal.subject import Subject

__all__ = ["resolution"]


def resolution(subject: Subject) -> Iterator[Finding]:
    """Resolve every name. That it leads here is shown by the challenge; more is asked by the settings."""
    section = subject.acme.section
    if section.challenge == "dns-01" and not subject.settings.rehearsal.addresses:
        raise LeftOut("its names are validated by dns-01, which needs no addresses")
    url = section.directory_url
    here = set(subject.settings.rehearsal.addresses)
    for host in subject.hosts:
        if host.startswith("*."):
            continue  # has no address of its own
        try:
            found = subject.resolver.addresses(host)
        except ResolvingError as error:
            yield Finding(code="dns", message=f"{error}: mend its servers", host=host)
            continue
        if not found:
            yield Finding(
                code="dns",
                message=f"{host} has no address, so {url} cannot validate it: create its A or AAAA record, "
                "or leave the name out",
                host=host,
            )
        elif here and (elsewhere := [address for address in found if address not in here]):
            yield Finding(
                code="dns",
                message=f"{host} points to {', '.join(elsewhere)}, which is none of rehearsal.addresses: "
                "change its record, or add the address to the settings",
                host=host,
            )
