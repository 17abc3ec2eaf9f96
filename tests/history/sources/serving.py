"""A web service on loopback whose answers a test makes up."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Question:
    """One request: its path, its query with all values of each parameter, and its headers."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.query.get(name, [""])[0]


@dataclass
class Answer:
    """One answer; `missing` bytes are promised and never sent."""

    body: Any = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    missing: int = 0

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Serving:
    """The service: where it is, and what it was asked."""

    url: str
    asked: list[Question]


@contextmanager
def serving(answer: Callable[[Question], Answer]) -> Iterator[Serving]:
    """Serve what `answer` gives for each request."""
    asked: list[Question] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            question = Question(url.path, parse_qs(url.query), dict(self.headers))
            asked.append(question)
            given = answer(question)
            content = given.content()
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content) + given.missing))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Serving(f"http://127.0.0.1:{server.server_address[1]}", asked)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
