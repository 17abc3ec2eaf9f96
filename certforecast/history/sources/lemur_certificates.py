"""Certificates as Netflix Lemur describes them (``CertificateOutputSchema`` of its API)."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from certforecast.clock import parse_moment
from certforecast.errors import InputError
from certforecast.history.names import is_wildcard, normalise_name
from certforecast.history.x509 import fingerprint, split_pem

__all__ = ["Entry", "number_of"]

#: Replaced certificates that an event names, and characters of a text that are kept.
_FEW: Final = 5
_LONG: Final = 200

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One certificate of Lemur.

    Attributes
    ----------
    number : int
        Lemur's ``id`` of it; later certificates have higher ones.
    name : str
        Lemur's name of it, unique.
    der : bytes
        The certificate itself.
    created : datetime
        When Lemur took it in, by ``dateCreated``; the present if it does not say.
    replaces : dict of int to str
        Numbers and names of the certificates that it replaces.
    item : dict
        All that Lemur says.
    """

    number: int
    name: str
    der: bytes
    created: datetime
    replaces: dict[int, str]
    item: dict[str, Any]

    @classmethod
    def of(cls, item: Any, now: datetime) -> Self:
        """Check an entry, as JSON has it.

        Raises
        ------
        InputError
            If a field that is needed is missing or is not what it should be.
        """
        number = number_of(item)
        if number is None:
            raise InputError("entry is no certificate of Lemur: it has no id")
        if not isinstance(item.get("body"), str):
            raise InputError("body is missing; ask without short=true, and with a token that may see it")
        missing = InputError("body holds no certificate in PEM")
        _, der = next(split_pem(item["body"].encode("utf-8", "replace")), (0, missing))
        if isinstance(der, InputError):
            raise der
        replaces = {
            old: _text(each, "name") or f"#{old}"
            for each in _list(item, "replaces")
            if (old := number_of(each)) is not None
        }
        created = _moment(item, "dateCreated") or now
        return cls(number, _text(item, "name") or f"#{number}", der, min(created, now), replaces, item)

    @property
    def host(self) -> str | None:
        """The first name that is one host's, else the first."""
        common = _text(self.item, "commonName") or _text(self.item, "cn")
        names = []
        for name in [common, *(_text(each, "name") for each in _list(self.item, "domains"))]:
            with suppress(InputError):
                names.append(normalise_name(name or ""))
        return next((name for name in names if not is_wildcard(name)), names[0] if names else None)

    @property
    def revoked(self) -> bool:
        """Whether Lemur has found it revoked."""
        return self.item.get("status") == "revoked"

    def live(self, now: datetime) -> bool:
        """Whether it is the one that counts now: neither replaced nor expired, revoked or deleted."""
        ends = _moment(self.item, "validityEnd") or _moment(self.item, "notAfter")
        gone = _list(self.item, "replacedBy") or self.revoked or self.item.get("deleted") is True
        return not gone and (ends is None or ends > now)

    def issued(self, lineage: str) -> Row:
        """Give the event of its issue, which tells what it replaces."""
        names = [name for _, name in sorted(self.replaces.items())]
        more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
        detail = f"replaces {', '.join(names[:_FEW])}{more}" if names else None
        return self._event(lineage, "issued", self.created, self.created, detail)

    def configured(self, lineage: str, now: datetime) -> Row:
        """Give the event that tells how it is to be renewed: as it is set now, so known from now on."""
        told = [f"rotation {_switch(self.item, 'rotation')}", f"notify {_switch(self.item, 'notify')}"]
        policy = self.item.get("rotationPolicy")
        days = policy.get("days") if isinstance(policy, dict) else None
        if isinstance(days, int):
            told.insert(1, f"{days} days before the end")
        return self._event(lineage, "config_changed", self.created, now, ", ".join(told))

    def revocation(self, lineage: str, now: datetime) -> Row:
        """Give the event of its revocation, as of when it was seen: Lemur has no other time for it."""
        return self._event(lineage, "revoked", now, now, None)

    def inventory(self, now: datetime) -> Row | None:
        """Give the row of ``hosts``, known from now on; None without a name."""
        if self.host is None:
            return None
        authority = self.item.get("authority")
        types = {_text(each, "type") for each in _list(self.item, "endpoints")} - {None}
        return {
            "host": self.host,
            "owner": _text(self.item, "owner"),
            "automation": "lemur" if self.item.get("rotation") is True else None,
            "issuer": _text(authority, "name") or _text(self.item, "issuer"),
            "installer": ", ".join(sorted(filter(None, types))) or None,
            "valid_from": now,
            "known_at": now,
        }

    def _event(self, lineage: str, kind: str, at: datetime, known_at: datetime, detail: str | None) -> Row:
        return {
            "at": at,
            "lineage": lineage,
            "kind": kind,
            "host": self.host,
            "detail": detail,
            "fingerprint": fingerprint(self.der),
            "actor": "lemur",
            "source": "lemur",
            "known_at": known_at,
        }


def number_of(item: Any) -> int | None:
    """Give Lemur's number of an entry, or None if it is none."""
    number = item.get("id") if isinstance(item, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else None


def _switch(item: Row, name: str) -> str:
    setting = item.get(name)
    return ("on" if setting else "off") if isinstance(setting, bool) else "unknown"


def _list(item: Row, name: str) -> list[Any]:
    listed = item.get(name)
    return listed if isinstance(listed, list) else []


def _text(item: Any, name: str) -> str | None:
    text = item.get(name) if isinstance(item, dict) else None
    if not isinstance(text, str) or not text.strip():
        return None
    return text.encode("utf-8", "replace").decode()[:_LONG].strip()


def _moment(item: Row, name: str) -> datetime | None:
    """Read a time as ISO 8601 has it, UTC if it says no zone."""
    if item.get(name) is None:
        return None
    try:
        return parse_moment(item[name])
    except (OverflowError, TypeError, ValueError) as error:
        raise InputError(f"{name} {str(item[name])[:40]!r} is no time such as 2026-10-01T06:00:00") from error
