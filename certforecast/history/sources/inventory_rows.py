"""From the cells of a row to rows of our tables."""

import hashlib
from collections.abc import Iterator
from collections.abc import Mapping as Cells
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from certforecast.errors import InputError
from certforecast.history.dn import DistinguishedName
from certforecast.history.names import NameSet, is_wildcard, normalise_name
from certforecast.history.sources import Rejected
from certforecast.history.sources.batching import Found
from certforecast.history.sources.inventory_mapping import Mapping
from certforecast.history.sources.inventory_times import Moment, read_time
from certforecast.history.sources.inventory_values import (
    is_empty,
    kind_of_error,
    read_criticality,
    read_distinguished_name,
    read_fingerprint,
    read_host,
    read_issuer,
    read_names,
    read_serial,
)
from certforecast.history.sources.lifetimes import estimated_not_before

__all__ = ["RowReader"]

_HTTPS = 443
_DAY = timedelta(days=1)
#: So many different times and certificates are kept at hand.
_CACHE = 200_000

#: What tells one certificate from another where nothing better is known.
_TOLD = ("not_before", "not_after", "names", "subject", "subject_cn", "issuer", "issuer_cn", "issuer_org")
_OF_HOST = ("owner", "environment", "criticality", "automation", "installer")


@dataclass(slots=True)
class _Certificate:
    """What one or more rows say of a certificate."""

    fingerprint: str
    serial: str | None
    issuer: DistinguishedName
    subject_cn: str | None
    names: NameSet
    not_before: datetime | None
    not_after: datetime
    first_seen: datetime
    position: str


class RowReader:
    """Reads the rows of one table, and keeps the certificates that it looked at until the end of it.

    Parameters
    ----------
    mapping : Mapping
        Which field stands where.
    source : str
        Name of the source, for the rows.
    modified : datetime
        When the table was last changed: what it says is known from then on, unless a field says when.
    now : datetime
        The present.
    """

    def __init__(self, mapping: Mapping, *, source: str, modified: datetime, now: datetime) -> None:
        self._mapping = mapping
        self._source = source
        self._modified = modified
        self._now = now
        self._zone = ZoneInfo(mapping.time_zone)
        self._times: dict[tuple[str, str], Moment] = {}
        self._certificates: dict[tuple[str, ...], _Certificate] = {}
        self._either = "error" in mapping.columns and (
            mapping.columns["error"] == mapping.columns.get("not_after")
        )
        self._errors = {text.strip().lower(): kind for text, kind in mapping.errors.items()}

    def read(self, cells: Cells[str, str], position: str) -> Iterator[Found]:
        """Read one row.

        Parameters
        ----------
        cells : mapping of str to str
            The texts of the mapped fields; empty ones left out.
        position : str
            Where the row stands.

        Raises
        ------
        InputError
            If it lacks a field or a value has no meaning.
        """
        match self._mapping.table:
            case "observations":
                yield from self._observation(cells, position)
            case "certificates":
                yield from self._certificate_row(cells, position)
            case _:
                yield self._host(cells, read_host(_needed(cells, "host")).host, position)

    def finish(self) -> Iterator[Found | Rejected]:
        """Yield the certificates that were looked at, known from the first look on."""
        for certificate in self._certificates.values():
            try:
                yield self._found(certificate)
            except InputError as error:
                yield Rejected(certificate.position, str(error))

    def _observation(self, cells: Cells[str, str], position: str) -> Iterator[Found]:
        at = self._since(_needed(cells, "observed_at"), "observed_at")
        if at > self._now:
            raise InputError(f"observed_at {at.isoformat()} lies in the future")
        host, port = read_host(_needed(cells, "host"))
        if "port" in cells:
            port = _whole(cells["port"], "port")
        error = self._error(cells)
        fingerprint = self._seen(cells, host, at, position)
        row = {
            "observed_at": at,
            "host": host,
            "port": port or _HTTPS,
            "server_name": normalise_name(cells.get("server_name", host)),
            "fingerprint": fingerprint,
            # A look that brought neither: the table does not say why.
            "error": error or (None if fingerprint else "other"),
            "latency_ms": _number(cells["latency_ms"], "latency_ms") if "latency_ms" in cells else None,
            "source": self._source,
            "known_at": at,
        }
        yield Found("observations", row, position)

    def _error(self, cells: Cells[str, str]) -> str | None:
        text = cells.get("error", "").strip()
        if not text or (self._either and self._is_time(text)):
            return None
        kind = self._errors.get(text.lower())
        return (kind_of_error(text) if kind is None else kind) or None

    def _is_time(self, text: str) -> bool:
        try:
            self._moment(text, "not_after")
        except InputError:
            return False
        return True

    def _seen(self, cells: Cells[str, str], host: str, at: datetime, position: str) -> str | None:
        """Note the certificate of a look, if it tells of one, and give its fingerprint."""
        if "not_after" not in cells or (self._either and not self._is_time(cells["not_after"])):
            if "fingerprint" not in cells:
                return None
            sha256, sha1 = read_fingerprint(cells["fingerprint"])
            return sha256 or _stand_in("sha1", sha1 or "")
        key = (host, *(cells.get(field, "") for field in (*_TOLD, "serial", "fingerprint")))
        known = self._certificates.get(key)
        if known is None:
            known = self._certificates[key] = self._certificate(cells, host, at, position)
        elif at < known.first_seen:
            known.first_seen, known.position = at, position
        return known.fingerprint

    def _certificate_row(self, cells: Cells[str, str], position: str) -> Iterator[Found]:
        known = self._since(cells["known_at"], "known_at") if "known_at" in cells else self._modified
        host = read_host(cells["host"]).host if "host" in cells else ""
        certificate = self._certificate(cells, host, min(known, self._now), position)
        yield self._found(certificate)
        if any(field in cells for field in _OF_HOST):
            names = certificate.names.names
            host = host or next((name for name in names if not is_wildcard(name)), names[0])
            # Who owns it may have been written later than the certificate was found.
            yield self._host({field: cells[field] for field in cells if field != "known_at"}, host, position)

    def _certificate(
        self, cells: Cells[str, str], host: str, first_seen: datetime, position: str
    ) -> _Certificate:
        not_after = self._moment(_needed(cells, "not_after"), "not_after").at
        not_before = self._moment(cells["not_before"], "not_before").at if "not_before" in cells else None
        common_name = cells.get("subject_cn")
        if common_name is None and "subject" in cells:
            common_name = read_distinguished_name(cells["subject"]).common_name
        names = _names(read_names(cells.get("names", "")), host, common_name)
        sha256, sha1 = read_fingerprint(cells["fingerprint"]) if "fingerprint" in cells else (None, None)
        decimal = self._mapping.formats.get("serial") == "decimal"
        serial = read_serial(cells["serial"], decimal=decimal) if "serial" in cells else None
        issuer = read_issuer(cells.get("issuer", ""), cells.get("issuer_cn", ""), cells.get("issuer_org", ""))
        begin = not_before.isoformat() if not_before else ""
        if sha1:
            identity: tuple[str, ...] = ("sha1", sha1)
        elif serial:
            identity = ("serial", issuer.rfc4514, serial, begin, not_after.isoformat())
        else:  # the issuer is left out: one look may know it and another not
            identity = ("names", host or names.id, begin, not_after.isoformat())
        return _Certificate(
            sha256 or _stand_in(*identity),
            serial,
            issuer,
            common_name,
            names,
            not_before,
            not_after,
            first_seen,
            position,
        )

    def _found(self, told: _Certificate) -> Found:
        not_before = told.not_before or estimated_not_before(told.first_seen, told.not_after)
        row = {
            "fingerprint": told.fingerprint,
            "serial": told.serial,
            "issuer_dn": told.issuer.rfc4514,
            "issuer_org": told.issuer.organisation,
            "issuer_cn": told.issuer.common_name,
            "subject_cn": told.subject_cn,
            "names": told.names.names,
            "name_set_id": told.names.id,
            "registered_domains": told.names.registered_domains,
            "wildcard": told.names.wildcard,
            "not_before": not_before,
            "not_after": told.not_after,
            "validity_days": (told.not_after - not_before) / _DAY,
            "is_precertificate": False,
            "source": self._source,
            "known_at": min(max(told.first_seen, not_before), self._now),
        }
        return Found("certificates", row, told.position)

    def _host(self, cells: Cells[str, str], host: str, position: str) -> Found:
        known = self._since(cells["known_at"], "known_at") if "known_at" in cells else self._modified
        known = min(known, self._now)
        row: dict[str, Any] = {field: cells[field] for field in _OF_HOST if field in cells}
        if "criticality" in row:
            row["criticality"] = read_criticality(row["criticality"], self._mapping.criticality)
        if self._mapping.table == "hosts" and "issuer" in cells:
            row["issuer"] = cells["issuer"]
        since = self._moment(cells["valid_from"], "valid_from").at if "valid_from" in cells else known
        row |= {"host": host, "valid_from": since, "known_at": known}
        if "valid_to" in cells:
            row["valid_to"] = self._moment(cells["valid_to"], "valid_to").at
        return Found("hosts", row, position)

    def _moment(self, text: str, field: str) -> Moment:
        key = text, field
        if (found := self._times.get(key)) is None:
            try:
                found = read_time(text, self._mapping.formats.get(field), self._zone, self._mapping.day_first)
            except InputError as error:
                raise InputError(f"{field}: {error}") from error
            if len(self._times) < _CACHE:
                self._times[key] = found
        return found

    def _since(self, text: str, field: str) -> datetime:
        """Read a time from which something is known: of a day, its end."""
        at, day_only = self._moment(text, field)
        try:
            return at + _DAY if day_only else at
        except OverflowError as error:
            raise InputError(f"{field} {text[:40]!r} lies beyond the calendar") from error


def _names(written: list[str], host: str, common_name: str | None) -> NameSet:
    """Gather the names; as in certificates, a common name that is no DNS name counts if there is no other."""
    names = set(written)
    if common_name and not is_empty(common_name):
        try:
            names.add(normalise_name(common_name))
        except InputError:
            if not names and not host:
                names.add(common_name.lower())
    if host and not written:
        names.add(host)
    if not names:
        raise InputError("names: the row names nothing: no host, no common name, no alternative names")
    return NameSet.of(names)


def _stand_in(*identity: str) -> str:
    """Give what stands in for a fingerprint."""
    return "~" + hashlib.sha256("\n".join(identity).encode()).hexdigest()[:63]


def _needed(cells: Cells[str, str], field: str) -> str:
    if field not in cells:
        raise InputError(f"{field} is missing")
    return cells[field]


def _whole(text: str, field: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise InputError(f"{field} {text[:40]!r} is not a number")
    return int(text)


def _number(text: str, field: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{field} {text[:40]!r} is not a number") from error
