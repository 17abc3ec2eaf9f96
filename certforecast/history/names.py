"""DNS names: one spelling for each, and what can be read off a set of them."""

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from typing import NamedTuple, Self

import idna
from publicsuffixlist import PSLFILE, PublicSuffixList

from certforecast.errors import InputError

__all__ = [
    "NameSet",
    "host_of",
    "is_ip",
    "is_wildcard",
    "name_set",
    "name_set_id",
    "normalise_name",
    "registered_domains",
]

# Wider than RFC 1123: underscores and partial wildcards ("f*.example.org") stand in real certificates.
_LABEL = re.compile(r"[a-z0-9_*](?:[a-z0-9_*-]{0,61}[a-z0-9_*])?")


def normalise_name(name: str) -> str:
    """Give the one spelling under which a name is kept.

    Lower case, A-labels (UTS 46, then IDNA 2008), no trailing dot; a wildcard keeps its ``*``. An IP address
    is given in its shortest form.

    Parameters
    ----------
    name : str
        A DNS name or an IP address, as a certificate, a log or a person writes it.

    Returns
    -------
    str
        Normalising it again changes nothing.

    Raises
    ------
    InputError
        If it is neither a DNS name nor an IP address.

    Examples
    --------
    >>> normalise_name("*.Bücher.Example.")
    '*.xn--bcher-kva.example'
    >>> normalise_name("2001:DB8:0:0::1")
    '2001:db8::1'
    """
    text = name.strip()
    if is_ip(text):
        return ipaddress.ip_address(text).compressed
    if not text.isascii():
        text = _to_ascii(text)
        if is_ip(text):  # full-width digits map to plain ones
            return ipaddress.ip_address(text).compressed
    text = text.lower().removesuffix(".")
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise InputError(f"{name!r} is neither a DNS name nor an IP address")
    return text


def _to_ascii(text: str) -> str:
    # The wildcard is no part of what IDNA encodes.
    star, rest = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    try:
        return star + idna.encode(rest, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise InputError(f"{text!r} is not an internationalised DNS name: {error}") from error


def is_ip(name: str) -> bool:
    """Tell whether a name is an IP address (without a zone)."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return "%" not in name


def is_wildcard(name: str) -> bool:
    """Tell whether a normalised name stands for many hosts."""
    return "*" in name


def host_of(names: Sequence[str]) -> str:
    """Give the first name that is one host's, else the first; `names` are normalised, and not empty."""
    return next((name for name in names if not is_wildcard(name)), names[0])


def name_set_id(names: Iterable[str]) -> str:
    """Give the identity of a set of normalised names: 32 hex digits, the same for every order."""
    return _identity("\n".join(sorted(set(names))))


def _identity(joined: str) -> str:
    return hashlib.sha256(joined.encode()).hexdigest()[:32]


def registered_domains(names: Iterable[str]) -> list[str]:
    """List the registered domains (public suffix and one label) under which normalised names stand.

    Public suffixes are those of the Public Suffix List, its private section included, as CAs count them.
    IP addresses and names without a registered domain, such as ``localhost``, add nothing.

    Returns
    -------
    list of str
        Sorted, each once.

    Examples
    --------
    >>> registered_domains(["www.example.co.uk", "*.example.co.uk", "localhost", "192.0.2.1"])
    ['example.co.uk']
    """
    suffixes = _suffixes()
    found = list[str]()
    below = "."  # no name ends so
    for name in names:
        if not name.endswith(below):
            domain = suffixes.registered_domain(name)
            if domain is not None and domain not in found:
                found.append(domain)
                if domain not in suffixes.above:
                    below = f".{domain}"
    return sorted(found) if len(found) > 1 else found


class NameSet(NamedTuple):
    """The names of a certificate, and what can be read off them."""

    names: list[str]
    id: str
    registered_domains: list[str]
    wildcard: bool

    @classmethod
    def of(cls, names: Iterable[str]) -> Self:
        """Make a set of normalised names."""
        listed = sorted(set(names))
        joined = "\n".join(listed)
        return cls(listed, _identity(joined), registered_domains(listed), "*" in joined)


def name_set(dns_names: Iterable[str], addresses: Iterable[str]) -> NameSet | None:
    """Normalise the names of a certificate; None if none of them is a DNS name or an IP address.

    Parameters
    ----------
    dns_names : iterable of str
        As written; what is no DNS name is left out.
    addresses : iterable of str
        IP addresses in their shortest form.
    """
    names = set(addresses)
    for name in dns_names:
        with suppress(InputError):
            names.add(normalise_name(name))
    return NameSet.of(names) if names else None


class _Suffixes:
    """The Public Suffix List: the library, and short cuts for the usual names."""

    def __init__(self) -> None:
        self._list = PublicSuffixList()
        self._rules, self._wild, above = set[str](), set[str](), set[str]()
        with open(PSLFILE, encoding="utf-8") as file:  # noqa: PTH123 (a path in an archive, perhaps)
            for line in file:
                rule = line.split("//")[0].strip()
                if rule and not rule.startswith("!"):  # what is but an exception is no suffix
                    labels = rule.encode("ascii" if rule.isascii() else "idna").decode().split(".")
                    above.update(".".join(labels[place:]) for place in range(1, len(labels)))
                    (self._wild if labels[0] == "*" else self._rules).add(".".join(labels).removeprefix("*."))
        #: Names under which some suffix stands.
        self.above = frozenset(above)

    def registered_domain(self, name: str) -> str | None:
        name = name.removeprefix("*.")
        if name[-1:].isdigit() or ":" in name:  # no top-level domain ends so
            if is_ip(name):
                return None
        else:
            # Nearly all names: one label more than a suffix that is a plain rule, and no rule below that.
            first = name.rfind(".")
            second = name.rfind(".", 0, max(first, 0))
            two = name[second + 1 :]
            if two not in self._rules:
                if first > 0 and two not in self.above and name[first + 1 :] not in self._wild:
                    return two
            elif second > 0 and two not in self._wild:
                three = name[name.rfind(".", 0, second) + 1 :]
                if three not in self._rules and three not in self.above:
                    return three
        domain: str | None = self._list.privatesuffix(name)
        return domain


@cache
def _suffixes() -> _Suffixes:
    return _Suffixes()
