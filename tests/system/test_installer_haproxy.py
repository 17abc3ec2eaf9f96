"""HAProxy, told by its runtime API or by a signal to its master."""

import contextlib
import socket
import ssl
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from certforecast.execution.installers.haproxy import HaproxyInstallerSettings
from certforecast.history.x509 import fingerprint
from tests.system.installing import Contract, FreePort, ServerSite, home

__all__ = ["home"]

pytestmark = pytest.mark.system


class HaproxySite(ServerSite):
    section = HaproxyInstallerSettings
    tester = ("haproxy", "-c")

    def __init__(self, home: Path, port: int) -> None:
        super().__init__(home)
        self.key.rename(self.key.with_suffix(".old"))
        combined = self.certificate.with_name("site.pem")
        combined.write_bytes(self.key.with_suffix(".old").read_bytes() + self.certificate.read_bytes())
        combined.chmod(0o600)
        self.certificate = self.key = combined
        self.at(port)
        self.socket, self.pid = home / "stats.sock", home / "haproxy.pid"
        self.conf = home / "haproxy.cfg"
        self.conf.write_text(
            f"""
global
    stats socket {self.socket} level admin expose-fd listeners
    hard-stop-after 10s
defaults
    mode http
    timeout client 30s
    timeout connect 5s
    timeout server 30s
frontend site
    bind 127.0.0.1:{port} ssl crt {combined}
    http-request return status 200 content-type text/plain string ok
"""
        )

    def more(self) -> dict[str, Any]:
        return {"config": str(self.conf), "socket": str(self.socket), "binary": "haproxy"}

    def ask(self, connection: ssl.SSLSocket) -> bytes:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {self.name}\r\n\r\n".encode())
        return connection.recv(4096)

    def open(self, port: int | None = None) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=self.roots)
        connection = socket.create_connection((self.endpoint.host, port or self.endpoint.port), 20)
        return context.wrap_socket(connection, server_hostname=self.name)


class SignalledSite(HaproxySite):
    def __init__(self, home: Path, port: int, echo: int, held: int) -> None:
        super().__init__(home, port)
        self.held = held
        with self.conf.open("a") as conf:
            conf.write(
                f"""
listen held
    mode tcp
    bind 127.0.0.1:{held} ssl crt {self.certificate}
    server echo 127.0.0.1:{echo}
"""
            )

    def more(self) -> dict[str, Any]:
        return {"config": str(self.conf), "pid_file": str(self.pid), "binary": "haproxy"}


@pytest.fixture
def echo() -> Iterator[int]:
    """Answer one connection with what it says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    while said := connection.recv(100):
                        connection.sendall(said)

        threading.Thread(target=answer, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.fixture
def started(start: Callable[..., Any], free_port: FreePort) -> Callable[[HaproxySite], HaproxySite]:
    def run(site: HaproxySite) -> HaproxySite:
        start(["haproxy", "-W", "-f", str(site.conf), "-p", str(site.pid)], site.endpoint.port)
        return site

    return run


class TestRuntimeApi(Contract):
    @pytest.fixture
    def server(self, home: Path, started: Any, free_port: FreePort) -> ServerSite:
        return started(HaproxySite(home, free_port()))

    @pytest.mark.parametrize("script", ["exit 0", "exit 1", "sleep 600"], ids=["void", "fails", "hangs"])
    def test_a_reload_without_effect_is_rolled_back(
        self, server: ServerSite, monkeypatch: pytest.MonkeyPatch, script: str
    ) -> None:
        files = server.files
        values = {"socket": None, "reload": ["sh", "-c", script]}
        result = server.renew(timeout_s=5 if script == "sleep 600" else 30, **values)
        assert result.status == "rolled_back", result.detail
        assert "does not serve" in result.detail
        server.still_serves_the_old_one(files)

    def test_what_is_loaded_is_in_the_file_too_and_the_process_is_the_same(self, server: HaproxySite) -> None:
        with server.open() as connection:
            assert server.ask(connection).startswith(b"HTTP/1.1 200")
            pid, mode = server.pid.read_text(), stat.S_IMODE(server.key.stat().st_mode)
            result = server.renew()
            assert result.status == "verified", result.detail
            assert server.ask(connection).startswith(b"HTTP/1.1 200")  # the old connection goes on
        assert server.pid.read_text() == pid
        assert stat.S_IMODE(server.key.stat().st_mode) == mode
        pem = server.certificate.read_text()
        assert pem.index("PRIVATE KEY") < pem.index("BEGIN CERTIFICATE")  # the order it was in

    def test_a_name_that_the_server_does_not_know_is_refused_before_anything(
        self, server: HaproxySite
    ) -> None:
        result = server.renew(crt="/elsewhere.pem")
        assert result.status == "failed"
        assert "knows no certificate /elsewhere.pem" in result.detail
        result = server.renew(socket=str(server.home / "none.sock"))
        assert result.status == "failed"
        assert "is haproxy up" in result.detail
        assert server.look().fingerprint == server.before

    def test_what_the_runtime_api_refuses_is_put_back(self, server: HaproxySite) -> None:
        # A second process of the same certificate in the file, changed by hand after the swap, is not loaded.
        installer = server.section.model_validate(
            {
                "kind": "haproxy",
                "certificate": str(server.certificate),
                "key": str(server.key),
                **server.more(),
            }
        ).open(server.name)
        good = server.certificate.read_bytes()
        from certforecast.errors import InstallationError
        from certforecast.execution.staging import new_key

        begin = good.index(b"-----BEGIN CERTIFICATE")
        server.certificate.write_bytes(new_key() + good[begin:])
        with pytest.raises(InstallationError, match=r"refuses .*goes on as before|does not take"):
            installer.reload()
        server.certificate.write_bytes(good)
        installer.reload()  # nothing is left of the transaction
        assert server.look().fingerprint == server.before


class TestSignal(Contract):
    @pytest.fixture
    def server(self, home: Path, started: Any, free_port: FreePort, echo: int) -> ServerSite:
        return started(SignalledSite(home, free_port(), echo, free_port()))

    def test_finds_what_the_server_uses(self, server: ServerSite, monkeypatch: pytest.MonkeyPatch) -> None:
        """As with the runtime API, which the same configuration has."""

    def test_a_connection_that_is_open_goes_on_in_the_old_process(self, server: SignalledSite) -> None:
        with server.open(server.held) as connection:
            for _ in range(2):
                result = server.renew()
                assert result.status == "verified", result.detail
                connection.sendall(b"still here")
                assert connection.recv(100) == b"still here"
            der = connection.getpeercert(binary_form=True)
        assert fingerprint(der or b"") == server.before

    def test_no_way_to_tell_it_is_refused(self, server: HaproxySite) -> None:
        result = server.renew(pid_file=None)
        assert result.status == "failed"
        assert "nothing says how haproxy is told" in result.detail
