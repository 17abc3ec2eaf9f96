"""What single resources of cert-manager tell."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from certforecast.clock import as_utc, parse_moment
from certforecast.errors import InputError
from certforecast.history.names import host_of, normalise_name
from certforecast.history.sources import Rejected, Whole
from certforecast.history.sources.batching import Found
from certforecast.history.sources.certmanager_yaml import Resource
from certforecast.history.x509 import certificate_row, split_pem

__all__ = ["finds_of"]

_NAME: Final = "certmanager"
#: What marks a resource as made for a Certificate (cert-manager documentation, "Certificate resource").
_CERTIFICATE_NAME: Final = "cert-manager.io/certificate-name"
_ACME_ERROR: Final = re.compile(r"urn:ietf:params:acme:error:([A-Za-z]+)")
_DETAIL: Final = 300
#: CAs date certificates back by so much at most.
_DATED_BACK: Final = timedelta(hours=1)

#: States of an Order or a Challenge that are a failure.
_FAILED: Final = frozenset({"invalid", "errored", "expired"})
#: Reasons of Events of type Warning that say that an issue failed, by the kind that they are about.
_WARNINGS: Final = {
    "Certificate": "order_failed",
    "CertificateRequest": "order_failed",
    "Order": "order_failed",
    "Challenge": "challenge_failed",
}


def finds_of(resource: Resource, seen: datetime) -> Iterator[Found | Whole | Rejected]:
    """Give what one resource tells.

    Parameters
    ----------
    resource : Resource
        Of any kind; what does not concern certificates tells nothing.
    seen : datetime
        When the resource was dumped or asked for.
    """
    reader = _READERS.get(str(resource.content.get("kind")))
    if reader is None:
        return
    try:
        yield from reader(_About(resource, seen))
    except (InputError, ValueError) as error:
        yield Rejected(resource.position, str(error))


class _About:
    """A resource, read with care: any field may be missing or of another type."""

    def __init__(self, resource: Resource, seen: datetime) -> None:
        self.position = resource.position
        self.seen = seen
        self.content = resource.content
        self.metadata = _dict(self.content.get("metadata"))
        self.spec = _dict(self.content.get("spec"))
        self.status = _dict(self.content.get("status"))
        self.annotations = _dict(self.metadata.get("annotations"))

    @property
    def lineage(self) -> str:
        """The Certificate that the resource is, or was made for."""
        name = self.annotations.get(_CERTIFICATE_NAME) or self.metadata.get("name")
        return f"{self.metadata.get('namespace') or 'default'}/{name}"

    @property
    def created(self) -> datetime | None:
        return self.moment(self.metadata.get("creationTimestamp"))

    def moment(self, value: Any) -> datetime | None:
        """Read a time, None if there is none; never one after the resource was seen."""
        if isinstance(value, datetime):  # YAML knows times
            return min(as_utc(value), self.seen)
        if not isinstance(value, str):
            return None
        try:
            return min(parse_moment(value), self.seen)
        except (ValueError, OverflowError) as error:
            raise InputError(f"{value[:40]!r} is not a time such as 2026-10-01T06:00:00Z") from error

    def condition(self, kind: str) -> dict[str, Any]:
        found = [_dict(one) for one in _list(self.status.get("conditions"))]
        return next((one for one in found if one.get("type") == kind), {})

    def event(
        self,
        kind: str,
        at: datetime,
        *,
        code: str | None = None,
        detail: Any = None,
        certificate: Mapping[str, Any] = MappingProxyType({}),
    ) -> Found:
        names = certificate.get("names")
        row = {
            "at": at,
            "lineage": self.lineage,
            "kind": kind,
            "host": host_of(names) if names else None,
            "code": code,
            "detail": _text(detail)[:_DETAIL] or None,
            "fingerprint": certificate.get("fingerprint"),
            "actor": "cert-manager",
            "source": _NAME,
            "known_at": at,
        }
        return Found("events", row, self.position)

    def failure(self, kind: str, at: datetime, said: Any, reason: Any) -> Found:
        """Give a failure, with the CA's own word for it if it is told."""
        match = _ACME_ERROR.search(_text(said)) or _ACME_ERROR.search(_text(reason))
        return self.event(kind, at, code=match[1] if match else _text(reason) or None, detail=said)


def _certificate(about: _About) -> Iterator[Found]:
    names = []
    for name in [*_list(about.spec.get("dnsNames")), *_list(about.spec.get("ipAddresses"))]:
        if isinstance(name, str):
            names.append(normalise_name(name))
    issuer = _dict(about.spec.get("issuerRef"))
    changed = [about.moment(_dict(one).get("time")) for one in _list(about.metadata.get("managedFields"))]
    written = max((time for time in changed if time is not None), default=about.seen)
    if names:
        row = {
            "host": host_of(names),
            "automation": "cert-manager",
            "issuer": f"{_text(issuer.get('kind')) or 'Issuer'}/{_text(issuer.get('name'))}",
            "valid_from": written,
            "known_at": written,
        }
        yield Found("hosts", row, about.position)
    if (failed := about.moment(about.status.get("lastFailureTime"))) is not None:
        condition = about.condition("Issuing")
        yield about.failure("order_failed", failed, condition.get("message"), condition.get("reason"))


def _request(about: _About) -> Iterator[Found | Rejected]:
    ready = about.condition("Ready")
    when = about.moment(ready.get("lastTransitionTime"))
    if (encoded := about.status.get("certificate")) is not None:
        row = _row(about, encoded, when)
        yield Found("certificates", row, about.position)
        yield about.event("issued", row["known_at"], code=_issuer(about), certificate=row)
    if about.created is not None:
        yield about.event("order_created", about.created, code=_issuer(about))
    failed = about.moment(about.status.get("failureTime"))
    if failed is None and ready.get("reason") in ("Failed", "Denied"):
        failed = when
    if failed is not None:
        yield about.failure("order_failed", failed, ready.get("message"), ready.get("reason"))


def _order(about: _About) -> Iterator[Found]:
    state = _text(about.status.get("state"))
    if state in _FAILED:
        failed = about.moment(about.status.get("failureTime")) or about.seen
        yield about.failure("order_failed", failed, about.status.get("reason"), state)


def _challenge(about: _About) -> Iterator[Found]:
    state = _text(about.status.get("state"))
    if state in _FAILED:
        # A Challenge does not tell when it failed: it had by the time it was seen.
        yield about.failure("challenge_failed", about.seen, about.status.get("reason"), state)


def _secret(about: _About) -> Iterator[Found]:
    if about.content.get("type") == "kubernetes.io/tls":
        encoded = _dict(about.content.get("data")).get("tls.crt")
        if encoded:  # empty until the first issue
            yield Found("certificates", _row(about, encoded, None), about.position)


def _kubernetes_event(about: _About) -> Iterator[Found]:
    subject = _dict(about.content.get("involvedObject") or about.content.get("regarding"))
    kind = _WARNINGS.get(_text(subject.get("kind")))
    if kind is None or about.content.get("type") != "Warning":
        return
    series = _dict(about.content.get("series"))
    times = [
        about.content.get("lastTimestamp"),
        about.content.get("deprecatedLastTimestamp"),
        series.get("lastObservedTime"),
        about.content.get("eventTime"),
    ]
    at = next((time for time in map(about.moment, times) if time is not None), about.created or about.seen)
    about.metadata = {"namespace": subject.get("namespace"), "name": subject.get("name")}
    about.annotations = {}
    yield about.failure(
        kind, at, about.content.get("message") or about.content.get("note"), about.content.get("reason")
    )


_READERS: Final = {
    "Certificate": _certificate,
    "CertificateRequest": _request,
    "Order": _order,
    "Challenge": _challenge,
    "Secret": _secret,
    "Event": _kubernetes_event,
}


def _row(about: _About, encoded: Any, known: datetime | None) -> dict[str, Any]:
    """Read a certificate out of base64; known an hour after its beginning unless a time is given."""
    if isinstance(encoded, str):
        encoded = encoded.encode()
    if not isinstance(encoded, bytes):
        raise InputError("certificate is no text")
    try:
        chain = base64.b64decode(b"".join(encoded.split()), validate=True)
    except binascii.Error as error:
        raise InputError(f"certificate is not base64: {error}") from error
    _, der = next(split_pem(chain), (0, InputError("no PEM certificate stands where one should")))
    if isinstance(der, InputError):
        raise der
    row = certificate_row(der, source=_NAME, known_at=about.seen)
    known = known or min(row["not_before"] + _DATED_BACK, about.seen)
    known = min(max(known, row["not_before"]), max(about.seen, row["not_before"]))
    return {**row, "known_at": known, "details_known_at": known}


def _issuer(about: _About) -> str | None:
    issuer = _dict(about.spec.get("issuerRef"))
    return _text(issuer.get("name")) or None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
