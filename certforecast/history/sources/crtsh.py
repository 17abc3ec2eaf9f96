"""Certificate Transparency as crt.sh exports it (``https://crt.sh/?q=NAME&output=json``)."""

import hashlib
import json
import re
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from certforecast.clock import parse_moment
from certforecast.errors import InputError, SourceError
from certforecast.history.dn import DistinguishedName, parse_oneline
from certforecast.history.names import is_wildcard, name_set_id, normalise_name, registered_domains
from certforecast.history.sources import NO_MARKS, Batch, Marks, Rejected, Source
from certforecast.history.sources.batching import Found, batches

__all__ = ["CrtshSource"]

_SERIAL: Final = re.compile(r"[0-9a-fA-F]{1,64}")
_CONTENT_LIMIT: Final = 2000


class CrtshSource(Source):
    """Certificates of a crt.sh JSON export, a JSON array or JSON Lines.

    Both forms are read: the present one, and the older one without serial numbers (``min_cert_id`` or ``id``,
    a row a name or names joined). The log's entries for one certificate, the precertificate among them,
    become one row, known from the earliest entry on: entries are one where issuer, serial number and validity
    agree, or, without serial numbers, issuer, validity and names.

    The export has no certificate, so the fingerprint is ``"~"`` and 63 hex digits of the SHA-256
    of what made the entries one, a line each. It names only what the query matched: query by domain
    (``%.example.org``) rather than by host to get whole sets of names.

    Parameters
    ----------
    path : path or str
        The file.
    """

    name = "crtsh"

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:  # noqa: ARG002
        """Yield batches of certificates.

        Raises
        ------
        SourceError
            If the file is missing, is not JSON, or is JSON but no list of entries.
        """
        yield from batches(self._read())

    def _read(self) -> Iterator[Found | Rejected]:
        entries = []
        for position, item in self._items():
            try:
                if isinstance(item, InputError):
                    raise item
                entries.append(_entry(item, position))
            except InputError as error:
                yield Rejected(position, str(error), _content(item))
        for entry in _merged(entries):
            try:
                row = entry.row()
            except InputError as error:
                yield Rejected(entry.position, str(error))
            else:
                yield Found("certificates", row, entry.position)

    def _items(self) -> Iterable[tuple[str, Any]]:
        try:
            text = self.path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise SourceError(
                f"{self.path} cannot be read: {error.strerror}; give a crt.sh export"
            ) from error
        except UnicodeDecodeError as error:
            raise SourceError(f"{self.path} is not JSON: byte {error.start} is not UTF-8") from error
        if not text.strip():
            raise SourceError(f"{self.path} is empty; fetch the export from crt.sh again")
        try:
            items = json.loads(text)
        except (ValueError, RecursionError) as error:
            if lines := self._lines(text):
                return lines
            where = (
                f"line {error.lineno} column {error.colno}: "
                if isinstance(error, json.JSONDecodeError)
                else ""
            )
            what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise SourceError(
                f"{self.path} is not JSON: {where}{what}; crt.sh answers with a web page when it is busy:"
                " fetch the export again"
            ) from error
        if isinstance(items, dict):
            items = [items]
        if not isinstance(items, list):
            raise SourceError(f"{self.path} holds no list of entries; give a crt.sh export")
        return ((f"{self.path.name}#{index}", item) for index, item in enumerate(items))

    def _lines(self, text: str) -> list[tuple[str, Any]]:
        """Read JSON Lines; nothing if no line holds an entry."""
        items: list[tuple[str, Any]] = []
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                items.append((f"{self.path.name}#{number}", _line(line)))
        return items if any(isinstance(item, dict) for _, item in items) else []


def _line(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        return InputError(f"line is not JSON: {error}")


def _content(item: Any) -> str:
    return "" if isinstance(item, InputError) else json.dumps(item)[:_CONTENT_LIMIT]


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of the export, checked; after merging, one certificate."""

    position: str
    issuer: DistinguishedName
    subject_cn: str | None
    names: frozenset[str]
    not_before: datetime
    not_after: datetime
    logged: datetime
    serial: str | None
    log_id: str

    @property
    def issue(self) -> tuple[str, ...]:
        """What identifies the certificate, its names apart."""
        return self.issuer.rfc4514, self.serial or "", self.not_before.isoformat(), self.not_after.isoformat()

    @property
    def same_entry(self) -> Hashable:
        return self.issue if self.serial else (*self.issue, self.log_id)

    @property
    def same_certificate(self) -> tuple[str, ...]:
        return self.issue if self.serial else (*self.issue, name_set_id(self.names))

    def joined(self, other: "_Entry") -> "_Entry":
        return replace(self, names=self.names | other.names, logged=min(self.logged, other.logged))

    def row(self) -> dict[str, Any]:
        names = sorted(self.names)
        if not names:
            raise InputError("entry names no server: name_value has neither a DNS name nor an IP address")
        identity = "\n".join(self.same_certificate)
        return {
            "fingerprint": "~" + hashlib.sha256(identity.encode()).hexdigest()[:63],
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
            "source": CrtshSource.name,
            "known_at": self.logged,
        }


def _merged(entries: Iterable[_Entry]) -> list[_Entry]:
    """Make one entry of all that speak of the same certificate, in the order of their first."""
    # By row first: in the older form an entry's names may be spread over rows.
    whole: dict[Hashable, _Entry] = {}
    for entry in entries:
        key = entry.same_entry
        whole[key] = whole[key].joined(entry) if key in whole else entry
    certificates: dict[Hashable, _Entry] = {}
    for entry in whole.values():
        key = entry.same_certificate
        certificates[key] = certificates[key].joined(entry) if key in certificates else entry
    return list(certificates.values())


def _entry(item: Any, position: str) -> _Entry:
    if not isinstance(item, dict):
        raise InputError("entry is not a JSON object")
    not_before, not_after = _moment(item, "not_before"), _moment(item, "not_after")
    if not_after <= not_before:
        raise InputError(
            f"validity is inverted: not_after {not_after} is not later than not_before {not_before}"
        )
    common_name = _text(item, "common_name") if item.get("common_name") else None
    return _Entry(
        position=position,
        issuer=parse_oneline(_text(item, "issuer_name")),
        subject_cn=common_name,
        names=_names(_text(item, "name_value").split("\n"), common_name),
        not_before=not_before,
        not_after=not_after,
        logged=_moment(item, "entry_timestamp", "min_entry_timestamp"),
        serial=_serial(item),
        log_id=str(_first(item, "id", "min_cert_id") or position),
    )


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
