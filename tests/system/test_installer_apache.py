"""Apache httpd: what others let it do, being reloaded with a key that does not match, never comes to pass."""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from certforecast.errors import InstallationError
from certforecast.execution.installers.apache import ApacheInstallerSettings
from certforecast.execution.installers.processes import running
from certforecast.execution.staging import new_key
from tests.system.installing import Contract, FreePort, ServerSite, home, wrap

__all__ = ["home"]

pytestmark = pytest.mark.system

MODULES = "/usr/lib/apache2/modules"


class ApacheSite(ServerSite):
    section = ApacheInstallerSettings
    tester = ("apache2", "-t")
    reloader = ("apache2", "graceful")

    def __init__(self, home: Path, port: int) -> None:
        super().__init__(home)
        self.at(port)
        self.big = home / "docs" / "big"
        self.big.parent.mkdir()
        self.big.write_bytes(os.urandom(1 << 20) * 24)
        self.pid = home / "apache.pid"
        self.conf = home / "apache.conf"
        site = home / "site.conf"
        site.write_text(
            f"""
            <VirtualHost 127.0.0.1:{port}>
                ServerName {self.name}
                DocumentRoot {self.big.parent}
                SSLEngine on
                SSLCertificateFile ${{TLS}}/fullchain.pem
                SSLCertificateKeyFile ${{TLS}}/privkey.pem
            </VirtualHost>
            """
        )
        modules = ("mpm_event", "ssl", "authz_core")
        loads = "\n".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in modules)
        self.conf.write_text(
            f"""
            ServerRoot {home}
            ServerName {self.name}
            PidFile {self.pid}
            ErrorLog {home}/error.log
            Mutex file:{home}
            {loads}
            {"User www-data" if os.geteuid() == 0 else ""}
            Define TLS {self.certificate.parent}
            Listen 127.0.0.1:{port}
            Include site.conf
            """
        )

    def more(self) -> dict[str, Any]:
        return {"binary": "apache2", "config": str(self.conf)}

    def open(self, timeout: float = 20) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=self.roots)
        connection = socket.create_connection((self.endpoint.host, self.endpoint.port), timeout)
        return context.wrap_socket(connection, server_hostname=self.name)


@contextlib.contextmanager
def apache(site: ApacheSite, start: Callable[..., Any]) -> Iterator[ApacheSite]:
    assert shutil.which("apache2"), "apache2 is not installed; tests/system/packages.sh installs it"
    start(["apache2", "-f", str(site.conf), "-D", "FOREGROUND"], site.endpoint.port)
    # It listens before it reads its configuration again, and would die of what a test writes meanwhile.
    wait_until(lambda: site.look().fingerprint == site.before)
    yield site
    # Where it was started anew, it is nobody's child; nor are the workers of a process that was killed.
    subprocess.run(["apache2", "-f", site.conf, "-k", "stop"], capture_output=True, timeout=30)
    for process in running("apache2", of_any=True):
        if str(site.conf) in process.arguments:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


@pytest.fixture
def server(home: Path, start: Callable[..., Any], free_port: FreePort) -> Iterator[ApacheSite]:
    with apache(ApacheSite(home, free_port()), start) as site:
        yield site


class TestApache(Contract):
    def test_a_long_download_outlives_a_renewal(self, server: ApacheSite) -> None:
        with server.open() as connection:
            connection.sendall(f"GET /big HTTP/1.0\r\nHost: {server.name}\r\n\r\n".encode())
            received = len(connection.recv(65536))
            result = server.renew()
            assert result.status == "verified", result.detail
            while chunk := connection.recv(1 << 20):
                received += len(chunk)
        assert received > server.big.stat().st_size

    def test_a_server_that_a_reload_killed_is_started_again(
        self, server: ApacheSite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The mismatched key comes between test and reload, as by another tool.
        installer, key = server.installer(timeout_s=5), server.key.read_bytes()
        server.key.write_bytes(new_key())
        with pytest.raises(InstallationError, match="would end the server"):
            installer.test()
        with pytest.raises(InstallationError, match="cannot be started"):
            installer.reload()
        assert server.look().fingerprint is None  # that is what Apache does
        server.key.write_bytes(key)
        installer.test()
        installer.reload()
        wait_until(lambda: server.look().fingerprint == server.before)
        result = server.renew()
        assert result.status == "verified", result.detail

    def test_another_sites_mismatched_key_stops_a_renewal_before_it_begins(self, server: ApacheSite) -> None:
        other = server.home / "other.pem"
        other.write_bytes(new_key())
        with (server.home / "site.conf").open("a") as conf:
            conf.write(
                f"""
                <VirtualHost 127.0.0.1:{server.endpoint.port}>
                    ServerName other.test
                    SSLEngine on
                    SSLCertificateFile {server.certificate}
                    SSLCertificateKeyFile {other}
                </VirtualHost>
                """
            )
        issued = server.issued()
        result = server.renew()
        assert result.status == "failed"
        assert "would end the server" in result.detail
        assert server.issued() == issued
        assert server.look().fingerprint == server.before

    def test_a_server_killed_by_the_reload_comes_back_with_the_old_certificate(
        self, server: ApacheSite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The first reload ends the server, as a mismatched key would; later ones are real.
        once, files = server.home / "once", server.files
        killing = f"[ -e {once} ] || {{ touch {once}; kill -9 $(cat {server.pid}); exit 0; }}"
        wrap(monkeypatch, server.home, "apache2", "graceful", killing)
        result = server.renew()
        assert result.status in ("verified", "rolled_back"), result.detail
        assert server.look().fingerprint == result.fingerprint_after
        if result.status == "rolled_back":
            server.still_serves_the_old_one(files)


def wait_until(ready: Callable[[], bool], seconds: float = 20.0) -> None:
    import time

    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)
