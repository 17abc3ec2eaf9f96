"""DNS names: one spelling for each, and what can be read off a set of them."""

import hashlib
import ipaddress
import re
from collections.abc import Iterable
from functools import cache

import idna
from publicsuffixlist import PublicSuffixList

from certforecast.errors import InputError

__all__ = ["is_ip", "is_wildcard", "name_set_id", "normalise_name", "registered_domains"]

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


def name_set_id(names: Iterable[str]) -> str:
    """Give the identity of a set of normalised names: 32 hex digits, the same for every order."""
    return hashlib.sha256("\n".join(sorted(set(names))).encode()).hexdigest()[:32]


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
    found = {_registered_domain(name) for name in names}
    return sorted(domain for domain in found if domain)


@cache
def _public_suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def _registered_domain(name: str) -> str | None:
    if is_ip(name):
        return None
    domain: str | None = _public_suffixes().privatesuffix(name.removeprefix("*."))
    return domain
