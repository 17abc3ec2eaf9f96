"""Who may issue: CAA records (RFC 8659), with the parameters of ACME (RFC 8657)."""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from certforecast.errors import IssuanceError
from certforecast.execution.rehearsal.findings import Finding, LeftOut
from certforecast.execution.rehearsal.resolving import Caa, ResolvingError
from certforecast.execution.rehearsal.subject import Subject

__all__ = ["caa", "refusal", "relevant"]

_LABEL: Final = r"[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?"
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PARAMETER: Final = re.compile(rf"({_LABEL})[ \t]*=[ \t]*([!-:<-~]*)")
_KNOWN: Final = {"issue", "issuewild", "iodef", "contactemail", "contactphone", "issuemail", "issuevmc"}


def caa(subject: Subject) -> Iterator[Finding]:
    """Ask for the CAA records of every name, and whether they let the authority issue."""
    authority = subject.acme
    url, method = authority.section.directory_url, authority.section.challenge
    try:
        identities = authority.section.caa_identities or authority.directory().caa_identities
    except IssuanceError as error:
        raise LeftOut(f"its directory cannot be read, see account: {error}") from error
    if not identities:
        raise LeftOut(f"{url} does not say how CAA records name it: set caa_identities of its issuer")
    try:
        account = authority.account()
    except IssuanceError:  # the check of the account says so
        account = None
    for host in subject.hosts:
        try:
            place, records = relevant(host, subject.resolver.caa)
        except ResolvingError as error:
            yield Finding(
                code="dns",
                message=f"{error}; an authority that gets no answer refuses to issue: mend its servers",
                host=host,
            )
            continue
        wrong = refusal(records, identities, wildcard=host.startswith("*."), account=account, method=method)
        if wrong is not None:
            yield Finding(
                code="caa",
                message=f"the CAA records at {place} do not let {url} issue for {host}: {wrong}; add a "
                f'record like {place}. CAA 0 issue "{identities[0]}"',
                host=host,
            )


def relevant(host: str, ask: Callable[[str], Sequence[Caa]]) -> tuple[str, Sequence[Caa]]:
    """Climb from a name to the first ancestor that has CAA records (RFC 8659, section 3).

    Parameters
    ----------
    host : str
        A DNS name; of a wildcard, what it stands below.
    ask : callable
        Gives the CAA records of a name itself.

    Returns
    -------
    str, sequence of Caa
        Where they were found, and they; the name and nothing if there are none up to the root.
    """
    name = host.removeprefix("*.")
    labels = name.split(".")
    for start in range(len(labels)):
        place = ".".join(labels[start:])
        if records := ask(place):
            return place, records
    return name, ()


def refusal(
    records: Sequence[Caa],
    identities: Collection[str],
    *,
    wildcard: bool,
    account: str | None = None,
    method: str = "http-01",
) -> str | None:
    """Say why CAA records forbid to issue; None if they do not.

    Parameters
    ----------
    records : sequence of Caa
        The relevant ones.
    identities : collection of str
        Names of the authority, any of which allows it.
    wildcard : bool
        Whether the name is a wildcard: for those, ``issuewild`` comes before ``issue``.
    account : str, optional
        Address of the ACME account; without it, a record for one account only is taken to be for ours.
    method : str
        How the authority is to validate.
    """
    for record in records:
        if record.critical and record.tag not in _KNOWN:
            return f"a critical record of the unknown kind {record.tag!r} forbids everybody"
    kinds = {record.tag for record in records}
    kind = "issuewild" if wildcard and "issuewild" in kinds else "issue"
    allowed = [record.value for record in records if record.tag == kind]
    if not allowed:
        return None
    ours = {identity.lower().rstrip(".") for identity in identities}
    reasons = []
    for value in allowed:
        parsed = _parsed(value)
        if parsed is None:
            reasons.append(f"{value!r} cannot be read")
            continue
        domain, parameters = parsed
        if domain not in ours:
            reasons.append(f"{domain or 'nobody'} is allowed")
        elif method not in parameters.get("validationmethods", method).split(","):
            reasons.append(f"{domain} may validate by {parameters['validationmethods']} only, not {method}")
        elif account is not None and parameters.get("accounturi", account) != account:
            reasons.append(f"{domain} may issue for account {parameters['accounturi']} only, not {account}")
        else:
            return None
    return "; ".join(dict.fromkeys(reasons))


def _parsed(value: str) -> tuple[str, dict[str, str]] | None:
    """Read an issue value (RFC 8659, section 4.2); None if it is malformed, which allows nobody."""
    domain, _, rest = value.partition(";")
    domain = domain.strip(" \t").lower()
    if domain and not _DOMAIN.fullmatch(domain):
        return None
    parameters: dict[str, str] = {}
    for part in rest.split(";") if rest.strip(" \t") else ():
        match = _PARAMETER.fullmatch(part.strip(" \t"))
        if match is None:
            return None
        parameters[match[1].lower()] = match[2]
    return domain, parameters
