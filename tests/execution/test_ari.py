"""Asking when to renew: names of certificates, answers good and bad, and never too early again."""

import base64
import json
import sqlite3
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.execution.asking import Answers
from certforecast.execution.issuers.acme.ari import RenewalInfo, clamped
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.issuers.suggestions import Suggestion, certid, certid_of
from certforecast.execution.placing import known_certid
from tests.certificates import certificate, der

WINDOW = {"start": "2026-12-01T00:00:00Z", "end": "2026-12-02T00:00:00.5+01:00"}


#: RFC 9773, appendix A.
EXAMPLE = """-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----
"""


def test_the_name_is_that_of_the_rfc() -> None:
    assert certid_of(ssl.PEM_cert_to_DER_cert(EXAMPLE)) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


@given(st.binary(min_size=1, max_size=32), st.integers(0, 2**160 - 1))
def test_the_name_holds_the_serial_as_an_integer_of_der(key_id: bytes, serial: int) -> None:
    first, last = (
        base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in certid(key_id, serial).split(".")
    )
    assert first == key_id
    assert int.from_bytes(last, "big", signed=True) == serial
    assert len(last) == 1 or last[0] != 0 or last[1] >= 0x80  # no byte too many
    assert known_certid(key_id.hex(), format(serial, "x")) == certid(key_id, serial)


def test_what_has_no_name() -> None:
    assert certid_of(b"garbage") is None
    assert certid_of(der(certificate("a.example"))) is None  # it does not say which key signed it
    for key_id, serial in ((None, "1"), ("00", None), ("0", "1"), ("00", "x"), (float("nan"), "1")):
        assert known_certid(key_id, serial) is None


def test_clamps_what_servers_ask_for() -> None:
    asked = [None, 0.0, 59.0, 61.0, 86_401.0, 1e12]
    assert [clamped(seconds) for seconds in asked] == [21_600.0, 60.0, 60.0, 61.0, 86_400.0, 86_400.0]


@dataclass
class Server:
    """What a server answers about every certificate, and how often it was asked."""

    status: int = 200
    body: Any = field(default_factory=lambda: {"suggestedWindow": dict(WINDOW)})
    headers: dict[str, str] = field(default_factory=dict)
    ari: bool = True
    fails: int = 0
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def ask(self, tmp_path: Path) -> Suggestion:
        section = AcmeIssuerSettings(
            kind="acme", directory_url=f"{self.url}/dir", account_key=tmp_path / "key.pem", timeout_s=5
        )
        return RenewalInfo(section).ask("aaaa.bbbb")


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


@contextmanager
def serve() -> Iterator[Server]:
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/dir":
                self.reply(200, {"renewalInfo": f"{told.url}/ari/"} if told.ari else {}, {})
                return
            told.asked.append(self.path)
            if told.fails:
                told.fails -= 1
                self.reply(500, {}, {})
            else:
                self.reply(told.status, told.body, told.headers)

        def reply(self, status: int, body: Any, headers: dict[str, str]) -> None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response_only(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        told.url = f"http://127.0.0.1:{web.server_port}"
        threading.Thread(target=web.serve_forever, args=(0.05,), daemon=True).start()
        yield told
        web.shutdown()


def test_reads_a_window(server: Server, tmp_path: Path) -> None:
    server.headers = {"Retry-After": "7200"}
    server.body["explanationURL"] = "https://ca.example/why"
    found = server.ask(tmp_path)
    assert (found.start, found.end) == (
        datetime(2026, 12, 1, tzinfo=UTC),
        datetime(2026, 12, 1, 23, 0, 0, 500_000, tzinfo=UTC),
    )
    assert (found.url, found.retry_after_s, found.problem) == ("https://ca.example/why", 7200.0, None)
    assert server.asked == ["/ari/aaaa.bbbb"]
    assert not (tmp_path / "key.pem").exists()  # it takes no account


def test_a_date_is_read_by_the_servers_own_clock(server: Server, tmp_path: Path) -> None:
    """Which is a day off, here."""
    server.headers = {
        "Date": "Mon, 07 Dec 2026 12:00:00 GMT",
        "Retry-After": "Mon, 07 Dec 2026 13:00:00 GMT",
    }
    assert server.ask(tmp_path).retry_after_s == 3600.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"body": {"suggestedWindow": {"start": WINDOW["end"], "end": WINDOW["start"]}}},
            "ends before it begins",
        ),
        (
            {"body": {"suggestedWindow": {"start": WINDOW["end"], "end": WINDOW["end"]}}},
            "ends before it begins",
        ),
        ({"body": {"suggestedWindow": {"start": "soon", "end": "later"}}}, "RFC 9773"),
        (
            {"body": {"suggestedWindow": {"start": "2026-12-01T00:00:00", "end": "2026-12-02T00:00:00"}}},
            "RFC 9773",
        ),
        ({"body": {}}, "RFC 9773"),
        ({"body": []}, "RFC 9773"),
        ({"body": b"{"}, "no JSON"),
        ({"status": 404}, "404"),
        ({"status": 503, "headers": {"Retry-After": "600"}}, "503"),
        ({"ari": False}, "no renewalInfo"),
    ],
)
def test_what_is_no_window_is_as_if_there_were_none(
    server: Server, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    for name, value in changes.items():
        setattr(server, name, value)
    found = server.ask(tmp_path)
    assert (found.start, found.end) == (None, None)
    assert said in (found.problem or "")
    assert found.retry_after_s == (600.0 if "headers" in changes else 21_600.0)


def test_what_passes_by_itself_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.fails = 2
    assert server.ask(tmp_path).problem is None
    assert len(server.asked) == 3
    server.fails = 100
    assert "500" in (server.ask(tmp_path).problem or "")
    assert len(server.asked) == 7  # and not for ever


def test_a_server_that_is_away_is_an_answer(tmp_path: Path) -> None:
    with serve() as server:
        pass
    assert "cannot be reached" in (server.ask(tmp_path).problem or "")


def test_an_address_that_could_mislead_is_not_shown(server: Server, tmp_path: Path) -> None:
    for url in ("javascript:alert(1)", "https://a.example/\nb", "https://a.example/" + "a" * 600):
        server.body["explanationURL"] = url
        assert server.ask(tmp_path).url is None


def test_answers_are_kept_until_it_is_time(tmp_path: Path) -> None:
    path, now = tmp_path / "home" / "ari.sqlite", datetime(2026, 12, 1, 12, 0, 0, 123_456, tzinfo=UTC)
    window = Suggestion(now, now + timedelta(hours=1), "https://ca.example", 0.0, None)
    none = Suggestion(None, None, None, 0.0, "it answered 404")
    first = Answers(path)
    with first.open():
        first.keep("le", "a.b", window, now + timedelta(hours=1))
        first.keep("le", "c.d", none, now + timedelta(minutes=1))
    again = Answers(path)
    with again.open():
        assert again.find("le", "a.b", now) == (window, now + timedelta(hours=1))
        assert again.find("le", "c.d", now) == (none, now + timedelta(minutes=1))
        assert again.find("le", "c.d", now + timedelta(minutes=1)) is None
        assert again.find("other", "a.b", now) is None


def test_answers_got_before_something_broke_are_kept(tmp_path: Path) -> None:
    answers = Answers(tmp_path / "ari.sqlite")

    def cut_off() -> None:
        with answers.open():
            none = Suggestion(None, None, None, 0.0, "why")
            answers.keep("le", "a.b", none, datetime(2027, 1, 1, tzinfo=UTC))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    with sqlite3.connect(tmp_path / "ari.sqlite") as database:
        assert database.execute("SELECT count(*) FROM answers").fetchone() == (1,)
