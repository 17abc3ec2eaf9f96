"""Whether the server takes its configuration as it is, and may be told to reload."""

from collections.abc import Iterator

from certforecast.errors import InstallationError
from certforecast.execution.rehearsal.findings import Finding
from certforecast.execution.rehearsal.subject import Subject

__all__ = ["configuration", "reload"]


def configuration(subject: Subject) -> Iterator[Finding]:
    """Run the server's own test of its configuration."""
    for installer in subject.installers:
        try:
            installer.test()
        except InstallationError as error:
            yield Finding(
                code="config", message=f"{error}: mend the configuration, which no reload would take as it is"
            )


def reload(subject: Subject) -> Iterator[Finding]:
    """Ask whether a reload would be permitted, without reloading."""
    for installer in subject.installers:
        try:
            installer.check_reload()
        except InstallationError as error:
            if error.code != "config":  # the check of the configuration says so
                yield Finding(code=error.code or "reload", message=str(error))
