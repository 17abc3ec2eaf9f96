"""Which entries of a log are for one's own domains."""

from collections.abc import Sequence
from datetime import datetime
from itertools import count
from typing import Any, Final

from certforecast.errors import InputError
from certforecast.history.names import is_ip, normalise_name
from certforecast.history.sources import Batch, Rejected, Whole
from certforecast.history.sources.ct_entries import Entry
from certforecast.history.x509 import parse

__all__ = ["Wanted", "matches"]

#: How names stand in certificates: as ASCII or, in rare common names, in BMP and universal strings.
_ENCODINGS: Final = ("ascii", "utf-16-be", "utf-32-be")

#: What a precertificate must share with what the log has signed of it. Its issuer may be another: the
#: certificate with which the CA signs precertificates (RFC 6962, section 3.1).
_SHARED: Final = ("names", "serial", "not_before", "not_after", "spki_hash")


class Wanted:
    """The domains whose certificates are kept.

    Parameters
    ----------
    domains : sequence of str
        Names at or below them are wanted; ``*`` wants all.

    Raises
    ------
    InputError
        If there is none, or one is no domain.
    """

    def __init__(self, domains: Sequence[str]) -> None:
        if not domains:
            raise InputError(
                "no domains are named: give domains=example.org,example.com, or domains=* for the whole log"
            )
        self.all = "*" in domains
        self.domains = [] if self.all else sorted({_domain(one) for one in domains})
        self._below = tuple(f".{domain}" for domain in self.domains)
        # A common name may be written in other letters than the A-labels it is kept as.
        self._anywhere = self.all or any("xn--" in domain for domain in self.domains)
        self._needles = [domain.encode(encoding) for domain in self.domains for encoding in _ENCODINGS]

    def __str__(self) -> str:
        return "*" if self.all else " ".join(self.domains)

    def may_be_in(self, data: bytes) -> bool:
        """Tell, fast, whether one of the domains may be named in bytes."""
        if self._anywhere:
            return True
        data = data.lower()
        return any(needle in data for needle in self._needles)

    def has(self, names: list[str]) -> bool:
        """Tell whether one of a certificate's names is at or below one of the domains."""
        return self.all or any(name in self.domains or name.endswith(self._below) for name in names)


def _domain(text: str) -> str:
    domain = normalise_name(text.removeprefix("*."))
    if is_ip(domain) or "*" in domain:
        raise InputError(f"{text!r} is no domain: give domains such as example.org")
    return domain


def matches(entries: Sequence[Entry], wanted: Wanted, place: str, first: int, now: datetime) -> Batch:
    """Pick the entries whose names are wanted.

    Parameters
    ----------
    entries : sequence of Entry
        One after another as in the log.
    wanted : Wanted
        What to look for. It is looked for in what the log has signed, not in what stands beside.
    place : str
        What positions begin with.
    first : int
        Index of the first entry.
    now : datetime
        Nothing is known later.

    Returns
    -------
    Batch
        With whole certificates, and what was refused.
    """
    batch = Batch()
    near = [
        (f"{place}{index}", entry)
        for index, entry in zip(count(first), entries, strict=False)
        if entry.reason is not None or wanted.may_be_in(entry.leaf)
    ]
    vouched = _rows([entry.vouched for _, entry in near])
    beside = iter(_rows([entry.der for _, entry in near if entry.tbs is not None]))
    for (position, entry), signed in zip(near, vouched, strict=True):
        given = signed if entry.tbs is None else next(beside)
        reason = entry.reason or signed["reason"]
        if reason is None and not wanted.has(signed["names"]):
            continue
        if reason is None and any(signed[column] != given[column] for column in _SHARED):
            reason = given["reason"] or "precertificate is not the one that the log has signed"
        if reason is None and entry.logged_at is not None:
            batch.wholes.append(Whole(entry.der, min(entry.logged_at, now), position))
        else:
            batch.rejected.append(Rejected(position, reason or "entry has no time"))
    return batch


def _rows(ders: list[bytes]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parse(ders, workers=1).select([*_SHARED, "reason"]).to_pylist()
    return rows
