"""Whether a challenge's answer can be fetched from outside: http-01, looked for as an authority does."""

import errno
import os
import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

import urllib3

from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.rehearsal.findings import Finding, LeftOut
from certforecast.execution.rehearsal.resolving import Resolver, ResolvingError
from certforecast.execution.rehearsal.subject import Subject
from certforecast.history.names import is_ip

if TYPE_CHECKING:
    from acme import challenges

__all__ = ["challenge"]

#: Seconds for connecting, and for the answer. Let's Encrypt takes ten for all of it.
_PATIENCE: Final = urllib3.Timeout(connect=5.0, read=5.0)
_REDIRECTS: Final = 10
#: Names looked at side by side: of a certificate with a hundred, many may not answer.
_ABREAST: Final = 8
_MOVED: Final = (301, 302, 303, 307, 308)
_LIMIT: Final = 4096
_NO_ROUTE: Final = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class _RefusedError(Exception):
    """What stood in the way, with its code."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class _Answer(NamedTuple):
    status: int
    location: str | None
    text: str


class _NoRouteError(Exception):
    """This machine has no way to such addresses, so it cannot tell."""


def challenge(subject: Subject) -> Iterator[Finding]:
    """Show a made-up answer as the issuer would, and fetch it by each address of each name."""
    from acme import challenges

    section = subject.acme.section
    if section.challenge != "http-01":
        raise LeftOut(f"its names are validated by {section.challenge}, not by http-01")
    for host in subject.hosts:
        if host.startswith("*."):
            yield Finding(
                code="unsupported",
                message=f"no authority validates the wildcard {host} by http-01: set challenge of its issuer "
                "to dns-01, or order it elsewhere",
                host=host,
            )
    wanted = [name for name in subject.candidate.names if not name.startswith("*.")]
    token = challenges.HTTP01(token=secrets.token_bytes(32))
    answer = secrets.token_urlsafe(32)
    with _published(section, {token: answer}), ThreadPoolExecutor(_ABREAST) as pool:
        for found in pool.map(lambda host: [*_seen(subject, host, token.path, answer)], wanted):
            yield from found


def _published(
    section: AcmeIssuerSettings, answers: "Mapping[challenges.HTTP01, str]"
) -> AbstractContextManager[None]:
    from certforecast.execution.issuers.acme.http01 import serve, write_below

    if section.webroot is not None:
        return write_below(section.webroot, answers)
    return serve(section.http_port, answers)


def _seen(subject: Subject, host: str, path: str, answer: str) -> Iterator[Finding]:
    """Fetch an answer by every address of a name: an authority may take any."""
    try:
        addresses = subject.resolver.addresses(host) if host in subject.hosts else [host]
    except ResolvingError:  # the check of the names says so
        return
    port = subject.settings.rehearsal.http_port
    served = "below the web root" if subject.acme.section.webroot else "on the port"
    for address in addresses:
        try:
            got = _fetch(subject.resolver, f"http://{_bracketed(host)}:{port}{path}", address, port)
        except _NoRouteError:
            continue
        except _RefusedError as refused:
            yield Finding(code=refused.code, message=f"{host} at {address}: {refused}", host=host)
            continue
        if got.strip() != answer:
            yield Finding(
                code="unauthorized",
                message=f"{host} at {address} serves something else for a challenge's path than what was put "
                f"{served} of the settings: have {path.rpartition('/')[0]}/ lead there",
                host=host,
            )


def _fetch(resolver: Resolver, url: str, address: str, port: int) -> str:
    """Fetch by a given address, following redirects as authorities do."""
    origin = urlsplit(url).hostname
    for _ in range(_REDIRECTS + 1):
        target = urlsplit(url)
        try:
            asked = target.port or {"http": 80, "https": 443}.get(target.scheme)
        except ValueError:  # no number
            asked = None
        if asked not in (80, 443, port) or target.hostname is None:
            raise _RefusedError(
                f"redirects to {url}, and authorities follow to the ports 80 and 443 only: mend the redirect",
                "connection",
            )
        if target.hostname != origin:
            origin, address = target.hostname, _first(resolver, target.hostname)
        path = f"{target.path or '/'}{'?' if target.query else ''}{target.query}"
        answer = _get(target.scheme, address, asked, target.hostname, path)
        location = answer.location
        if answer.status not in _MOVED or not location:
            if answer.status == 200:
                return answer.text
            raise _RefusedError(
                f"port {asked} answers {answer.status} for {target.path}: have that path served from where "
                "the settings put challenges",
                "unauthorized",
            )
        url = urljoin(url, location)
    raise _RefusedError(f"redirects more than {_REDIRECTS} times: mend the redirect", "connection")


def _get(scheme: str, address: str, port: int, host: str, path: str) -> _Answer:
    pool: urllib3.HTTPConnectionPool
    if scheme == "https":  # authorities do not look at the certificate here: it may have expired
        pool = urllib3.HTTPSConnectionPool(
            address, port, server_hostname=host, cert_reqs="CERT_NONE", assert_hostname=False
        )
    else:
        pool = urllib3.HTTPConnectionPool(address, port)
    try:
        with pool:
            answer = pool.request(
                "GET",
                path,
                headers={
                    "Host": _bracketed(host) + ("" if port in (80, 443) else f":{port}"),
                    "User-Agent": "certforecast",
                },
                redirect=False,
                retries=False,
                timeout=_PATIENCE,
                preload_content=False,
            )
            text = answer.read(_LIMIT).decode("utf-8", "replace")
            return _Answer(answer.status, answer.headers.get("Location"), text)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        if _cause(error) in _NO_ROUTE:
            raise _NoRouteError from error
        raise _RefusedError(
            f"port {port} cannot be reached: {_words(error)}; open it in every firewall before it, and see "
            "that the server listens there",
            "connection",
        ) from error


def _first(resolver: Resolver, host: str) -> str:
    """Give the address that is asked after a redirect."""
    if is_ip(host):
        return host
    try:
        found = resolver.addresses(host)
    except ResolvingError as error:
        raise _RefusedError(f"redirects to {host}: {error}", "dns") from error
    if not found:
        raise _RefusedError(f"redirects to {host}, which has no address: mend the redirect", "dns")
    return found[0]


def _cause(error: BaseException) -> int | None:
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno is not None:
            return found.errno
        found = found.__cause__ or found.__context__
    return None


def _words(error: Exception) -> str:
    number = _cause(error)
    if number is not None and number > 0:
        return os.strerror(number)
    return "no answer in time" if isinstance(error, urllib3.exceptions.TimeoutError) else str(error)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
