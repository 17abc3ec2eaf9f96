"""Entries of crt.sh: what one says, and which of them speak of the same certificate."""

import hashlib
import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from certforecast.clock import parse_moment
from certforecast.errors import InputError
from certforecast.history.dn import DistinguishedName, parse_oneline
from certforecast.history.names import is_wildcard, name_set_id, normalise_name, registered_domains

__all__ = ["Entry", "entry_id", "merged", "parse_entry"]

_SERIAL: Final = re.compile(r"[0-9a-fA-F]{1,64}")
_ID: Final = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, checked; after merging, one certificate.

    Attributes
    ----------
    position : str
        Where it stood.
    issuer, subject_cn, names, not_before, not_after, serial
        What it says of the certificate; `serial` is None in the older form and in CSV.
    logged : datetime
        When a log first had it.
    first, last : int or None
        The lowest and the highest of crt.sh's numbers for it.
    """

    position: str
    issuer: DistinguishedName
    subject_cn: str | None
    names: frozenset[str]
    not_before: datetime
    not_after: datetime
    serial: str | None
    logged: datetime
    first: int | None
    last: int | None

    @property
    def issue(self) -> tuple[str, ...]:
        """What identifies the certificate, its names apart."""
        return self.issuer.rfc4514, self.serial or "", self.not_before.isoformat(), self.not_after.isoformat()

    @property
    def same_entry(self) -> Hashable:
        """What rows for one entry share."""
        if self.serial:
            return self.issue
        return (*self.issue, self.position if self.first is None else self.first)

    @property
    def same_certificate(self) -> tuple[str, ...]:
        """What entries for one certificate share."""
        return self.issue if self.serial else (*self.issue, name_set_id(self.names))

    @property
    def fingerprint(self) -> str:
        """The stand-in for the certificate's fingerprint.

        It is made of crt.sh's lowest number for the certificate, which every form of export has and which
        later entries do not change; without numbers, of what the entries share.
        """
        identity = "\n".join(self.same_certificate) if self.first is None else f"crt.sh {self.first}"
        return "~" + hashlib.sha256(identity.encode()).hexdigest()[:63]

    def joined(self, other: "Entry") -> "Entry":
        """Say what two entries for one certificate say together."""
        numbers = [
            number for entry in (self, other) for number in (entry.first, entry.last) if number is not None
        ]
        return replace(
            self,
            names=self.names | other.names,
            logged=min(self.logged, other.logged),
            first=min(numbers, default=None),
            last=max(numbers, default=None),
        )

    def row(self, source: str, now: datetime) -> dict[str, Any]:
        """Give the row of ``certificates``.

        Raises
        ------
        InputError
            If the entry names no server.
        """
        names = sorted(self.names)
        if not names:
            raise InputError("entry names no server: name_value has neither a DNS name nor an IP address")
        return {
            "fingerprint": self.fingerprint,
            "serial": self.serial,
            "issuer_dn": self.issuer.rfc4514,
            "issuer_org": self.issuer.organisation,
            "issuer_cn": self.issuer.common_name,
            "subject_cn": self.subject_cn,
            "names": names,
            "name_set_id": name_set_id(names),
            "registered_domains": registered_domains(names),
            "wildcard": any(is_wildcard(name) for name in names),
            "not_before": self.not_before,
            "not_after": self.not_after,
            "validity_days": (self.not_after - self.not_before) / timedelta(days=1),
            "is_precertificate": False,
            "source": source,
            "known_at": min(self.logged, now),
        }


def merged(entries: Iterable[Entry]) -> list[Entry]:
    """Make one entry of all that speak of the same certificate, in the order of their first."""
    entries = list(entries)
    # One number is one certificate in either form: what the newer form says of it holds for the older.
    serials = {entry.first: entry.serial for entry in entries if entry.serial and entry.first is not None}
    entries = [
        replace(entry, serial=serials.get(entry.first)) if entry.first and not entry.serial else entry
        for entry in entries
    ]
    # By entry first: in the older form an entry's names may be spread over rows.
    whole: dict[Hashable, Entry] = {}
    for entry in entries:
        key = entry.same_entry
        whole[key] = whole[key].joined(entry) if key in whole else entry
    certificates: dict[Hashable, Entry] = {}
    for entry in whole.values():
        key = entry.same_certificate
        certificates[key] = certificates[key].joined(entry) if key in certificates else entry
    return list(certificates.values())


def parse_entry(item: Any, position: str) -> Entry:
    """Check one entry, as JSON has it.

    Raises
    ------
    InputError
        If a field is missing or is not what it should be.
    """
    if not isinstance(item, dict):
        raise InputError("entry is not a JSON object")
    not_before, not_after = _moment(item, "not_before"), _moment(item, "not_after")
    if not_after <= not_before:
        raise InputError(
            f"validity is inverted: not_after {not_after} is not later than not_before {not_before}"
        )
    common_name = _text(item, "common_name") if item.get("common_name") else None
    number = entry_id(item)
    return Entry(
        position=position,
        issuer=parse_oneline(_text(item, "issuer_name")),
        subject_cn=common_name,
        names=_names(_text(item, "name_value").split("\n"), common_name),
        not_before=not_before,
        not_after=not_after,
        serial=_serial(item),
        logged=_logged(item),
        first=number,
        last=number,
    )


def entry_id(item: Any) -> int | None:
    """Give crt.sh's number of an entry, or None if it says none."""
    number = _first(item, "id", "min_cert_id") if isinstance(item, dict) else None
    if isinstance(number, (int, str)) and _ID.fullmatch(str(number)):
        return int(number)
    return None


def _logged(item: dict[str, Any]) -> datetime:
    fields = "entry_timestamp", "min_entry_timestamp"
    logged = _moment(item, *fields)
    if ":" in _text(item, *fields):
        return logged
    # A date without a time: certain to be known only once that day is over.
    try:
        return logged + timedelta(days=1)
    except OverflowError as error:
        raise InputError(f"{fields[0]} lies beyond the calendar") from error


def _names(written: list[str], common_name: str | None) -> frozenset[str]:
    # A common name that looks like a DNS name is one of the names (Baseline Requirements 7.1.4.3), even if
    # the query did not match it.
    if common_name and "." in common_name:
        written = [*written, common_name]
    names = set()
    for name in written:
        try:
            names.add(normalise_name(name))
        except InputError:
            continue  # an e-mail address or an organisation that the query matched
    return frozenset(names)


def _first(item: dict[str, Any], *fields: str) -> Any:
    return next((item[field] for field in fields if item.get(field) not in (None, "")), None)


def _text(item: dict[str, Any], *fields: str) -> str:
    value = _first(item, *fields)
    if value is None:
        raise InputError(f"{fields[0]} is missing")
    if not isinstance(value, str):
        raise InputError(f"{fields[0]} is not text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{fields[0]} is not Unicode text: {error.reason}") from error
    return value


def _moment(item: dict[str, Any], *fields: str) -> datetime:
    text = _text(item, *fields)
    try:
        return parse_moment(text)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{fields[0]} {text[:40]!r} is not a date such as 2026-10-01T06:00:00") from error


def _serial(item: dict[str, Any]) -> str | None:
    if _first(item, "serial_number") is None:
        return None
    text = _text(item, "serial_number")
    if not _SERIAL.fullmatch(text):
        raise InputError(f"serial_number {text[:80]!r} is not hexadecimal")
    return text.lower().lstrip("0") or "0"
