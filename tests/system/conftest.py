"""What tests with real servers share."""

import contextlib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from certforecast.planning.plan import Endpoint

#: Gives a chain and a key, both PEM, for a name.
Issue = Callable[[str], tuple[bytes, bytes]]


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Give ports of loopback that nobody listens on."""

    def find() -> int:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return int(listener.getsockname()[1])

    return find


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def roots(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "roots.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def issue(authority: trustme.CA) -> Issue:
    def make(name: str) -> tuple[bytes, bytes]:
        made = authority.issue_cert(name)
        return b"".join(blob.bytes() for blob in made.cert_chain_pems), made.private_key_pem.bytes()

    return make


@pytest.fixture
def start() -> Iterator[Callable[[list[str], int], "subprocess.Popen[bytes]"]]:
    """Start servers and wait until they listen; each is ended by its process id."""
    started: list[subprocess.Popen[bytes]] = []

    def run(command: list[str], port: int) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(command)
        started.append(process)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            assert process.poll() is None, f"{command[0]} did not start"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return process
            time.sleep(0.02)
        pytest.fail(f"{command[0]} does not answer")

    yield run
    for process in started:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def start_endpoint(
    start: Callable[[list[str], int], "subprocess.Popen[bytes]"],
    free_port: Callable[[], int],
    tmp_path: Path,
    issue: Issue,
) -> Callable[..., tuple[Endpoint, "subprocess.Popen[bytes]"]]:
    """Start an endpoint of the sandbox with a certificate of its own in ``tmp_path/{cert,key}.pem``."""

    def run(*flags: str, name: str = "site.test") -> tuple[Endpoint, "subprocess.Popen[bytes]"]:
        for file, content in zip(("cert.pem", "key.pem"), issue(name), strict=True):
            (tmp_path / file).write_bytes(content)
        port = free_port()
        command = [sys.executable, "-m", "certforecast.simulation.endpoint", "--port", str(port)]
        command += ["--certificate", f"{tmp_path}/cert.pem", "--key", f"{tmp_path}/key.pem"]
        process = start([*command, "--pid-file", f"{tmp_path}/pid", *flags], port)
        while not (tmp_path / "pid").exists():
            time.sleep(0.01)
        return Endpoint(host="127.0.0.1", port=port, server_name=name), process

    return run


class Prober(threading.Thread):
    """Shakes hands every 20 ms and remembers what failed."""

    def __init__(self, endpoint: Endpoint, roots: Path) -> None:
        super().__init__(daemon=True)
        self.endpoint = endpoint
        self.context = ssl.create_default_context(cafile=roots)
        self.good, self.failures = 0, list[str]()
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.02):
            try:
                address = self.endpoint.host, self.endpoint.port
                with (
                    socket.create_connection(address, 5) as connection,
                    self.context.wrap_socket(connection, server_hostname=self.endpoint.server_name) as tls,
                ):
                    tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert tls.recv(100).startswith(b"HTTP/1.1 200")
                self.good += 1
            except (OSError, AssertionError) as error:
                self.failures.append(repr(error))

    def __enter__(self) -> "Prober":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self.join(10)
