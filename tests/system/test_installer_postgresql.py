"""PostgreSQL: it says nothing of a certificate it does not take, so the wire is asked, in its protocol."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certforecast.execution.installers.postgresql import PostgresqlInstallerSettings
from certforecast.execution.verification import handshake
from tests.system.installing import Contract, FreePort, ServerSite, home
from tests.system.site import wait_for

__all__ = ["home"]

pytestmark = pytest.mark.system


def program(name: str) -> str:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return str(versions[-1] / name)


class PostgresqlSite(ServerSite):
    section = PostgresqlInstallerSettings
    starttls = "postgres"

    def __init__(self, home: Path, port: int) -> None:
        super().__init__(home)
        self.at(port)
        self.data = home / "data"
        self.user = "postgres" if os.geteuid() == 0 else None
        self.data.mkdir(mode=0o700)
        if self.user is not None:
            for path in (self.data, self.certificate, self.key, home):
                shutil.chown(path, self.user, self.user)
        options = ["-A", "trust", "--no-sync", "--no-locale", "--no-instructions", "-U", "postgres"]
        initdb = [program("initdb"), "-D", str(self.data), *options]
        subprocess.run(initdb, user=self.user, check=True, capture_output=True, timeout=120)

    def start(self) -> "subprocess.Popen[bytes]":
        settings = {
            "port": self.endpoint.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.home,
            "fsync": "off", "ssl": "on", "ssl_cert_file": self.certificate, "ssl_key_file": self.key,
        }  # fmt: skip
        options = [f"--{name}={value}" for name, value in settings.items()]
        command = [program("postgres"), "-D", str(self.data), *options]
        log = (self.home / "log").open("wb")
        process = subprocess.Popen(command, user=self.user, stderr=log)
        wait_for(lambda: self.look().fingerprint is not None, process, 60)
        return process

    @contextlib.contextmanager
    def served(self) -> Iterator["PostgresqlSite"]:
        process = self.start()
        try:
            yield self
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(20)

    def more(self) -> dict[str, Any]:
        return {"data": str(self.data)}


@pytest.fixture
def server(home: Path, free_port: FreePort) -> Iterator[PostgresqlSite]:
    with PostgresqlSite(home, free_port()).served() as site:
        yield site


class TestPostgresql(Contract):
    def test_a_query_that_runs_outlives_a_renewal(self, server: PostgresqlSite) -> None:
        place = f"host=127.0.0.1 port={server.endpoint.port} user=postgres dbname=postgres sslmode=require"
        asked = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid(); SELECT pg_sleep(8); SELECT 42"
        session = subprocess.Popen(
            [program("psql"), place, "-XAtc", asked], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        result = server.renew()
        assert result.status == "verified", result.detail
        assert session.poll() is None  # it was under way
        told = session.communicate(timeout=60)[0]
        assert told.split() == [b"t", b"42"]

    def test_a_plain_handshake_would_be_no_proof(self, server: PostgresqlSite) -> None:
        assert handshake(server.endpoint, roots=server.roots).fingerprint is None
        result = server.renew(starttls="tls")
        assert result.status == "failed"
        assert "serves no certificate" in result.detail

    @pytest.mark.parametrize("mode", [0o644, 0o660])
    def test_a_key_that_it_would_not_read_is_refused_before(self, server: PostgresqlSite, mode: int) -> None:
        server.key.chmod(mode)
        result = server.renew()
        assert result.status == "failed"
        assert f"has mode {mode:04o}" in result.detail
        assert server.look().fingerprint == server.before

    def test_owner_and_mode_are_kept(self, server: PostgresqlSite) -> None:
        result = server.renew()
        assert result.status == "verified", result.detail
        held = server.key.stat()
        assert held.st_mode & 0o777 == 0o600
        assert held.st_uid == (pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else os.geteuid())

    def test_a_key_of_somebody_else_is_refused(self, server: PostgresqlSite) -> None:
        if os.geteuid() == 0:
            shutil.chown(server.key, "nobody")
            result = server.renew()
            assert result.status == "failed"
            assert "belongs to user" in result.detail
