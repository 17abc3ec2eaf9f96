"""Issuances as SSLMate's CT Search API v1 describes them."""

import base64
import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from certforecast.clock import parse_moment
from certforecast.errors import InputError
from certforecast.history.dn import parse_oneline
from certforecast.history.names import is_wildcard, name_set_id, normalise_name, registered_domains
from certforecast.history.sources import Whole
from certforecast.history.sources.batching import Found
from certforecast.history.x509 import certificate_row, fingerprint

__all__ = ["finds"]

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

#: Reasons for revocation by their number (RFC 5280, section 5.3.1).
_REASONS: Final = (
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "certificateHold",
    None,
    "removeFromCRL",
    "privilegeWithdrawn",
    "aACompromise",
)
_REASON: Final = re.compile(r"[A-Za-z_]{1,40}")


def finds(item: Any, position: str, known_at: datetime, source: str) -> Iterator[Found | Whole]:
    """Give the certificate of an issuance, and its revocation if there is one.

    Parameters
    ----------
    item : object
        The issuance, as JSON has it.
    position : str
        Where it stood.
    known_at : datetime
        When the answer was had; nothing in it can be from later.
    source : str
        Name of the source.

    Raises
    ------
    InputError
        If a field is missing or is not what it should be.
    """
    if not isinstance(item, dict):
        raise InputError("issuance is not a JSON object")
    der = _der(item)
    if der is None:
        row = _summary(item, source, known_at)
        yield Found("certificates", row, position)
        names, digest = row["names"], row["fingerprint"]
    else:
        yield Whole(der, known_at, position)
        names, digest = _names(item), fingerprint(der)
    if item.get("revoked") is True:
        names = names or certificate_row(der or b"", source=source, known_at=known_at)["names"]
        event = _revoked(item.get("revocation"), names, source, known_at)
        yield Found("events", {**event, "fingerprint": digest}, position)


def _der(item: dict[str, Any]) -> bytes | None:
    # `cert`, with the certificate in it, is what `cert_der` was called before.
    older = item.get("cert")
    written = item.get("cert_der") or (older.get("data") if isinstance(older, dict) else None)
    if written is None:
        return None
    try:
        der = base64.b64decode(written, validate=True)
    except (TypeError, ValueError) as error:
        raise InputError("cert_der is not base64; fetch the issuance again") from error
    if (digest := _digest(item, "cert_sha256")) and digest != fingerprint(der):
        raise InputError("cert_der is not the certificate that cert_sha256 names; fetch the issuance again")
    return der


def _summary(item: dict[str, Any], source: str, known_at: datetime) -> dict[str, Any]:
    """Give the row of a certificate that is only described."""
    issuer = item.get("issuer")
    name = issuer.get("name") if isinstance(issuer, dict) else None
    if not isinstance(name, str) or not name.isprintable():
        raise InputError("issuer is missing; fetch the issuance with expand=issuer, or with expand=cert_der")
    names = _names(item)
    if not names:
        raise InputError("dns_names names no server; fetch the issuance with expand=dns_names")
    not_before, not_after = _moment(item, "not_before"), _moment(item, "not_after")
    if not_after <= not_before:
        raise InputError(
            f"validity is inverted: not_after {not_after} is not later than not_before {not_before}"
        )
    digest, described = _digest(item, "cert_sha256"), _digest(item, "tbs_sha256")
    if not (digest or described):
        raise InputError("issuance has neither cert_sha256 nor tbs_sha256")
    issued_by = parse_oneline(name)
    return {
        "fingerprint": digest or "~" + hashlib.sha256(f"tbs {described}".encode()).hexdigest()[:63],
        "issuer_dn": issued_by.rfc4514,
        "issuer_org": issued_by.organisation,
        "issuer_cn": issued_by.common_name,
        "names": names,
        "name_set_id": name_set_id(names),
        "registered_domains": registered_domains(names),
        "wildcard": any(is_wildcard(each) for each in names),
        "not_before": not_before,
        "not_after": not_after,
        "validity_days": (not_after - not_before) / timedelta(days=1),
        "is_precertificate": False,
        "spki_hash": _digest(item, "pubkey_sha256"),
        "source": source,
        "known_at": known_at,
    }


def _revoked(revocation: Any, names: list[str], source: str, known_at: datetime) -> dict[str, Any]:
    told = revocation if isinstance(revocation, dict) else {}
    seen = min(_moment(told, "checked_at"), known_at) if told.get("checked_at") else known_at
    at = min(_moment(told, "time"), known_at) if told.get("time") else seen
    host = next((name for name in names if not is_wildcard(name)), names[0])
    return {
        "at": at,
        "lineage": host,
        "host": host,
        "kind": "revoked",
        "code": _reason(told.get("reason")),
        "actor": source,
        "source": source,
        "known_at": max(seen, at),
    }


def _reason(written: Any) -> str | None:
    if isinstance(written, int) and 0 <= written < len(_REASONS):
        return _REASONS[written]
    return written if isinstance(written, str) and _REASON.fullmatch(written) else None


def _names(item: dict[str, Any]) -> list[str]:
    written = item.get("dns_names")
    names = set()
    for name in written if isinstance(written, list) else []:
        with suppress(InputError):
            names.add(normalise_name(str(name)))
    return sorted(names)


def _moment(item: dict[str, Any], field: str) -> datetime:
    written = item.get(field)
    try:
        return parse_moment(written)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{field} {str(written)[:40]!r} is not a date such as 2026-10-01T06:00:00Z"
        ) from error


def _digest(item: dict[str, Any], field: str) -> str | None:
    written = item.get(field)
    return written if isinstance(written, str) and _DIGEST.fullmatch(written) else None
