"""A whole order at the staging directory: challenges, a throw-away key, and a chain that is discarded."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from certforecast.errors import IssuanceError
from certforecast.execution.rehearsal.advice import advised
from certforecast.execution.rehearsal.findings import Finding, LeftOut
from certforecast.execution.rehearsal.subject import Subject
from certforecast.execution.staging import signing_request

__all__ = ["order"]

#: Of the time a check may take, the share in which the server must be done: the rest is for the way.
_SHARE: Final = 0.7


def order(subject: Subject) -> Iterator[Finding]:
    """Order and finalize at the staging directory. The production directory is never asked for an order."""
    from certforecast.execution.issuers.acme.issuer import AcmeIssuer

    section = subject.acme.section.staging
    if section is None:
        raise LeftOut(
            f"no staging directory of {subject.acme.section.directory_url} is known: set "
            "staging_directory_url of its issuer"
        )
    request = signing_request(ec.generate_private_key(ec.SECP256R1()), subject.candidate.names)
    issuer = AcmeIssuer(section, deadline_s=_SHARE * subject.settings.rehearsal.timeout_s)
    try:
        placed = issuer.order(request)
        issuer.issue(placed, request)
    except IssuanceError as error:
        yield advised(error)
        return
    # Else the next rehearsal would pass on what this one has shown. It has passed, whatever comes of it.
    with suppress(IssuanceError):
        issuer.forget(placed)
