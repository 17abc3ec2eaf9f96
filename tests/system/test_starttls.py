"""STARTTLS spoken with the real servers: PostgreSQL, MariaDB, OpenLDAP, Dovecot, Postfix.

Each runs on ports of its own with a configuration and a certificate made here. Where a server refuses to run
as root, or insists on it, it is given another user.
"""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from certforecast.history.sources.scan import scan
from certforecast.history.x509 import fingerprint
from tests.system.dovecot import dovecot_conf

pytestmark = pytest.mark.system

FreePort = Callable[[], int]
NAME = "server.test"


class Place:
    """A folder that any user may enter, with a certificate, its key and the authority."""

    def __init__(self, path: Path, ca: trustme.CA) -> None:
        self.path = path
        leaf = ca.issue_cert(NAME)
        (path / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        (path / "key.pem").write_bytes(leaf.private_key_pem.bytes())
        (path / "key.pem").chmod(0o600)
        ca.cert_pem.write_to_path(path / "ca.pem")
        self.leaf = fingerprint(_der(leaf.cert_chain_pems[0].bytes()))

    def write(self, name: str, text: str) -> Path:
        (self.path / name).write_text(text)
        return self.path / name

    def folder(self, name: str) -> Path:
        (self.path / name).mkdir(mode=0o755)
        return self.path / name


def _der(pem: bytes) -> bytes:
    from ssl import PEM_cert_to_DER_cert

    return PEM_cert_to_DER_cert(pem.decode())


@pytest.fixture
def place() -> Iterator[Place]:
    path = Path(tempfile.mkdtemp(prefix="starttls-"))
    path.chmod(0o755)
    try:
        yield Place(path, trustme.CA())
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def run() -> Iterator[Callable[..., None]]:
    """Start a server and wait until it listens; all are ended by their process ids, their children too."""
    with contextlib.ExitStack() as stack:

        def start(command: list[str | Path], *ports: int, user: str | None = None) -> None:
            process = subprocess.Popen(command, user=user, start_new_session=True)
            stack.callback(_end, process)
            deadline = time.monotonic() + 30
            for port in ports:
                while not _listens(port):
                    assert process.poll() is None, f"{command[0]} did not start"
                    assert time.monotonic() < deadline, f"{command[0]} does not listen"
                    time.sleep(0.05)

        yield start


def _end(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 15)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait(10)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _binary(name: str, *places: str) -> Path:
    """Find a server's program; Debian keeps some out of the path of users."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *places]))
    assert found, f"{name} is not installed; tests/system/packages.sh installs it"
    return Path(found).resolve()


def _unprivileged(name: str, folder: Path) -> str | None:
    """Give the user to run as, and the folder with all within to that user; None if we are nobody special."""
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam(name)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid)
    return name


def shows_its_leaf(place: Place, *endpoints: str) -> None:
    found = scan(
        [f"{endpoint}={NAME}" for endpoint in endpoints], ca_file=place.path / "ca.pem", timeout_s=20
    )
    for row in found.observations:
        assert (row["error"], row["fingerprint"], row["chain_status"]) == (None, place.leaf, "valid"), row


def offers_none(*endpoints: str) -> None:
    found = scan([f"{endpoint}={NAME}" for endpoint in endpoints], timeout_s=20)
    assert [(row["error"], row["fingerprint"]) for row in found.observations] == [("not_tls", None)] * len(
        endpoints
    )


@pytest.mark.parametrize("tls", [True, False])
def test_postgresql(place: Place, run: Callable[..., None], free_port: FreePort, tls: bool) -> None:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    initdb, postgres = (_binary(name, *map(str, programs[-1:])) for name in ("initdb", "postgres"))
    data, port = place.folder("data"), free_port()
    user = _unprivileged("postgres", place.path)
    options = ["-A", "trust", "--no-sync", "--no-locale", "--no-instructions"]
    subprocess.run([initdb, "-D", data, *options], user=user, check=True, capture_output=True, timeout=60)
    settings = {
        "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": place.path, "fsync": "off",
        "ssl": "on" if tls else "off",
        "ssl_cert_file": place.path / "cert.pem", "ssl_key_file": place.path / "key.pem",
    }  # fmt: skip
    run([postgres, "-D", data, *(f"--{name}={value}" for name, value in settings.items())], port, user=user)
    if tls:
        shows_its_leaf(place, f"postgres://127.0.0.1:{port}")
    else:
        offers_none(f"postgres://127.0.0.1:{port}")


@pytest.mark.parametrize("tls", [True, False])
def test_mariadb(place: Place, run: Callable[..., None], free_port: FreePort, tls: bool) -> None:
    data, port = place.folder("data"), free_port()
    user = _unprivileged("mysql", place.path)
    conf = place.write(
        "my.cnf",
        f"""[mariadbd]
        datadir={data}
        socket={place.path}/socket
        pid-file={place.path}/pid
        bind-address=127.0.0.1
        port={port}
        skip-grant-tables
        skip-networking=0
        innodb-flush-log-at-trx-commit=0
        innodb-log-file-size=4M
        """
        + (f"ssl-cert={place.path}/cert.pem\nssl-key={place.path}/key.pem\n" if tls else ""),
    )
    run([_binary("mariadbd"), f"--defaults-file={conf}"], port, user=user)
    if tls:
        shows_its_leaf(place, f"mysql://127.0.0.1:{port}")
    else:
        offers_none(f"mysql://127.0.0.1:{port}")


@pytest.mark.parametrize("tls", [True, False])
def test_openldap(place: Place, run: Callable[..., None], free_port: FreePort, tls: bool) -> None:
    port = free_port()
    conf = place.write(
        "slapd.conf",
        f"pidfile {place.path}/pid\n"
        + (f"TLSCertificateFile {place.path}/cert.pem\nTLSCertificateKeyFile {place.path}/key.pem\n" * tls)
        + "database config\n",
    )
    run([_binary("slapd"), "-f", conf, "-h", f"ldap://127.0.0.1:{port}", "-d", "0"], port)
    if tls:
        shows_its_leaf(place, f"ldap://127.0.0.1:{port}")
    else:
        offers_none(f"ldap://127.0.0.1:{port}")


@pytest.mark.parametrize("tls", [True, False])
def test_dovecot(place: Place, run: Callable[..., None], free_port: FreePort, tls: bool) -> None:
    imap, pop3 = free_port(), free_port()
    place.folder("run")
    certificate, key = place.path / "cert.pem", place.path / "key.pem"
    conf = place.write(
        "dovecot.conf", dovecot_conf(place.path, certificate, key, tls=tls, imap=imap, pop3=pop3)
    )
    run([_binary("dovecot"), "-F", "-c", conf], imap, pop3)
    endpoints = f"imap://127.0.0.1:{imap}", f"pop3://127.0.0.1:{pop3}"
    if tls:
        shows_its_leaf(place, *endpoints)
    else:
        offers_none(*endpoints)


@pytest.mark.parametrize("tls", [True, False])
def test_postfix(place: Place, run: Callable[..., None], free_port: FreePort, tls: bool) -> None:
    port = free_port()
    conf, queue, data = place.folder("conf"), place.folder("queue"), place.folder("data")
    for name in ("pid", "private", "public", "active", "incoming", "maildrop", "deferred", "defer", "bounce",
                 "hold", "corrupt", "flush", "saved", "trace"):  # fmt: skip
        (queue / name).mkdir()
        shutil.chown(queue / name, "root" if name == "pid" else "postfix")
    shutil.chown(data, "postfix")
    place.write(
        "conf/main.cf",
        f"""
compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
maillog_file = {place.path}/log
maillog_file_prefixes = {place.path}
myhostname = {NAME}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
smtpd_tls_security_level = {"may" if tls else "none"}
smtpd_tls_cert_file = {place.path}/cert.pem
smtpd_tls_key_file = {place.path}/key.pem
""",
    )
    place.write(
        "conf/master.cf",
        f"127.0.0.1:{port} inet n - n - - smtpd\n"
        "tlsmgr unix - - n 1000? 1 tlsmgr\n"
        "anvil unix - - n - 1 anvil\n"
        "rewrite unix - - n - - trivial-rewrite\n"
        "proxymap unix - - n - - proxymap\n"
        "postlog unix-dgram n - n - 1 postlogd\n",
    )
    run([_binary("master", "/usr/lib/postfix/sbin"), "-c", conf, "-d"], port)
    if tls:
        shows_its_leaf(place, f"smtp://127.0.0.1:{port}")
    else:
        offers_none(f"smtp://127.0.0.1:{port}")
