"""The ACME issuer and servers that are busy, or that reject most nonces."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from certforecast.errors import IssuanceError
from certforecast.execution.issuers.acme.issuer import AcmeIssuer
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.staging import Staging
from tests.system.pebble import pebble

pytestmark = pytest.mark.system


@pytest.fixture
def csr(tmp_path: Path) -> bytes:
    staging = Staging(tmp_path / "staging")
    staging.prepare()
    return staging.csr(["a.site.test", "b.site.test"])


def test_ten_of_ten_are_issued_although_most_nonces_are_rejected(tmp_path: Path, csr: bytes) -> None:
    with pebble(tmp_path / "pebble", nonce_reject=60) as server:
        acme = AcmeIssuer(AcmeIssuerSettings(**server.section()))
        chains = [acme.issue(acme.order(csr), csr) for _ in range(10)]
    assert len({x509.load_pem_x509_certificate(chain).serial_number for chain in chains}) == 10


def test_issuers_that_start_at_once_share_one_account(tmp_path: Path, csr: bytes) -> None:
    barrier = threading.Barrier(4)
    with pebble(tmp_path / "pebble", nonce_reject=0) as server, ThreadPoolExecutor(4) as pool:
        section = AcmeIssuerSettings(**server.section())

        def order(_: int) -> Any:
            barrier.wait(20)
            return AcmeIssuer(section).order(csr)

        orders = list(pool.map(order, range(4)))
        # RFC 8555, section 7.4: only the account that placed an order may fetch it.
        chains = {AcmeIssuer(section).issue(order, csr) for order in orders}
    assert len(chains) == 4


def test_repeats_how_long_a_limit_holds(tmp_path: Path, csr: bytes) -> None:
    problem = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many new orders"}
    with busy(429, "3600", problem) as url:
        error = refused(url, tmp_path, csr)
    assert error.code == "rateLimited"
    assert "too many new orders" in str(error)
    assert "3600 s" in str(error)


def test_repeats_how_long_a_server_is_away(tmp_path: Path, csr: bytes) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
    with busy(503, until) as url:
        error = refused(url, tmp_path, csr)
    assert error.code == "serverInternal"
    assert any(f"{seconds} s" in str(error) for seconds in range(580, 601))


def test_a_limit_of_unknown_length_is_a_limit(tmp_path: Path, csr: bytes) -> None:
    problem = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many new orders"}
    with busy(429, "soon", problem) as url:
        error = refused(url, tmp_path, csr)
    assert error.code == "rateLimited"
    assert "too many new orders" in str(error)


def refused(url: str, folder: Path, csr: bytes) -> IssuanceError:
    section = AcmeIssuerSettings(kind="acme", directory_url=url, account_key=folder / "account.pem")
    with pytest.raises(IssuanceError) as caught:
        AcmeIssuer(section).order(csr)
    return caught.value


@contextmanager
def busy(status: int, retry_after: str, problem: dict[str, str] | None = None) -> Iterator[str]:
    """Run a server that has a directory and nonces, and refuses every request beyond them."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here = f"http://{self.headers['Host']}"
            self.answer(200, {name: f"{here}/{name}" for name in ("newNonce", "newAccount", "newOrder")})

        def do_HEAD(self) -> None:
            self.answer(200, None)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(status, problem)

        def answer(self, status: int, body: dict[str, str] | None) -> None:
            content = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Replay-Nonce", "bm9uY2U")
            self.send_header("Content-Length", str(len(content)))
            if status != 200:
                self.send_header("Retry-After", retry_after)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/dir"
        server.shutdown()
