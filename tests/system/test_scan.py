"""A scan of real TLS servers on loopback, and of everything that is none."""

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from certforecast.clock import system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history import History
from certforecast.history.sources.handshake import error_kind
from certforecast.history.sources.scan import ScanSource, scan
from certforecast.history.x509 import fingerprint
from tests.certificates import certificate, key_pem, pem
from tests.history.sources.reading import read, with_certificates

pytestmark = pytest.mark.system

Handler = Callable[[socket.socket], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], int]]:
    """Run TCP servers, a thread a connection; all are closed at the end."""
    with contextlib.ExitStack() as stack:

        def start(handler: Handler) -> int:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=200))
            threading.Thread(target=accept, args=(listener, handler), daemon=True).start()
            return int(listener.getsockname()[1])

        yield start


def accept(listener: socket.socket, handler: Handler) -> None:
    def handle(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(20)
            handler(connection)

    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=handle, args=(connection,), daemon=True).start()


def tls(context: ssl.SSLContext) -> Handler:
    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            wrapped.recv(1)

    return handle


def context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return path


def issued(ca: trustme.CA, *names: str, not_after: datetime | None = None) -> ssl.SSLContext:
    server = context()
    ca.issue_cert(*names, not_after=not_after).configure_cert(server)
    return server


def self_signed(tmp_path: Path, *names: str, days: float = 90) -> ssl.SSLContext:
    file = tmp_path / f"{names[0]}-{days}.pem"
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=30)
    file.write_bytes(pem(certificate(*names, start=start, days=days, issuer=None)) + key_pem())
    server = context()
    server.load_cert_chain(file)
    return server


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def reset(connection: socket.socket) -> None:
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


def silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def slow_loris(connection: socket.socket) -> None:
    """Begin a handshake record, then send a byte now and then; hang up long after we have lost patience."""
    connection.recv(1)
    connection.sendall(bytes.fromhex("1603034000"))
    for _ in range(60):
        time.sleep(0.1)
        connection.sendall(b"\2")


def plain_http(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    connection.recv(4096)


def alert(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(bytes.fromhex("15 0303 0002 02 50".replace(" ", "")))  # fatal, internal error
    connection.recv(4096)


def test_endpoints_are_told_apart(
    serve: Callable[[Handler], int], ca: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    expired = datetime.now(UTC) - timedelta(days=1)
    past = issued(ca, "127.0.0.1", not_after=expired)
    private = trustme.CA()
    endpoints = {
        serve(tls(issued(ca, "127.0.0.1"))): ("valid", None),
        serve(tls(past)): ("expired", None),
        serve(tls(issued(ca, "other.example"))): ("wrong_name", None),
        serve(tls(issued(private, "127.0.0.1"))): ("untrusted", None),
        serve(tls(self_signed(tmp_path, "127.0.0.1"))): ("self_signed", None),
        serve(tls(self_signed(tmp_path, "127.0.0.1", days=3))): ("expired", None),
        serve(silent): (None, "timeout"),
        serve(slow_loris): (None, "timeout"),
        serve(reset): (None, "reset"),
        serve(lambda connection: None): (None, "reset"),
        serve(plain_http): (None, "not_tls"),
        serve(alert): (None, "tls_alert"),
        free_port(): (None, "refused"),
    }
    texts = [f"127.0.0.1:{port}" for port in endpoints]
    source = ScanSource([*texts, "nowhere.invalid"], timeout_s=2, ca_file=ca_file)
    found = read(source)
    seen = {row["port"]: (row["chain_status"], row["error"]) for row in found.observations}
    assert seen == endpoints | {443: (None, "dns")}
    served = {row["fingerprint"] for row in found.observations} - {None}
    assert served == {row["fingerprint"] for row in with_certificates(found, "scan").certificates}
    assert len(served) == 6
    for row in found.observations:
        assert (row["fingerprint"] is None) == (row["error"] is not None)
        assert row["latency_ms"] >= 0
        assert row["source"] == "scan"
        assert row["observed_at"] == row["known_at"] <= system_clock()
    with History(None) as history:
        history.append(found, source="scan")
        counts = history.counts()
    assert (counts["observations"], counts["certificates"], counts["quarantine"]) == (14, 6, 0)


def test_the_leaf_is_the_one_that_is_served(
    serve: Callable[[Handler], int], ca: trustme.CA, ca_file: Path
) -> None:
    server = context()
    leaf = ca.issue_cert("127.0.0.1", "a.example")
    leaf.configure_cert(server)
    port = serve(tls(server))
    expected = fingerprint(ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode()))
    moment = datetime(2026, 6, 1, tzinfo=UTC)
    found = scan([f"127.0.0.1:{port}"], ca_file=ca_file, clock=lambda: moment)
    assert [row["fingerprint"] for row in found.observations] == [expected]
    assert [
        (row["fingerprint"], row["known_at"]) for row in with_certificates(found, "scan").certificates
    ] == [(expected, moment)]
    assert with_certificates(found, "scan").certificates[0]["names"] == ["127.0.0.1", "a.example"]


def test_the_server_name_is_asked_for_and_verified(
    serve: Callable[[Handler], int], ca: trustme.CA, ca_file: Path
) -> None:
    asked: list[str | None] = []
    server = issued(ca, "a.example")
    server.sni_callback = lambda wrapped, name, inner: asked.append(name)  # type: ignore[assignment]
    port = serve(tls(server))
    found = scan([f"localhost:{port}=a.example"], ca_file=ca_file)
    (row,) = found.observations
    assert (row["host"], row["server_name"], row["chain_status"]) == ("localhost", "a.example", "valid")
    assert asked == ["a.example"]


def test_tls_that_is_too_old_still_shows_its_leaf(
    serve: Callable[[Handler], int], ca: trustme.CA, ca_file: Path
) -> None:
    server = issued(ca, "127.0.0.1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        server.minimum_version = server.maximum_version = ssl.TLSVersion.TLSv1
    server.set_ciphers("ALL:@SECLEVEL=0")
    found = scan([f"127.0.0.1:{serve(tls(server))}"], ca_file=ca_file)
    (row,) = found.observations
    assert row["fingerprint"] is not None
    assert row["chain_status"] is None
    assert row["error"] in ("tls_alert", "handshake")


def test_no_endpoint_holds_up_the_rest(
    serve: Callable[[Handler], int], ca: trustme.CA, ca_file: Path
) -> None:
    dead, good = serve(silent), serve(tls(issued(ca, "127.0.0.1")))
    finished: list[int] = []
    texts = [f"127.0.0.1:{dead}"] + [f"127.0.0.1:{good}=n{n}.example" for n in range(40)]
    found = scan(texts, concurrency=4, timeout_s=3, ca_file=ca_file, progress=finished.append)
    assert finished == list(range(1, 42))
    assert [row["error"] for row in found.observations] == ["timeout"] + [None] * 40
    # The dead one, asked first, is the last to be settled.
    assert max(found.observations, key=lambda row: row["observed_at"])["port"] == dead


def test_concurrency_is_bounded(serve: Callable[[Handler], int]) -> None:
    lock, now, most = threading.Lock(), 0, 0

    def handle(connection: socket.socket) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        connection.recv(4096)
        time.sleep(0.05)
        with lock:
            now -= 1

    port = serve(handle)
    scan([f"127.0.0.1:{port}=n{n}.example" for n in range(30)], concurrency=3)
    assert 1 <= most <= 3


def test_a_list_may_have_comments_and_bad_lines(
    serve: Callable[[Handler], int], ca: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    port = serve(tls(issued(ca, "localhost")))
    path = tmp_path / "fleet.txt"
    path.write_text(
        f"# our fleet\n\nlocalhost:{port}  # the first\nlocalhost:port\nLOCALHOST:{port}\ntwo words\n"
    )
    found = read(ScanSource(path, ca_file=ca_file))
    assert [row["chain_status"] for row in found.observations] == ["valid"]
    assert [(rejected.position, rejected.content) for rejected in found.rejected] == [
        ("fleet.txt#4", "localhost:port"),
        ("fleet.txt#6", "two words"),
    ]


def test_a_scan_works_where_a_loop_is_running(
    serve: Callable[[Handler], int], ca: trustme.CA, ca_file: Path
) -> None:
    port = serve(tls(issued(ca, "localhost")))

    async def notebook() -> list[str]:
        return [
            row["chain_status"]
            for row in read(ScanSource([f"localhost:{port}"], ca_file=ca_file)).observations
        ]

    assert asyncio.run(notebook()) == ["valid"]


def test_ipv6_is_scanned(ca: trustme.CA, ca_file: Path) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        threading.Thread(target=accept, args=(listener, tls(issued(ca, "::1"))), daemon=True).start()
        found = scan([f"[::1]:{listener.getsockname()[1]}"], ca_file=ca_file)
    assert [(row["host"], row["chain_status"]) for row in found.observations] == [("::1", "valid")]


def test_connections_are_closed_when_their_look_is_over(
    serve: Callable[[Handler], int], ca: trustme.CA
) -> None:
    closed = threading.Semaphore(0)

    def watched(handler: Handler) -> Handler:
        def handle(connection: socket.socket) -> None:
            with contextlib.suppress(OSError):
                handler(connection)
            with contextlib.suppress(ConnectionError):
                silent(connection)
            closed.release()

        return handle

    def shake_hands(connection: socket.socket) -> None:
        server = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls_side = issued(ca, "x.example").wrap_bio(*server, server_side=True)
        while True:
            try:
                tls_side.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(server[1].read())
                server[0].write(connection.recv(4096))

    handlers = (silent, plain_http, shake_hands)
    texts = [f"127.0.0.1:{serve(watched(handler))}" for handler in handlers]

    scan(texts, timeout_s=0.5)
    # Seen from the servers: nobody else has closed them.
    assert [closed.acquire(timeout=20) for _ in texts] == [True] * len(texts)


def test_nginx_is_scanned(ca: trustme.CA, ca_file: Path, tmp_path: Path) -> None:
    leaf = ca.issue_cert("a.example")
    leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / "a.pem")
    port, plain = free_port(), free_port()
    conf = tmp_path / "nginx.conf"
    conf.write_text(
        f"""
        daemon off; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p; fastcgi_temp_path {tmp_path}/f;
            uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;
            server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {tmp_path}/a.pem;
                      ssl_certificate_key {tmp_path}/a.pem; }}
            server {{ listen 127.0.0.1:{plain}; }}
        }}
        """
    )
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    server = subprocess.Popen([binary, "-p", tmp_path, "-c", conf, "-e", tmp_path / "error.log"])
    try:
        wait_for(port, server)
        found = scan([f"127.0.0.1:{port}=a.example", f"127.0.0.1:{plain}"], ca_file=ca_file)
    finally:
        server.terminate()
        server.wait(20)
    assert [(row["chain_status"], row["error"]) for row in found.observations] == [
        ("valid", None),
        (None, "not_tls"),
    ]


def wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        assert server.poll() is None, "nginx did not start"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    pytest.fail("nginx does not answer")


def test_unreachable_networks_are_named() -> None:
    assert error_kind(OSError(113, "No route to host")) == "unreachable"
    assert error_kind(OSError(101, "Network is unreachable")) == "unreachable"
    assert error_kind(ValueError("surprise")) == "other"


def test_a_list_without_endpoints_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(SourceError, match="lists no endpoint"):
        read(ScanSource(tmp_path / "empty.txt"))
    with pytest.raises(SourceError, match="cannot be read"):
        read(ScanSource(tmp_path / "missing.txt"))
    with pytest.raises(SourceError, match="lists no endpoint"):
        read(ScanSource([]))


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("garbage")
    for settings in ({"concurrency": 0}, {"timeout_s": 0}, {"ca_file": tmp_path / "ca.pem"}):
        with pytest.raises(InputError):
            read(ScanSource(["localhost:1"], **settings))
