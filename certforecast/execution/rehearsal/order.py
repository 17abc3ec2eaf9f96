"""A whole order at the staging directory: challenges, a throw-away key, and a chain that is discarded."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from certforecast.errors import IssuanceError
from certforecast.execution.keys import load_key, new_key, signing_request
from certforecast.execution.rehearsal.advice import advised
from certforecast.execution.rehearsal.findings import Finding, LeftOut
from certforecast.execution.rehearsal.subject import Subject

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
    # A throw-away key, but of the kind that a renewal makes: authorities do not sign all kinds.
    keys = subject.acme.section.keys or subject.settings.keys
    request = signing_request(load_key(new_key(keys.algorithm)), subject.candidate.names)
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
