"""Distinguished names as OpenSSL prints them on one line, brought into the form of RFC 4514."""

import re
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from certforecast.errors import InputError

__all__ = ["DistinguishedName", "parse_oneline"]

#: OpenSSL's short names for which cryptography writes something else: its own name, or the dotted OID.
_KEYS: Final = {
    "street": "STREET",
    "SN": NameOID.SURNAME.dotted_string,
    "GN": NameOID.GIVEN_NAME.dotted_string,
    "title": NameOID.TITLE.dotted_string,
    "initials": NameOID.INITIALS.dotted_string,
    "serialNumber": NameOID.SERIAL_NUMBER.dotted_string,
    "dnQualifier": NameOID.DN_QUALIFIER.dotted_string,
    "pseudonym": NameOID.PSEUDONYM.dotted_string,
    "generationQualifier": NameOID.GENERATION_QUALIFIER.dotted_string,
    "emailAddress": NameOID.EMAIL_ADDRESS.dotted_string,
    "businessCategory": NameOID.BUSINESS_CATEGORY.dotted_string,
    "postalCode": NameOID.POSTAL_CODE.dotted_string,
    "postalAddress": NameOID.POSTAL_ADDRESS.dotted_string,
    "organizationIdentifier": NameOID.ORGANIZATION_IDENTIFIER.dotted_string,
    "unstructuredName": NameOID.UNSTRUCTURED_NAME.dotted_string,
    "jurisdictionC": NameOID.JURISDICTION_COUNTRY_NAME.dotted_string,
    "jurisdictionST": NameOID.JURISDICTION_STATE_OR_PROVINCE_NAME.dotted_string,
    "jurisdictionL": NameOID.JURISDICTION_LOCALITY_NAME.dotted_string,
}

_PART: Final = re.compile(
    r"""\s*(?P<key>[A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+)\s*=[ ]?
    (?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>(?:[^"\\,+]|\\.)*?))
    \s*(?P<separator>,|\+|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED: Final = re.compile(r"(?:\\[0-9A-Fa-f]{2})+|\\.", re.DOTALL)

#: The longest name that is looked at; real ones have a few hundred characters.
_LIMIT: Final = 4096


@dataclass(frozen=True, slots=True)
class DistinguishedName:
    """A name in RFC 4514 form, and its first organisation and common name, if it has them."""

    rfc4514: str
    organisation: str | None
    common_name: str | None


def parse_oneline(text: str) -> DistinguishedName:
    """Read a name as ``openssl x509 -nameopt oneline`` and crt.sh write it.

    That is in the order of the certificate, with values quoted that hold special characters:
    ``C=US, O="GoDaddy.com, Inc.", CN=Go Daddy CA``. The result is the string that
    :meth:`cryptography.x509.Name.rfc4514_string` gives for the same name.

    Parameters
    ----------
    text : str
        The name; a multi-valued part is joined by ``+``.

    Raises
    ------
    InputError
        If the text is not of this form.

    Examples
    --------
    >>> parse_oneline('C=US, O="Example, Inc.", CN=Example CA').rfc4514
    'CN=Example CA,O=Example\\\\, Inc.,C=US'
    """
    parts: list[list[tuple[str, str]]] = [[]]
    position, separator = 0, ","
    while separator:
        match = _PART.match(text, position) if len(text) <= _LIMIT else None
        if match is None:
            raise InputError(f"{text[:200]!r} is not a distinguished name such as 'C=US, O=Example, CN=CA'")
        written = match["plain"] if match["quoted"] is None else match["quoted"]
        parts[-1].append((match["key"], _ESCAPED.sub(_unescape, written)))
        position, separator = match.end(), match["separator"]
        if separator == ",":
            parts.append([])
    flat = [pair for part in parts for pair in part]
    return DistinguishedName(
        ",".join("+".join(_attribute(*pair) for pair in part) for part in reversed(parts)),
        next((value for key, value in flat if key == "O"), None),
        next((value for key, value in flat if key == "CN"), None),
    )


def _unescape(match: re.Match[str]) -> str:
    text = match[0]
    if len(text) == 2:
        return text[1]
    return bytes.fromhex(text.replace("\\", "")).decode("utf-8", "replace")


def _attribute(key: str, value: str) -> str:
    # The organisation stands in for every attribute: cryptography limits the length of some others.
    oid = NameOID.ORGANIZATION_NAME
    name = _KEYS.get(key, key)
    return x509.NameAttribute(oid, value).rfc4514_string({oid: name}) if value else f"{name}="
