"""Certificates of which a monitor kept a few labels."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from certforecast.errors import InputError
from certforecast.history.dn import DistinguishedName, parse_oneline
from certforecast.history.names import NameSet, is_ip, normalise_name
from certforecast.history.sources import Rejected
from certforecast.history.sources.batching import Found
from certforecast.history.sources.lifetimes import estimated_not_before
from certforecast.history.sources.metrics_series import moment
from certforecast.history.sources.metrics_watch import Watch

__all__ = ["FirstSights", "dn_of_fields", "dn_of_go", "end_of", "names_of", "serial_of", "stand_in"]

#: Seconds since 1970 of 9999-12-31T23:59:59Z, the last end that X.509 knows.
_LAST_END: Final = 253402300799
_QUOTED: Final = re.compile(r'["\\]')
_ESCAPE: Final = r"\\\g<0>"
_UNKNOWN: Final = DistinguishedName("", None, None)
_SERIAL: Final = {10: re.compile(r"[0-9]{1,50}"), 16: re.compile(r"[0-9a-fA-F]{1,42}")}


class FirstSights:
    """Certificates, each from its first sighting on, in whichever place that was."""

    def __init__(self) -> None:
        self._before = set[str]()
        self._first = dict[str, tuple[int, str, dict[str, Any]]]()

    def wants(self, fingerprint: str, time_ms: int) -> bool:
        """Tell whether this would be the first sighting."""
        if fingerprint in self._before:
            return False
        first = self._first.get(fingerprint)
        return first is None or time_ms < first[0]

    def note(self, fingerprint: str, time_ms: int, position: str, **known: Any) -> None:
        """Remember a sighting; `known` is what the row needs beside it."""
        self._first[fingerprint] = time_ms, position, known

    def rows(self, watch: Watch, source: str) -> Iterator[Found | Rejected]:
        """Give the rows of ``certificates`` for what was noted, those of an earlier import left out."""
        for fingerprint, (time, position, known) in self._first.items():
            self._before.add(fingerprint)
            if watch.is_new(time):
                try:
                    row = _row(fingerprint=fingerprint, seen=moment(time), source=source, **known)
                except InputError as error:
                    yield Rejected(position, str(error))
                else:
                    yield Found("certificates", row, position)
        self._first.clear()


def _row(
    *,
    fingerprint: str,
    seen: datetime,
    source: str,
    names: NameSet,
    not_after: datetime,
    not_before: datetime | None = None,
    issuer: DistinguishedName = _UNKNOWN,
    serial: str | None = None,
    subject_cn: str | None = None,
) -> dict[str, Any]:
    begins = not_before or estimated_not_before(seen, not_after)
    return {
        "fingerprint": fingerprint,
        "serial": serial,
        "issuer_dn": issuer.rfc4514,
        "issuer_org": issuer.organisation,
        "issuer_cn": issuer.common_name,
        "subject_cn": subject_cn,
        "names": names.names,
        "name_set_id": names.id,
        "registered_domains": names.registered_domains,
        "wildcard": names.wildcard,
        "not_before": begins,
        "not_after": not_after,
        "validity_days": (not_after - begins) / timedelta(days=1),
        "is_precertificate": False,
        "source": source,
        "known_at": seen,
    }


def end_of(value: float | None) -> datetime | None:
    """Read a time in seconds; None if there is none. Exporters written in Go say 0 or -62135596800 then."""
    if value is None or not 0 < value <= _LAST_END:
        return None
    return datetime.fromtimestamp(int(value), UTC)


def serial_of(text: str, base: int) -> str | None:
    """Read a serial number; None if it is none."""
    return f"{int(text, base):x}" if _SERIAL[base].fullmatch(text) else None


def names_of(texts: Iterable[str], *, only_hosts: bool = False) -> NameSet | None:
    """Gather the names of servers among texts; None if there is none.

    Parameters
    ----------
    only_hosts : bool
        Whether to leave out names without a dot, as those of authorities ("kubernetes") are.
    """
    names = set[str]()
    for text in texts:
        try:
            name = normalise_name(text)
        except InputError:
            continue
        if is_ip(name) or "." in name or not only_hosts:
            names.add(name)
    return NameSet.of(names) if names else None


def stand_in(*identity: Any) -> str:
    """Make the stand-in for a fingerprint that is not known."""
    return "~" + hashlib.sha256("\n".join(map(str, identity)).encode()).hexdigest()[:63]


def dn_of_go(text: str) -> DistinguishedName:
    """Read a name as Go prints it (RFC 2253, ``CN=R3,O=Let's Encrypt,C=US``); as it is if that fails."""
    try:
        name = x509.Name.from_rfc4514_string(text)
    except ValueError:
        return DistinguishedName(text, None, None)
    organisation, common_name = (
        next((str(part.value) for part in name.get_attributes_for_oid(oid)), None)
        for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)
    )
    return DistinguishedName(name.rfc4514_string(), organisation, common_name)


def dn_of_fields(fields: Iterable[tuple[str, str]]) -> DistinguishedName:
    """Put a name together from its parts, in the order of the certificate, leaving out empty ones."""
    parts = [f'{key}="{_QUOTED.sub(_ESCAPE, value)}"' for key, value in fields if value]
    try:
        return parse_oneline(", ".join(parts))
    except InputError:
        return _UNKNOWN
