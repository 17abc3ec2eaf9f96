"""What tests of rehearsals share: candidates, one check alone, a DNS server and a web server on loopback."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from certforecast.execution.rehearsal import CheckResult, rehearse
from certforecast.execution.rehearsal.registry import CHECKS
from certforecast.planning import Candidate
from certforecast.settings import Settings

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def candidate(*names: str, **changes: Any) -> Candidate:
    values = {
        "name": names[0],
        "lineage": "aa" * 32,
        "fingerprint": "bb" * 32,
        "names": names,
        "endpoints": ({"host": names[0], "port": 443, "server_name": names[0]},),
        "not_after": NOW + timedelta(days=30),
        "issuer": "ca",
        "installer": "web",
        "cost": 1.0,
        "reasons": ("for the test",),
    }
    return Candidate(**{**values, **changes})


def only(check: str, subject: Candidate, settings: Settings) -> CheckResult:
    """Make one check."""
    skip = [name for name in CHECKS if name != check]
    settings = settings.model_copy(update={"rehearsal": settings.rehearsal.model_copy(update={"skip": skip})})
    ((_, made),) = rehearse([subject], settings)
    (result,) = made.checks
    return result


@contextmanager
def nameserver(answers: dict[tuple[str, str], list[str]], broken: Sequence[str] = ()) -> Iterator[str]:
    """Serve DNS on loopback: answers by name and type, SERVFAIL for names that are broken."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.1)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    wire, client = server.recvfrom(4096)
                except TimeoutError:
                    continue
                query = dns.message.from_wire(wire)
                asked = query.question[0]
                name = asked.name.to_text(omit_final_dot=True)
                reply = dns.message.make_response(query)
                if name in broken:
                    reply.set_rcode(dns.rcode.SERVFAIL)
                kind = dns.rdatatype.to_text(asked.rdtype)
                if values := answers.get((name, kind)):
                    reply.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *values))
                elif not any(known == name for known, _ in answers):
                    reply.set_rcode(dns.rcode.NXDOMAIN if name not in broken else dns.rcode.SERVFAIL)
                server.sendto(reply.to_wire(), client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            ended.set()
            thread.join(5)


def acme(home: Path, resolver: str, **others: Any) -> Settings:
    rehearsal = {"resolver": resolver, "timeout_s": 20.0, **others.pop("rehearsal", {})}
    section = {
        "kind": "acme",
        "directory_url": "https://127.0.0.1:1/dir",
        "account_key": home / "account.pem",
        "caa_identities": ["our-ca.test"],
        **others,
    }
    return Settings(home=home, issuers={"ca": section}, rehearsal=rehearsal)


class Web(BaseHTTPRequestHandler):
    """Serves files below a folder, or redirects."""

    root: Path
    redirect: str | None = None

    def do_GET(self) -> None:
        if self.redirect is not None and "moved" not in self.path:
            self.send_response(301)
            self.send_header("Location", self.redirect.format(path=self.path))
            self.end_headers()
            return
        path = self.root / self.path.removeprefix("/moved").partition("?")[0].lstrip("/")
        self.send_response(200 if path.is_file() else 404)
        self.end_headers()
        if path.is_file():
            self.wfile.write(path.read_bytes())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def web(root: Path, redirect: str | None = None) -> Iterator[int]:
    handler = type("Handler", (Web,), {"root": root, "redirect": redirect})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()
