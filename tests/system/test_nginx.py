"""The executor on a real nginx."""

import os
import shutil
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from certforecast.execution import ActionResult, Executor
from certforecast.execution.installers.nginx import NginxInstallerSettings
from certforecast.execution.installers.processes import Process, running
from certforecast.execution.staging import new_key
from certforecast.history import History
from certforecast.planning.plan import Endpoint
from tests.system.site import Prober, Site, nginx_section

pytestmark = pytest.mark.system

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"


class NginxSite(Site):
    """A site that an nginx of its own serves."""

    def __init__(self, home: Path, start: Callable[[list[str], int], Any], port: int) -> None:
        super().__init__(home)
        self.endpoint = Endpoint(host="127.0.0.1", port=port, server_name=self.name)
        self.conf = home / "nginx.conf"
        self.conf.write_text(
            f"""
            {"user root;" if os.geteuid() == 0 else ""}
            daemon off; pid {home}/nginx.pid; error_log {home}/error.log; worker_processes 1;
            events {{}}
            http {{
                access_log off;
                client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;
                uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
                server {{ listen 127.0.0.1:{port} ssl; server_name {self.name};
                          location / {{ return 200 "ok"; }} location /big {{ root {home}/docs; }}
                          ssl_certificate {self.certificate}; ssl_certificate_key {self.key}; }}
            }}
            """
        )
        start([NGINX, "-p", str(home), "-c", str(self.conf), "-e", f"{home}/error.log"], port)

    def renew(self, history: History | None = None, binary: str = NGINX) -> ActionResult:
        settings = self.settings(installers={"nginx": nginx_section(self.home, binary)})
        action = self.action(installer="nginx")
        (result,) = Executor(settings, history).run(self.plan(action), execute=True)
        return result


@pytest.fixture
def site(tmp_path: Path, start: Any, free_port: Callable[[], int]) -> NginxSite:
    return NginxSite(tmp_path, start, free_port())


def test_renews_without_a_refused_handshake(site: NginxSite) -> None:
    with Prober(site.endpoint, site.roots) as prober:
        result = site.renew()
    assert result.status == "verified", result.detail
    assert site.look().fingerprint == result.fingerprint_after != site.before
    assert prober.refused == []


def test_what_nginx_refuses_is_swapped_back_before_any_reload(site: NginxSite, tmp_path: Path) -> None:
    # Stands for whatever nginx alone knows to be wrong: it refuses any certificate but the one in place.
    picky = tmp_path / "picky-nginx"
    picky.write_text(
        f"""#!/bin/sh
        case " $* " in
        *" -t "*) grep -q {site.certificate.read_text().splitlines()[3]} {site.certificate} || exit 1 ;;
        esac
        exec {NGINX} "$@"
        """
    )
    picky.chmod(0o755)
    certificate, key = site.certificate.read_bytes(), site.key.read_bytes()
    with Prober(site.endpoint, site.roots) as prober, History(None) as history:
        result = site.renew(history, str(picky))
        events = history.tables().events.to_pandas().sort_values("at", kind="stable")
    assert result.status == "rolled_back", result.detail
    assert "ended with 1" in result.detail
    assert list(events["kind"])[-2:] == ["install_failed", "rolled_back"]
    assert (site.certificate.read_bytes(), site.key.read_bytes()) == (certificate, key)
    assert site.look().fingerprint == site.before
    assert prober.refused == []
    assert set(prober.looks) == {site.before}  # it was never reloaded with the new one


def test_a_broken_configuration_or_pair_is_left_alone(site: NginxSite) -> None:
    issued = site.issued()
    good = site.conf.read_text()
    site.conf.write_text(good + "no such directive;")
    result = site.renew()
    assert result.status == "failed"
    assert "unknown directive" in result.detail
    site.conf.write_text(good)
    site.key.write_bytes(new_key())
    result = site.renew()
    assert result.status == "failed"
    assert "does not match" in result.detail
    assert site.issued() == issued
    assert site.look().fingerprint == site.before


def test_a_long_download_outlives_a_renewal(site: NginxSite) -> None:
    big = site.home / "docs" / "big"
    big.parent.mkdir()
    big.write_bytes(bytes(24 << 20))
    context = ssl.create_default_context(cafile=site.roots)
    address = site.endpoint.host, site.endpoint.port
    with (
        socket.create_connection(address, 20) as plain,
        context.wrap_socket(plain, server_hostname=site.name) as connection,
    ):
        connection.sendall(f"GET /big HTTP/1.0\r\nHost: {site.name}\r\n\r\n".encode())
        first = connection.recv(65536)
        assert b" 200 OK" in first
        result = site.renew()
        assert result.status == "verified", result.detail
        received = len(first)
        while chunk := connection.recv(1 << 20):
            received += len(chunk)
    assert received > big.stat().st_size


def test_what_it_uses_is_found(site: NginxSite, monkeypatch: pytest.MonkeyPatch) -> None:
    def ours(*names: str) -> list[Process]:
        return [p for p in running(*names) if str(site.home) in p.arguments]

    monkeypatch.setattr("certforecast.execution.installers.nginx.running", ours)
    (found,) = NginxInstallerSettings.discover()
    assert found.names == (site.name,)
    assert found.addresses == (f"127.0.0.1:{site.endpoint.port}",)
    assert found.fingerprint == site.before
    settings = site.settings(installers={"it": NginxInstallerSettings.model_validate(found.settings)})
    (result,) = Executor(settings).run(site.plan(site.action(installer="it")), execute=True)
    assert result.status == "verified", result.detail
