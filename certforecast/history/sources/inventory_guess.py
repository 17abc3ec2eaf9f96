"""A guess at which column is which, from what headers say and from what values look like."""

import re
from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence
from typing import Final, Literal

from certforecast.errors import SourceError
from certforecast.history.sources.inventory_files import Layout
from certforecast.history.sources.inventory_mapping import FIELDS, REQUIRED, TIMES, Mapping, TableName
from certforecast.history.sources.inventory_times import looks_like_time
from certforecast.history.sources.inventory_values import is_empty, kind_of_error

__all__ = ["SYNONYMS", "guess_mapping"]

#: What columns are called, in lower case without spaces and signs, the likelier names first. Among them are
#: those of exports of Venafi, Keyfactor, AppViewX, DigiCert CertCentral and ServiceNow.
SYNONYMS: Final[dict[str, str]] = {
    "observed_at": "observedat checkedat checktime timestamp lastchecked lastscanned lastscan scannedat"
    " scantime scandate checkdate probetime datetime time lastseen",
    "host": "host hostname fqdn domain domainname endpoint server target url site website instance address"
    " serveraddress installedon device devicename machine ip ipaddress",
    "port": "port tcpport serverport",
    "server_name": "servername sni",
    "error": "error errormessage failure failurereason errorkind lasterror",
    "latency_ms": "latencyms responsetimems durationms",
    "not_before": "notbefore validfrom validfromdate startdate validitystart validitystartdate issuedon"
    " issuedate dateissued effectivedate certeffectivedate begins",
    "not_after": "notafter validto validtodate validuntil expirationdate expirydate expiresat expireson"
    " expires expiry expiration enddate validityend validityenddate certexpirationdate certexpires"
    " expiresutc",
    "names": "subjectalternativenames subjectalternativename subjectaltnames sans san dnsnames altnames"
    " alternativenames sandns names additionaldomains",
    "subject": "subject subjectdn issueddn certificatedn subjectdistinguishedname dn",
    "subject_cn": "subjectcn commonname subjectcommonname cn issuedcn issuedto certificatename",
    "issuer": "issuer issuerdn issuedby ca caname certificateauthority issuername issuerdistinguishedname",
    "issuer_cn": "issuercn issuercommonname",
    "issuer_org": "issuerorg issuero issuerorganization issuerorganisation",
    "serial": "serial serialnumber certserialnumber certificateserialnumber",
    "fingerprint": "fingerprint sha256fingerprint fingerprintsha256 sha256 thumbprint certificatethumbprint"
    " sha1fingerprint fingerprintsha1 thumbprintsha256",
    "owner": "owner ownedby assignedto team contact contacts requester requestername requestedby managedby"
    " technicalcontact owneremail application",
    "environment": "environment env stage tier",
    "criticality": "criticality businesscriticality importance priority",
    "automation": "automation automationtype renewalmethod managementtype enrollmentmethod renewedby",
    "installer": "installer platform servertype storetype webserver",
    "valid_from": "validsince since",
    "valid_to": "retiredat decommissionedat",
    "known_at": "knownat firstseen discoveredat discoveredon discovereddate importdate importedat createdat"
    " createdon created datecreated dateadded",
}
#: A row that may be edited later is known since it was last edited, not since it was made.
_EDITED: Final = "knownat updatedat updated lastupdated syschangedon sysupdatedon modifiedat lastmodified"

#: What a header that no list has begins with.
_BEGINNINGS: Final = {
    "not_after": ("expiry", "expires", "expiration"),
    "names": ("subjectalternative", "san"),
}
#: What a time's header ends with, where its unit is told.
_UNITS: Final = re.compile(r"(unix|unixtime|epoch|unixms|epochms)$")


def guess_mapping(
    sample: AbstractMapping[str, Sequence[str]],
    layout: Layout,
    table: Literal["auto"] | TableName = "auto",
    where: str = "the table",
) -> Mapping:
    """Guess the mapping of a table.

    Parameters
    ----------
    sample : mapping of str to sequence of str
        The columns, in their order, with some of their values.
    layout : Layout
        How the table lies in its file.
    table : str
        What a row is; ``"auto"`` finds out: observations have a host and the time of the look, certificates
        an end of validity, and hosts a host.
    where : str
        What to call the table in errors.

    Raises
    ------
    SourceError
        If no column looks like a field without which a row is none.
    """
    filled = {name: [text for text in texts if not is_empty(text)] for name, texts in sample.items()}
    tables = ("observations", "certificates", "hosts") if table == "auto" else (table,)
    for name in tables:
        columns = _columns(filled, name)
        # A column of addresses alone may be anybody's.
        enough = table != "auto" or len(columns) > 1
        if enough and all(field in columns for field in REQUIRED[name]):
            break
    else:
        listed = ", ".join(filter(None, sample))
        needed = "; ".join(f"{name}: {' and '.join(REQUIRED[name])}" for name in tables)
        raise SourceError(
            f"no column of {where} looks like what is needed ({needed}); it has: {listed};"
            " say in a mapping which is which"
        )
    texts = filled.get(columns.get("error", ""), [])
    told = dict.fromkeys(
        text for text in texts if columns["error"] != columns.get("not_after") or not looks_like_time(text)
    )
    return Mapping(
        table=name,
        sheet=layout.sheet,
        delimiter=layout.delimiter,
        encoding=layout.encoding,
        skip_rows=layout.skip_rows,
        columns=columns,
        errors={text: kind_of_error(text) for text in told if len(text) <= 100},
    )


def _columns(filled: AbstractMapping[str, Sequence[str]], table: str) -> dict[str, str]:
    headers = {name: re.sub(r"[^a-z0-9]", "", name.lower()) for name in filled if name}
    found = dict[str, str]()
    for field in FIELDS[table]:
        wanted = (_EDITED if field == "known_at" and table == "hosts" else SYNONYMS[field]).split()
        ranked = {name: wanted.index(plain) for name, plain in headers.items() if plain in wanted}
        if not ranked:
            begins = _BEGINNINGS.get(field, ("\0",))
            ranked = {name: 0 for name, plain in headers.items() if plain.startswith(begins)}
        free = [
            name
            for name in sorted(ranked, key=ranked.__getitem__)
            if name not in found.values() and _fits(field, filled[name])
        ]
        if free:
            found[field] = free[0]
    if table == "observations":
        _by_values(headers, filled, found)
    return found


def _by_values(
    headers: dict[str, str], filled: AbstractMapping[str, Sequence[str]], found: dict[str, str]
) -> None:
    """Find the time of the look by its unit, and errors that stand where else the expiry does."""
    if "observed_at" not in found:
        timed = [
            name
            for name, plain in headers.items()
            if _UNITS.search(plain) and _fits("observed_at", filled[name])
        ]
        if len(timed) == 1:
            found["observed_at"] = timed[0]
    end = found.get("not_after")
    if end and "error" not in found and not all(map(looks_like_time, filled[end])):
        found["error"] = end


def _fits(field: str, texts: Sequence[str]) -> bool:
    """Tell whether values may be a field's: times are times, mostly."""
    if field not in TIMES or not texts:
        return True
    return sum(map(looks_like_time, texts)) >= len(texts) / 2
