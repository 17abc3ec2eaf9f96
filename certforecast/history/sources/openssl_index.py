"""The index of ``openssl ca``: a line a certificate, six fields between tabs.

The fields are the status (V valid, R revoked, E expired), the end of validity, the revocation
(``TIME[,REASON[,MORE]]``), the serial number in hex, a file name that is always ``unknown``, and the subject
on one line (``apps/ca.c`` and ``crypto/txt_db/txt_db.c`` of OpenSSL).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from certforecast.errors import InputError

__all__ = ["IndexRow", "is_index", "parse_row", "read_index"]

#: The longest line that is looked at, in bytes.
_LONGEST: Final = 1 << 16
_FIELDS: Final = 6
_SERIAL: Final = re.compile(r"[0-9A-Fa-f]{1,64}")
#: UTCTime, or GeneralizedTime from 2050 on (RFC 5280, section 4.1.2.5).
_TIME: Final = re.compile(r"(?:\d\d)?\d{12}Z", re.ASCII)
_UTC_LENGTH: Final = len("YYMMDDHHMMSSZ")
#: Where an attribute of the subject begins: values may hold slashes, which older OpenSSL did not escape.
_ATTRIBUTE: Final = re.compile(r"(?<!\\)[/+](?=(?:[A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+)=)")
_ESCAPED: Final = re.compile(r"(?:\\x[0-9A-Fa-f]{2})+|\\[/+]")

#: Reasons as ``openssl ca`` writes them, where RFC 5280 has another word.
_REASONS: Final = {
    "CACompromise": "cACompromise",
    "CAkeyTime": "cACompromise",
    "keyTime": "keyCompromise",
    "holdInstruction": "certificateHold",
}


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One line of an index.

    Attributes
    ----------
    position : str
        Where it stood: ``"index.txt#12"``.
    serial : str
        Lower-case hex without leading zeros.
    not_after : datetime
        The end of validity.
    common_name : str
        Of the subject; the whole subject if it has none.
    revoked_at : datetime or None
        When it was revoked.
    reason : str or None
        Why, in the words of RFC 5280.
    detail : str or None
        When the key was compromised, or how to hold the certificate.
    """

    position: str
    serial: str
    not_after: datetime
    common_name: str
    revoked_at: datetime | None
    reason: str | None
    detail: str | None


def read_index(path: Path, position: str) -> Iterator[IndexRow | tuple[str, InputError]]:
    """Read the rows of an index.

    Yields
    ------
    IndexRow or (str, InputError)
        For a line that is none, its position and why.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(_LONGEST), b""), start=1):
            where = f"{position}#{number}"
            text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
            if text.strip():
                try:
                    yield parse_row(text, where)
                except InputError as error:
                    yield where, error


def is_index(path: Path) -> bool:
    """Tell whether a file begins with a row of an index. Never raises."""
    try:
        with path.open("rb") as file:
            parse_row(file.readline(_LONGEST).decode().rstrip("\r\n"), "")
    except (OSError, ValueError):
        return False
    return True


def parse_row(text: str, position: str) -> IndexRow:
    """Read one line.

    Raises
    ------
    InputError
        If it is not a row of an index.

    Examples
    --------
    >>> row = parse_row("R\\t270227173652Z\\t260101000000Z,superseded\\t0A\\tunknown\\t/C=US/CN=a", "")
    >>> row.common_name, row.serial, row.reason
    ('a', 'a', 'superseded')
    """
    fields = text.split("\t")
    if len(fields) != _FIELDS:
        raise InputError(f"line has {len(fields)} fields between tabs; a row of an index has {_FIELDS}")
    status, end, revocation, serial, _, subject = fields
    if status not in ("V", "R", "E"):
        raise InputError(f"status {status[:20]!r} is none of V, R and E")
    if not _SERIAL.fullmatch(serial):
        raise InputError(f"serial number {serial[:80]!r} is not hexadecimal")
    revoked_at = reason = detail = None
    if status == "R":
        time, _, why = revocation.partition(",")
        revoked_at = _moment(time, "time of revocation")
        reason, _, detail = why.partition(",")
    return IndexRow(
        position,
        serial.lower().lstrip("0") or "0",
        _moment(end, "end of validity"),
        _common_name(subject),
        revoked_at,
        _REASONS.get(reason or "", reason) or None,
        detail or None,
    )


def _moment(text: str, what: str) -> datetime:
    try:
        if not _TIME.fullmatch(text):
            raise ValueError
        if len(text) == _UTC_LENGTH:  # RFC 5280: two digits from 50 on are of the last century
            text = ("19" if text >= "50" else "20") + text
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise InputError(f"{what} {text[:40]!r} is not a time such as 270227173652Z") from None


def _common_name(subject: str) -> str:
    for part in _ATTRIBUTE.split(subject):
        key, _, value = part.partition("=")
        if key.upper() == "CN" and value:
            return _ESCAPED.sub(_unescape, value)
    return subject


def _unescape(match: re.Match[str]) -> str:
    if len(match[0]) == 2:
        return match[0][1]
    return bytes.fromhex(match[0].replace("\\x", "")).decode("utf-8", "replace")
