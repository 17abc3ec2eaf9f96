"""What to do about an issuer's refusal, by its kind."""

from typing import Final

from certforecast.errors import ExecutionError
from certforecast.execution.rehearsal.findings import Finding

__all__ = ["advised"]

_ADVICE: Final = {
    "accountDoesNotExist": "if account_key was replaced by mistake, put the old one back; else delete it, "
    "and the first order makes a new account",
    "caa": "add a CAA record that names this authority, or order elsewhere",
    "connection": "open the port for the authority, and have the name's address lead to this machine",
    "dns": "mend the name's records, and see that its servers answer",
    "externalAccountRequired": "ask the authority for an account of your own, and put its key in "
    "account_key, or set eab to what it gave",
    "incorrectResponse": "have the challenge's path served from where the settings put it, and nothing else",
    "rateLimited": "wait as long as it says, and order less often",
    "rejectedIdentifier": "order this name elsewhere, or leave it out",
    "tls": "mend TLS where the challenge's path redirects to",
    "unauthorized": "have the name's address lead to this machine, and the challenge's path be served",
    "unreachable": "let this machine out to it, and check directory_url and ca_file",
    "userActionRequired": "agree to the authority's new terms with the account's key",
    "webroot": "let the user that renews write there",
}


def advised(error: ExecutionError, host: str | None = None) -> Finding:
    """Make a finding of an error; an issuer's own words do not say what to do."""
    code = error.code or "other"
    advice = _ADVICE.get(code)
    return Finding(code=code, message=f"{error}: {advice}" if advice else str(error), host=host)
