"""A proxy before pebble that speaks ARI (RFC 9773), knows rate limits, and has faults on demand.

Debian's pebble knows nothing of the three. The proxy keeps the Host header, so that pebble gives addresses of
the proxy and the addresses in signed requests match.
"""

import base64
import contextlib
import json
import random
import re
import socket
import ssl
import struct
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

from tests.system.faults import Answer, CutError, Fault, StalledError, another_key, problem
from tests.system.pebble import Pebble

__all__ = ["Chaos", "Seen", "chaos"]

#: What a request is about, by pebble's paths.
_WHAT = {
    "dir": "directory",
    "nonce-plz": "newNonce",
    "sign-me-up": "newAccount",
    "order-plz": "newOrder",
    "my-order": "order",
    "finalize-order": "finalize",
    "certZ": "certificate",
    "authZ": "authorization",
    "chalZ": "challenge",
    "renewal-info": "renewalInfo",
}
_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})
_ERROR = "urn:ietf:params:acme:error:"


@dataclass(frozen=True)
class Seen:
    """A request: what it is about, the payload it was signed with, and the status of the answer (0: none)."""

    what: str
    path: str
    payload: dict[str, Any]
    status: int


@dataclass
class Chaos:
    """The proxy. All may be changed while it runs.

    Attributes
    ----------
    windows : dict of str to Answer
        What ``renewalInfo`` says of a certificate, by certid; others have none (404).
    orders_left : float
        Orders until the rate limit holds; such as name what they replace are exempt.
    rate : float
        With which probability a request meets one of the `random_faults`: by name, each with what it may
        spoil (nothing: everything). `met` says which it was.
    """

    server: Pebble
    ca_file: Path
    account_key: Path
    port: int = 0
    ari: bool = True
    windows: dict[str, Answer] = field(default_factory=dict)
    orders_left: float = float("inf")
    retry_after: str = "3600"
    rate: float = 0.0
    random_faults: dict[str, tuple[Fault, Sequence[str]]] = field(default_factory=dict)
    dice: random.Random = field(default_factory=lambda: random.Random(0))
    seen: list[Seen] = field(default_factory=list)
    met: list[str] = field(default_factory=list)
    replaced: set[str] = field(default_factory=set)
    _planned: list[tuple[str, Fault]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def directory_url(self) -> str:
        return f"https://127.0.0.1:{self.port}/dir"

    def section(self, **changes: Any) -> dict[str, Any]:
        """Give a section of the settings for it; all are of one account."""
        own = {"directory_url": self.directory_url, "ca_file": self.ca_file, "account_key": self.account_key}
        return self.server.section(**own, **changes)

    def fail(self, what: str, fault: Fault, times: int = 1) -> None:
        """Have the next requests about something fail so, one after another."""
        with self._lock:
            self._planned += [(what, fault)] * times

    def heal(self) -> None:
        """Have no fault left."""
        with self._lock:
            self._planned.clear()

    def window(self, certid: str, start: str, end: str, *, retry_after: str = "21600", url: str = "") -> None:
        """Suggest a window for a certificate; the texts are sent as they are."""
        body: dict[str, Any] = {"suggestedWindow": {"start": start, "end": end}}
        if url:
            body["explanationURL"] = url
        headers = {"Content-Type": "application/json", "Retry-After": retry_after}
        self.windows[certid] = Answer(200, headers, json.dumps(body).encode())

    def about(self, what: str) -> list[Seen]:
        return [request for request in self.seen if request.what == what]

    def for_another_key(self) -> Fault:
        """Give the fault that needs the CA's own key."""
        context = ssl.create_default_context(cafile=str(self.server.ca_file))

        def fetch(what: str) -> bytes:
            url = f"https://127.0.0.1:{self.server.ports['manage']}/{what}/0"
            with urllib.request.urlopen(url, timeout=5, context=context) as answer:
                return bytes(answer.read())

        return another_key(fetch("intermediates"), fetch("intermediate-keys"))

    def handle(
        self, method: str, path: str, payload: dict[str, Any], forward: Callable[[], Answer]
    ) -> Answer:
        """Answer a request."""
        what = _WHAT.get(path.strip("/").split("/")[0], path)
        status = 0
        try:
            fault = self._fault(what) if method != "HEAD" else None
            usual = partial(self._usual, what, path, payload, forward)
            try:
                answer = usual() if fault is None else fault(partial(_accepted, usual))
            except (
                _RefusedError
            ) as refused:  # pebble refuses many nonces: the fault waits for the next request
                answer = refused.answer
                if fault is not None:
                    self.fail(what, fault)
            status = answer.status
        finally:
            with self._lock:
                self.seen.append(Seen(what, path, payload, status))
        return answer

    def _fault(self, what: str) -> Fault | None:
        with self._lock:
            for number, (where, fault) in enumerate(self._planned):
                if where == what:
                    del self._planned[number]
                    return fault
            if self.rate and self.dice.random() < self.rate:
                fitting = [
                    one for one, (_, where) in self.random_faults.items() if not where or what in where
                ]
                name = self.dice.choice(fitting)
                self.met.append(name)
                return self.random_faults[name][0]
        return None

    def _usual(self, what: str, path: str, payload: dict[str, Any], forward: Callable[[], Answer]) -> Answer:
        if what == "directory":
            answer = forward()
            body = json.loads(answer.body)
            if self.ari:
                body["renewalInfo"] = f"https://127.0.0.1:{self.port}/renewal-info"
            return Answer(answer.status, answer.headers, json.dumps(body).encode())
        if what == "renewalInfo":
            return self.windows.get(path.rpartition("/")[2], Answer(404))
        if what == "newOrder":
            return self._order(payload, forward)
        return forward()

    def _order(self, payload: dict[str, Any], forward: Callable[[], Answer]) -> Answer:
        replaces = payload.get("replaces")
        with self._lock:
            if replaces in self.replaced:
                return problem("alreadyReplaced", 409, "replaced by another order")(forward)
            if replaces is None and self.orders_left < 1:
                return problem("rateLimited", 429, "too many new orders", Retry_After=self.retry_after)(
                    forward
                )
        answer = forward()
        if answer.status == 201:
            with self._lock:
                if replaces is not None:
                    self.replaced.add(replaces)
                else:
                    self.orders_left -= 1
        return answer


@contextmanager
def chaos(server: Pebble) -> Iterator[Chaos]:
    """Run the proxy before a pebble for the time of the block."""
    authority = trustme.CA()
    ca_file = server.home / f"chaos-{id(authority)}.pem"
    authority.cert_pem.write_to_path(ca_file)
    proxy = Chaos(server, ca_file, server.section()["account_key"])
    inward = ssl.create_default_context(cafile=str(server.ca_file))
    outward = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(outward)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def setup(self) -> None:
            # Shake hands here, in the connection's own thread, not where connections are accepted.
            self.request = outward.wrap_socket(self.request, server_side=True)
            super().setup()

        def finish(self) -> None:
            super().finish()
            self.connection.close()  # the server closes the plain socket only, which is empty by now

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                answer = proxy.handle(self.command, self.path, _payload(body), lambda: self._forward(body))
            except CutError:
                self._cut()
            except StalledError as stalled:
                self._give(stalled.answer, len(stalled.answer.body) // 2)
                time.sleep(stalled.seconds)
                self._cut()
            else:
                self._give(answer, len(answer.body))

        do_HEAD = do_POST = do_GET  # noqa: N815

        def _give(self, answer: Answer, length: int) -> None:
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body[:length])

        def _forward(self, body: bytes) -> Answer:
            upstream = HTTPSConnection("127.0.0.1", server.ports["acme"], timeout=30, context=inward)
            with contextlib.closing(upstream):
                upstream.request(self.command, self.path, body or None, dict(self.headers.items()))
                answer = upstream.getresponse()
                kept = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
                return Answer(answer.status, kept, answer.read())

        def _cut(self) -> None:
            self.close_connection = True
            # Lingering for no time at all makes closing a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:  # clients that hang up are part of the game
            pass

        def shutdown_request(self, request: Any) -> None:
            self.close_request(request)

    with Server(("127.0.0.1", 0), Handler) as web:
        proxy.port = web.server_port
        threading.Thread(target=web.serve_forever, args=(0.05,), daemon=True).start()
        yield proxy
        web.shutdown()


class _RefusedError(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def _accepted(usual: Callable[[], Answer]) -> Answer:
    """Give what the real server answers, if it is no refusal."""
    answer = usual()
    if answer.status >= 400:
        raise _RefusedError(answer)
    return answer


def _payload(body: bytes) -> dict[str, Any]:
    """Give what a signed request holds."""
    with contextlib.suppress(ValueError, KeyError):
        encoded = re.sub(r"[^A-Za-z0-9_-]", "", json.loads(body)["payload"])
        found = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
        return found if isinstance(found, dict) else {}
    return {}
