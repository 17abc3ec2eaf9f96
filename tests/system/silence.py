"""A network that swallows packets without a word, before any server of loopback.

Nothing is refused or reset: what is lost is never answered, and only a limit of our own ends the wait.
"""

import contextlib
import select
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

__all__ = ["Network", "network"]

#: What is swallowed: nothing; what begins a connection; all that the server says once one is open.
Lost = Literal["nothing", "connections", "answers"]

_TURN_S = 0.02


class Network:
    """The way to one server. All may be changed while connections are open.

    Attributes
    ----------
    lost : {"nothing", "connections", "answers"}
        What is swallowed. `answers` holds for connections that are open already, too.
    passed : int
        So many bytes of the server's get through on each connection before the rest is swallowed.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._queue: list[socket.socket] = []
        self.port = int(self._listener.getsockname()[1])
        self.lost: Lost = "nothing"
        self.passed = 0
        self.ended = threading.Event()
        self._turn = threading.Lock()  # nobody is let in while what is lost changes
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, what: Lost, passed: int = 0) -> None:
        """Have something swallowed from now on."""
        with self._turn:
            self.lost, self.passed = what, passed
        if what == "connections":
            # A queue that is full and never emptied has the kernel drop what else wants in.
            self._listener.listen(0)
            with contextlib.suppress(TimeoutError):
                while True:
                    self._queue.append(socket.create_connection(("127.0.0.1", self.port), 0.2))
        else:
            for waiting in self._queue:
                waiting.close()
            self._queue.clear()
            self._listener.listen(128)

    def _accept(self) -> None:
        self._listener.setblocking(False)
        with self._listener:
            while not self.ended.is_set():
                if self.lost == "connections" or not select.select([self._listener], [], [], _TURN_S)[0]:
                    self.ended.wait(_TURN_S)
                    continue
                with self._turn, contextlib.suppress(OSError):
                    if self.lost != "connections":
                        client, _ = self._listener.accept()
                        client.setblocking(True)
                        threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        passed = 0
        with client, selectors.DefaultSelector() as ready, contextlib.suppress(OSError):
            server = socket.create_connection(("127.0.0.1", self._to), 5)
            with server:
                for side in (client, server):
                    ready.register(side, selectors.EVENT_READ)
                while not self.ended.is_set():
                    for key, _ in ready.select(_TURN_S):
                        chunk = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
                        if not chunk:
                            return
                        if key.fileobj is client:
                            server.sendall(chunk)
                            continue
                        if self.lost == "answers":
                            chunk = chunk[: max(self.passed - passed, 0)]
                        passed += len(chunk)
                        client.sendall(chunk)


@contextmanager
def network(port: int) -> Iterator[Network]:
    """Lay a way to a port of loopback for the time of the block."""
    made = Network(port)
    try:
        yield made
    finally:
        made.lose("nothing")
        made.ended.set()
