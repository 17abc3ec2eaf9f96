"""A server of JSON on loopback, for fakes of what is not to be had here."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Answered", "json_server"]

#: Status and document; None breaks the connection.
Answered = tuple[int, Any] | None


@contextmanager
def json_server(act: Callable[[BaseHTTPRequestHandler, Any], Answered]) -> Iterator[str]:
    """Have a function answer requests for the time of the block, and give the server's address.

    Parameters
    ----------
    act : callable
        Gets the request and its body, read as JSON; None without one.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            answer = act(self, json.loads(self.rfile.read(length)) if length else None)
            if answer is None:
                self.close_connection = True
                return
            status, document = answer
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PUT = do_GET  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_address[1]}"
        finally:
            http.shutdown()
            thread.join(5)
