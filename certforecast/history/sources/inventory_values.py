"""What stands in a cell: hosts, names, issuers, serial numbers, errors."""

import re
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from certforecast.errors import InputError
from certforecast.history.dn import DistinguishedName, parse_oneline
from certforecast.history.names import normalise_name

__all__ = [
    "Place",
    "is_empty",
    "kind_of_error",
    "read_criticality",
    "read_distinguished_name",
    "read_fingerprint",
    "read_host",
    "read_issuer",
    "read_names",
    "read_serial",
]

_EMPTY: Final = frozenset({"", "-", "--", "n/a", "na", "null", "none", "nan", "(null)", "undefined", "nat"})
_NO_ERROR: Final = frozenset({"ok", "valid", "success", "successful", "true", "0", "no error", "up"})

#: Words of an error's text, and the kind that they tell; the first that fits.
_KINDS: Final = (
    ("dns", r"dns|lookup|resol|nxdomain|servfail|getaddrinfo|no such host|unknown host|name or service"),
    ("refused", r"refused"),
    ("timeout", r"time\s?d?\s?-?out|timeout|deadline"),
    ("reset", r"reset|broken pipe|aborted"),
    ("unreachable", r"unreachable|no route"),
    ("not_tls", r"not.?tls|wrong version|plain.?text|not.?ssl|record layer|first record"),
    ("tls_alert", r"alert"),
    ("handshake", r"handshake|ssl|tls|eof|certificate|x509"),
)
_HOST: Final = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://)?(?:[^@/]*@)?(?P<host>\[[0-9a-f:.]+\]|[^/:?#\s]+|[0-9a-f]*:[0-9a-f:.]*:[0-9a-f:.]*)"
    r"(?::(?P<port>\d{1,5}))?(?:[/?#].*)?",
    re.IGNORECASE | re.DOTALL,
)
_NAME_KINDS: Final = re.compile(r"^(?:dns(?:\s?name)?|ip(?:\s?address)?)\s*[:=]\s*", re.IGNORECASE)
_HEX: Final = re.compile(r"[0-9a-f]{1,64}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SHA1: Final = re.compile(r"[0-9a-f]{40}")
_ATTRIBUTE: Final = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9.]*|\d+(?:\.\d+)+)\s*=")

_CRITICALITY: Final = {
    "critical": 1.0,
    "very high": 1.0,
    "high": 0.75,
    "medium": 0.5,
    "moderate": 0.5,
    "low": 0.25,
    "very low": 0.0,
    "none": 0.0,
}


class Place(NamedTuple):
    """A host, and the port if it was told."""

    host: str
    port: int | None


def is_empty(text: str) -> bool:
    """Tell whether a cell says nothing."""
    return text.strip().lower() in _EMPTY


def kind_of_error(text: str) -> str:
    """Give the kind of error that a text tells; ``""`` if it says that all is well."""
    plain = text.strip().lower()
    if plain in _NO_ERROR:
        return ""
    # Names of errors are written in one: LookupFailed, CONNECTION_REFUSED.
    return next((kind for kind, words in _KINDS if re.search(words, plain.replace("_", " "))), "other")


def read_host(text: str) -> Place:
    """Read a host, perhaps in a URL or with a port.

    Raises
    ------
    InputError
        If it is none.
    """
    match = _HOST.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{text[:100]!r} is not a host")
    port = int(match["port"]) if match["port"] else None
    if port is None and text.strip().lower().startswith("https://"):
        port = 443
    return Place(normalise_name(match["host"].strip("[]")), port)


def read_names(text: str) -> list[str]:
    """Read names that stand in one cell, parted by commas, semicolons or spaces; others are left out."""
    names = []
    text = re.sub(r"([:=])\s+", r"\1", text)
    for part in re.split(r"[,;|\s\[\]'\"]+", re.sub(r"(?i)\b(dns|ip)\s(?=name|address)", r"\1", text)):
        try:
            names.append(normalise_name(_NAME_KINDS.sub("", part)))
        except InputError:
            continue
    return names


def read_distinguished_name(text: str) -> DistinguishedName:
    """Read a name with attributes, whichever way round it is written, or a plain one.

    ``CN=R3, O=Let's Encrypt, C=US`` stays as it is, as RFC 4514 and Windows write it; ``C=US, O=Let's
    Encrypt, CN=R3`` and ``/C=US/O=Let's Encrypt/CN=R3`` of OpenSSL are turned round. A plain name is a
    common name.
    """
    text = text.strip()
    if text.startswith("/") and "=" in text:
        parts = re.split(r"/(?=[A-Za-z][A-Za-z0-9.]*=)", text[1:])
        text = ", ".join(
            f"{key}={_quoted(value)}" for key, _, value in (part.partition("=") for part in parts)
        )
    if not _ATTRIBUTE.match(text):
        return _named(text, None)
    read = parse_oneline(text)
    if read.common_name is None or not re.match(r"\s*CN\s*=", text, re.IGNORECASE):
        return read
    # parse_oneline turned it round: it began with the common name.
    back = parse_oneline(read.rfc4514)
    return DistinguishedName(back.rfc4514, read.organisation, read.common_name)


def read_issuer(text: str, common_name: str, organisation: str) -> DistinguishedName:
    """Put together what is told of an issuer; the name is empty if nothing is."""
    if not is_empty(text):
        return read_distinguished_name(text)
    return _named(common_name, organisation)


def read_serial(text: str, *, decimal: bool) -> str:
    """Read a serial number.

    Raises
    ------
    InputError
        If it is neither hexadecimal, perhaps in pairs, nor (`decimal`) a number.
    """
    plain = re.sub(r"[\s:-]|^0x", "", text.strip().lower())
    if decimal:
        if not plain.isdecimal() or len(plain) > 80:
            raise InputError(f"serial number {text[:100]!r} is not a decimal number")
        return f"{int(plain):x}"
    if not _HEX.fullmatch(plain):
        raise InputError(f"serial number {text[:100]!r} is not hexadecimal")
    return plain.lstrip("0") or "0"


def read_fingerprint(text: str) -> tuple[str | None, str | None]:
    """Read a fingerprint.

    Returns
    -------
    sha256, other : str or None
        One of them, by its length.

    Raises
    ------
    InputError
        If it is neither SHA-256 nor SHA-1.
    """
    plain = re.sub(r"[\s:\u200e-]|^sha-?(?:256|1)[:=]?", "", text.strip().lower())
    if _SHA256.fullmatch(plain):
        return plain, None
    if _SHA1.fullmatch(plain):
        return None, plain
    raise InputError(f"fingerprint {text[:100]!r} is neither SHA-256 nor SHA-1 in hex")


def read_criticality(text: str, words: dict[str, float]) -> float:
    """Read a number from 0 to 1, or a word for one.

    Raises
    ------
    InputError
        If it is neither.
    """
    plain = text.strip().lower()
    known = _CRITICALITY | {word.strip().lower(): value for word, value in words.items()}
    try:
        value = known[plain] if plain in known else float(plain)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError(
            f"criticality {text[:40]!r} is no number from 0 to 1: say in [criticality] of the mapping"
            " what it means"
        )
    return value


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _named(common_name: str, organisation: str | None) -> DistinguishedName:
    parts = (("CN", common_name), ("O", organisation or ""))
    told = {key: value.strip() for key, value in parts if not is_empty(value)}
    # The organisation stands in for both: cryptography limits the length of common names.
    oid = NameOID.ORGANIZATION_NAME
    written = [x509.NameAttribute(oid, value).rfc4514_string({oid: key}) for key, value in told.items()]
    return DistinguishedName(",".join(written), told.get("O"), told.get("CN"))
