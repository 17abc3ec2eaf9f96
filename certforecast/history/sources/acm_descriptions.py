"""What ACM tells of a certificate (``CertificateDetail`` of its API reference), as rows."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from certforecast.clock import as_utc
from certforecast.errors import InputError
from certforecast.history.names import is_wildcard, normalise_name

__all__ = ["events", "first_known", "host"]

#: Failures that ACME has a word for (RFC 8555, section 6.7); others keep ACM's.
_CODES: Final = {
    "CAA_ERROR": "caa",
    "DOMAIN_NOT_ALLOWED": "rejectedIdentifier",
    "DOMAIN_VALIDATION_DENIED": "unauthorized",
    "INVALID_PUBLIC_DOMAIN": "rejectedIdentifier",
    "PCA_LIMIT_EXCEEDED": "rateLimited",
}
#: How a domain was to be validated, and what ACME calls its not being so.
_METHODS: Final = {"DNS": "dns", "HTTP": "connection", "EMAIL": "userActionRequired"}
#: Reasons for revocation that RFC 5280 writes otherwise.
_REASONS: Final = {"CA_COMPROMISE": "cACompromise", "SUPERCEDED": "superseded"}
#: What each status of a renewal is the sign of.
_RENEWALS: Final = {
    "PENDING_AUTO_RENEWAL": "order_created",
    "PENDING_VALIDATION": "challenge_failed",
    "SUCCESS": "issued",
    "FAILED": "order_failed",
}
#: Events about one version of a certificate; the others are about what goes by its ARN.
_OF_A_VERSION: Final = frozenset({"issued", "staged", "revoked"})
#: ACM gives up on a validation after this time.
_VALIDATION_TIME: Final = timedelta(hours=72)
#: Domains that an event names.
_FEW: Final = 5


def first_known(told: dict[str, Any], looked: datetime | None, now: datetime) -> datetime:
    """Tell from when on the present version of a certificate is known.

    ACM's times may be those of an earlier version under the same ARN: what lies before this version's
    validity, or before a look that did not show it, is not its time.

    Parameters
    ----------
    told : dict
        ``CertificateDetail``.
    looked : datetime or None
        When an earlier look showed another version, or none.
    now : datetime
        The present: the answer if no time fits.
    """
    times = [_moment(told, "IssuedAt"), _moment(told, "ImportedAt")]
    renewal = _part(told, "RenewalSummary")
    if renewal.get("RenewalStatus") == "SUCCESS":
        times.append(_moment(renewal, "UpdatedAt"))
    earliest = _earliest(told, looked)
    if earliest is None:
        return now
    return min((time for time in times if time and earliest <= time <= now), default=now)


def events(
    told: dict[str, Any],
    arn: str,
    source: str,
    now: datetime,
    fingerprint: str | None = None,
    looked: datetime | None = None,
) -> Iterator[dict[str, Any]]:
    """Give what happened to a certificate, at the times that ACM gives.

    Parameters
    ----------
    told : dict
        ``CertificateDetail``.
    arn : str
        Of the certificate.
    source : str
        Name of the source.
    now : datetime
        The present; from then on is known what ACM gives no time for.
    fingerprint : str, optional
        Of the present version, if it was asked for. Events that can be this version's tell it.
    looked : datetime, optional
        When an earlier look showed another version.

    Yields
    ------
    dict
        Rows of ``events``.
    """
    common = {
        "lineage": arn.rpartition("/")[2],
        "host": _first_name(told),
        "actor": "acm",
        "source": source,
    }
    earliest = _earliest(told, looked)
    for at, known_at, kind, code, detail in (*_issuance(told, now), *_renewal(told)):
        if at is not None:
            times = {"at": min(at, now), "known_at": min(known_at or at, now)}
            present = kind in _OF_A_VERSION and earliest is not None and at >= earliest
            yield {
                **common,
                **times,
                "kind": kind,
                "code": code,
                "detail": detail,
                "fingerprint": fingerprint if present else None,
            }


def host(told: dict[str, Any], now: datetime) -> dict[str, Any] | None:
    """Give the row of ``hosts`` for a certificate that is in use or renews by itself, known from now on."""
    used_by = told.get("InUseBy")
    # arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE
    arns = [str(arn).split(":") for arn in used_by] if isinstance(used_by, list) else []
    services = sorted({arn[2] for arn in arns if len(arn) > 2 and arn[2]})
    renews = told.get("RenewalEligibility") == "ELIGIBLE"
    name = _first_name(told)
    if name is None or not (services or renews):
        return None
    return {
        "host": name,
        "automation": "acm" if renews else None,
        "issuer": _text(told, "Issuer"),
        "installer": ", ".join(services) or None,
        "valid_from": now,
        "known_at": now,
    }


def _earliest(told: dict[str, Any], looked: datetime | None) -> datetime | None:
    """Give the time before which the present version cannot have been there."""
    begins = _moment(told, "NotBefore")
    return max(begins, looked) if begins and looked else begins


_Told = tuple[datetime | None, datetime | None, str, str | None, str | None]


def _issuance(told: dict[str, Any], now: datetime) -> Iterator[_Told]:
    created, status = _moment(told, "CreatedAt"), told.get("Status")
    if told.get("Type") != "IMPORTED":
        yield created, None, "order_created", None, _text(told, "Type")
    yield _moment(told, "IssuedAt"), None, "issued", None, None
    # Whoever imports a certificate puts it where servers take it from, which proves no server that has.
    yield _moment(told, "ImportedAt"), None, "staged", None, "imported"
    reason = _text(told, "RevocationReason")
    yield _moment(told, "RevokedAt"), None, "revoked", _revocation(reason), None
    if status == "FAILED":
        # ACM does not say when: after the request, and before we asked.
        reason = _text(told, "FailureReason")
        yield created, now, "order_failed", _code(reason), reason
    elif status == "VALIDATION_TIMED_OUT":
        late = min(created, now) + _VALIDATION_TIME if created else None
        yield late, None, "order_failed", _validation(told), "validation timed out"


def _renewal(told: dict[str, Any]) -> Iterator[_Told]:
    renewal = _part(told, "RenewalSummary")
    status, reason = _text(renewal, "RenewalStatus"), _text(renewal, "RenewalStatusReason")
    if kind := _RENEWALS.get(status or ""):
        code, detail = _code(reason), f"renewal {status}"
        if kind == "challenge_failed":
            code = code or _validation(renewal)
            detail += f": {', '.join(_pending(renewal)[:_FEW])}"
        elif reason:
            detail += f": {reason}"
        yield _moment(renewal, "UpdatedAt"), None, kind, code, detail
    update = _part(told, "UpdateSummary")
    methods = _part(update, "DomainValidationMethodUpdateSummary")
    if methods:
        detail = f"validation by {_text(methods, 'To')}, not {_text(methods, 'From')}"
        yield _moment(update, "RequestedAt"), None, "config_changed", None, detail


def _domains(told: dict[str, Any]) -> list[dict[str, Any]]:
    """List the domains that are not validated."""
    domains = told.get("DomainValidationOptions")
    listed = domains if isinstance(domains, list) else []
    return [each for each in listed if isinstance(each, dict) and each.get("ValidationStatus") != "SUCCESS"]


def _pending(told: dict[str, Any]) -> list[str]:
    return [_text(each, "DomainName") or "?" for each in _domains(told)]


def _validation(told: dict[str, Any]) -> str | None:
    methods = [_METHODS.get(_text(each, "ValidationMethod") or "") for each in _domains(told)]
    return next(filter(None, methods), None)


def _code(reason: str | None) -> str | None:
    return _CODES.get(reason, reason) if reason else None


def _revocation(reason: str | None) -> str | None:
    """Write a reason as RFC 5280, section 5.3.1 does: ``KEY_COMPROMISE`` is ``keyCompromise``."""
    if reason is None or reason in _REASONS:
        return _REASONS.get(reason or "")
    first, *rest = reason.lower().split("_")
    return first + "".join(word.capitalize() for word in rest)


def _first_name(told: dict[str, Any]) -> str | None:
    """Give the first name that is one host's, else the first."""
    others = told.get("SubjectAlternativeNames")
    names = []
    for written in [told.get("DomainName"), *(others if isinstance(others, list) else [])]:
        with suppress(InputError):
            if isinstance(written, str):
                names.append(normalise_name(written))
    return next((name for name in names if not is_wildcard(name)), names[0] if names else None)


def _part(told: dict[str, Any], name: str) -> dict[str, Any]:
    part = told.get(name)
    return part if isinstance(part, dict) else {}


def _text(told: dict[str, Any], name: str) -> str | None:
    text = told.get(name)
    return text[:200] if isinstance(text, str) and text else None


def _moment(told: dict[str, Any], name: str) -> datetime | None:
    moment = told.get(name)
    try:
        return as_utc(moment) if isinstance(moment, datetime) else None
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
