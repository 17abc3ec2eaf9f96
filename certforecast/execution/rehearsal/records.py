"""Whether TXT records can be written and removed, as dns-01 needs it."""

import secrets
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric import ec

from certforecast.errors import IssuanceError
from certforecast.execution.rehearsal.findings import Finding, LeftOut
from certforecast.execution.rehearsal.subject import Subject
from certforecast.history.names import is_ip

__all__ = ["records"]


def records(subject: Subject) -> Iterator[Finding]:
    """Write a made-up record for every name, see it shown, and remove it; others that are there stay."""
    from acme import challenges
    from josepy.jwk import JWKEC

    from certforecast.execution.issuers.acme.answers import Answer
    from certforecast.execution.issuers.acme.dns01 import Dns01Solver

    section = subject.acme.section
    if section.dns is None:
        raise LeftOut(f"its names are validated by {section.challenge}, not by dns-01")
    for address in filter(is_ip, subject.candidate.names):
        yield Finding(
            code="unsupported",
            message=f"no authority validates the IP address {address} by dns-01: order it elsewhere",
            host=address,
        )
    key = JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
    domains = dict.fromkeys(host.removeprefix("*.") for host in subject.hosts)
    answers = [Answer(name, challenges.DNS01(token=secrets.token_bytes(32)), key) for name in domains]
    try:
        with Dns01Solver(section.dns, strict=True).show(answers):
            pass
    except IssuanceError as error:
        yield Finding(code=error.code or "dns", message=str(error))
