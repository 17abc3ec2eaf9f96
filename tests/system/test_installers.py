"""Installing on real servers, with the proof on the wire."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from certforecast.errors import InstallationError, VerificationError
from certforecast.execution.checks import leaf_fingerprint
from certforecast.execution.installers import Installer, make_installer
from certforecast.execution.installers.files import FilesInstaller, FilesInstallerSettings
from certforecast.execution.installers.nginx import NginxInstaller, NginxInstallerSettings
from certforecast.execution.verification import handshake, prove
from certforecast.planning.plan import Endpoint
from tests.system.conftest import Issue, Prober

pytestmark = pytest.mark.system

Start = Callable[[list[str], int], "subprocess.Popen[bytes]"]
StartEndpoint = Callable[..., tuple[Endpoint, "subprocess.Popen[bytes]"]]

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"


@pytest.fixture
def nginx(
    start: Start, free_port: Callable[[], int], tmp_path: Path, issue: Issue
) -> tuple[Endpoint, Installer]:
    chain_pem, key_pem = issue("site.test")
    (tmp_path / "cert.pem").write_bytes(chain_pem)
    (tmp_path / "key.pem").write_bytes(key_pem)
    port = free_port()
    (tmp_path / "nginx.conf").write_text(
        f"""
        daemon off; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log; worker_processes 1;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p; fastcgi_temp_path {tmp_path}/f;
            uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;
            server {{ listen 127.0.0.1:{port} ssl; server_name site.test; return 200 "ok";
                      ssl_certificate {tmp_path}/cert.pem; ssl_certificate_key {tmp_path}/key.pem; }}
        }}
        """
    )
    start([NGINX, "-p", str(tmp_path), "-c", f"{tmp_path}/nginx.conf", "-e", f"{tmp_path}/error.log"], port)
    section = NginxInstallerSettings(
        kind="nginx",
        certificate=f"{tmp_path}/cert.pem",
        key=f"{tmp_path}/key.pem",
        config=f"{tmp_path}/nginx.conf",
        prefix=str(tmp_path),
        binary=NGINX,
    )
    made = make_installer(section, name="site.test", host="127.0.0.1", port=port)
    assert isinstance(made, NginxInstaller)
    return Endpoint(host="127.0.0.1", port=port, server_name="site.test"), made


def files(tmp_path: Path, **more: Any) -> Installer:
    section = FilesInstallerSettings(
        kind="files",
        certificate=f"{tmp_path}/cert.pem",
        key=f"{tmp_path}/key.pem",
        pid_file=f"{tmp_path}/pid",
        **more,
    )
    made = make_installer(section, name="site.test", host="127.0.0.1", port=1)
    assert isinstance(made, FilesInstaller)
    return made


def install(installer: Installer, chain_pem: bytes, key_pem: bytes) -> str:
    installer.precheck()
    installer.swap(chain_pem, key_pem)
    installer.test()
    installer.reload()
    return leaf_fingerprint(chain_pem)


def test_nginx_serves_the_new_certificate_and_after_a_restore_the_old_one(
    nginx: tuple[Endpoint, Installer], issue: Issue, roots: Path
) -> None:
    endpoint, installer = nginx
    old = installer.current()
    assert old is not None
    new = install(installer, *issue("site.test"))
    (served,) = prove([endpoint], new, roots=roots)
    assert (served.fingerprint, served.chain_ok, served.error) == (new, True, None)
    assert installer.current() == new != old
    installer.restore(old)
    installer.reload()
    prove([endpoint], old, roots=roots)


def test_nginx_with_a_broken_configuration_is_left_alone(
    nginx: tuple[Endpoint, Installer], tmp_path: Path, roots: Path
) -> None:
    endpoint, installer = nginx
    with (tmp_path / "nginx.conf").open("a") as conf:
        conf.write("no such directive;")
    with pytest.raises(InstallationError, match=r"-T ended with 1: .*unknown directive"):
        installer.precheck()
    prove([endpoint], installer.current() or "", roots=roots)


def test_a_key_that_does_not_match_is_refused_before_anything_is_touched(
    nginx: tuple[Endpoint, Installer], issue: Issue, tmp_path: Path, roots: Path
) -> None:
    endpoint, installer = nginx
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.glob("*.pem")}
    with pytest.raises(InstallationError, match="does not match"):
        installer.swap(issue("site.test")[0], issue("site.test")[1])
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.glob("*.pem")} == before
    prove([endpoint], installer.current() or "", roots=roots)


def test_nginx_refuses_no_connection_over_ten_installations(
    nginx: tuple[Endpoint, Installer], issue: Issue, roots: Path
) -> None:
    endpoint, installer = nginx
    with Prober(endpoint, roots) as prober:
        for _ in range(10):
            prove([endpoint], install(installer, *issue("site.test")), roots=roots)
    assert prober.good > 0
    assert prober.failures == []


def test_an_endpoint_refuses_no_connection_over_twenty_installations(
    start_endpoint: StartEndpoint, issue: Issue, tmp_path: Path, roots: Path
) -> None:
    endpoint, _ = start_endpoint()
    installer = files(tmp_path)
    with Prober(endpoint, roots) as prober:
        for _ in range(20):
            prove([endpoint], install(installer, *issue("site.test")), roots=roots)
    assert prober.good > 0
    assert prober.failures == []


def test_an_endpoint_goes_on_with_the_old_certificate_if_the_files_are_bad(
    start_endpoint: StartEndpoint, tmp_path: Path, roots: Path
) -> None:
    endpoint, _ = start_endpoint()
    installer = files(tmp_path)
    old = installer.current() or ""
    (tmp_path / "key.pem").write_text("spoilt")
    installer.reload()
    prove([endpoint], old, roots=roots)


def test_a_reload_that_does_nothing_is_found_out_on_the_wire(
    start_endpoint: StartEndpoint, issue: Issue, tmp_path: Path, roots: Path
) -> None:
    endpoint, _ = start_endpoint("--ignore-hup")
    installer = files(tmp_path)
    old = installer.current() or ""
    new = install(installer, *issue("site.test"))
    with pytest.raises(VerificationError) as caught:
        prove([endpoint], new, roots=roots, timeout_s=0.5)
    assert f"127.0.0.1:{endpoint.port} (site.test) does not serve {new[:12]}" in str(caught.value)
    assert f"it serves {old[:12]}" in str(caught.value)
    installer.restore(old)
    installer.reload()
    prove([endpoint], old, roots=roots)


def test_a_process_that_is_gone_is_refused_before_anything_is_touched(
    start_endpoint: StartEndpoint, tmp_path: Path
) -> None:
    _, process = start_endpoint()
    process.terminate()
    process.wait(10)
    with pytest.raises(InstallationError, match="is gone: start the server"):
        files(tmp_path).precheck()


@pytest.mark.parametrize(
    ("name", "trusted", "reason"),
    [
        ("other.test", True, "[Hh]ostname mismatch"),
        ("site.test", False, "unable to get local issuer certificate|self.signed"),
    ],
)
def test_a_leaf_that_clients_refuse_is_fetched_all_the_same_and_is_no_proof(
    start_endpoint: StartEndpoint, tmp_path: Path, roots: Path, name: str, trusted: bool, reason: str
) -> None:
    endpoint, _ = start_endpoint()
    asked = endpoint.model_copy(update={"server_name": name})
    served = handshake(asked, roots=roots if trusted else None, timeout_s=5)
    in_place = files(tmp_path).current() or ""
    assert (served.fingerprint, served.chain_ok) == (in_place, False)
    assert served.not_after is not None
    assert served.der is not None
    with pytest.raises(VerificationError, match=reason):
        prove([asked], in_place, roots=roots if trusted else None, timeout_s=0.2)


def test_an_endpoint_without_a_server_is_no_proof(free_port: Callable[[], int], roots: Path) -> None:
    endpoint = Endpoint(host="127.0.0.1", port=free_port(), server_name="site.test")
    assert handshake(endpoint, roots=roots).error == "Connection refused"
    with pytest.raises(VerificationError, match=r"no certificate \(Connection refused\)"):
        prove([endpoint], "0" * 64, roots=roots, timeout_s=0.1)
    with pytest.raises(VerificationError, match="there is no endpoint"):
        prove([], "0" * 64, roots=roots)


def test_every_endpoint_must_give_proof(
    start_endpoint: StartEndpoint, free_port: Callable[[], int], tmp_path: Path, roots: Path
) -> None:
    endpoint, _ = start_endpoint()
    silent = endpoint.model_copy(update={"port": free_port()})
    in_place = files(tmp_path).current() or ""
    assert len(prove([endpoint, endpoint], in_place, roots=roots)) == 2
    with pytest.raises(VerificationError, match=str(silent)):
        prove([endpoint, silent], in_place, roots=roots, timeout_s=0.3)


def test_answers_that_change_are_no_proof_until_they_agree(issue: Issue, tmp_path: Path, roots: Path) -> None:
    contexts, fingerprints = [], []
    for number in range(2):
        chain_pem, key_pem = issue("site.test")
        (tmp_path / "both.pem").write_bytes(chain_pem + key_pem)
        contexts.append(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        contexts[number].load_cert_chain(tmp_path / "both.pem")
        fingerprints.append(leaf_fingerprint(chain_pem))
    order = iter([1, 0, 1, 1, 0, 1, 1, 1, 0, 0])
    asked = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            nonlocal asked
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    asked += 1
                    with contexts[next(order)].wrap_socket(connection, server_side=True) as tls:
                        tls.recv(1)

        threading.Thread(target=answer, daemon=True).start()
        endpoint = Endpoint(host="127.0.0.1", port=listener.getsockname()[1], server_name="site.test")
        prove([endpoint], fingerprints[1], roots=roots)
    assert asked == 8
