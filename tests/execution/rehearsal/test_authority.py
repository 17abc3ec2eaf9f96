"""What an ACME server tells before any order: its names in CAA records, its clock, whom it serves."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.rehearsal.findings import CheckResult
from tests.execution.rehearsal.parts import acme, candidate, nameserver, only


@contextmanager
def directory(document: Any, ahead: timedelta = timedelta(0), *, dated: bool = True) -> Iterator[str]:
    """Serve an ACME directory whose server's clock is ahead, and count how often it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(document).encode()
            self.send_response_only(200)
            if dated:
                self.send_header("Date", format_datetime(datetime.now(UTC) + ahead, usegmt=True))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/dir"
        server.shutdown()


def checked(check: str, home: Path, document: Any, **others: Any) -> CheckResult:
    records = {("a.test", "CAA"): ['0 issue "named-in.test"']}
    with nameserver(records) as server, directory(document, **others) as url:
        settings = acme(home, server, directory_url=url, caa_identities=[])
        return only(check, candidate("a.test"), settings)


def test_how_caa_records_name_an_authority_is_in_its_directory(tmp_path: Path) -> None:
    meta = {"caaIdentities": ["other.test", "Named-In.test"]}
    assert checked("caa", tmp_path, {"meta": meta}).status == "passed"
    refused = checked("caa", tmp_path, {"meta": {"caaIdentities": ["other.test"]}})
    assert [finding.code for finding in refused.findings] == ["caa"]
    silent = checked("caa", tmp_path, {})
    assert (silent.status, "caa_identities" in silent.detail) == ("left_out", True)


@pytest.mark.parametrize(
    ("ahead", "codes", "words"),
    [(50, [], ""), (-50, [], ""), (90, ["clock"], "behind"), (-90, ["clock"], "ahead of")],
)
def test_a_clock_within_the_tolerance_is_right(
    tmp_path: Path, ahead: int, codes: list[str], words: str
) -> None:
    result = checked("clock", tmp_path, {}, ahead=timedelta(seconds=ahead))
    assert [finding.code for finding in result.findings] == codes
    assert all(words in finding.message for finding in result.findings)


def test_a_server_without_a_date_says_nothing_of_the_clock(tmp_path: Path) -> None:
    result = checked("clock", tmp_path, {}, dated=False)
    assert (result.status, "gives no date" in result.detail) == ("left_out", True)


def test_an_authority_that_wants_known_customers_needs_a_key(tmp_path: Path) -> None:
    assert checked("account", tmp_path, {}).status == "passed"  # the first order makes the account
    result = checked("account", tmp_path, {"meta": {"externalAccountRequired": True}})
    assert [finding.code for finding in result.findings] == ["externalAccountRequired"]


def test_what_is_no_directory_is_found(tmp_path: Path) -> None:
    result = checked("account", tmp_path, ["not", "a", "directory"])
    assert [finding.code for finding in result.findings] == ["config"]


LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


def test_a_staging_directory_is_known_or_set_and_never_production() -> None:
    section = AcmeIssuerSettings(kind="acme", directory_url=LETS_ENCRYPT, account_key=Path("/k/account.pem"))
    assert section.staging is not None
    assert section.staging.directory_url == "https://acme-staging-v02.api.letsencrypt.org/directory"
    assert section.staging.account_key == Path("/k/staging-account.pem")
    values = {"kind": "acme", "directory_url": "https://ca.test/dir", "account_key": "/k/account.pem"}
    assert AcmeIssuerSettings(**values).staging is None
    for production in ("https://ca.test/dir", "https://ca.test/dir/", LETS_ENCRYPT):
        with pytest.raises(ValueError, match="rehearsals never order"):
            AcmeIssuerSettings(**values, staging_directory_url=production)
