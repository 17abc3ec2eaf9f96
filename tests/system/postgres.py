"""A PostgreSQL server on a free port of loopback, that a test may restart."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.system.site import wait_for

__all__ = ["Postgres", "postgres"]


class Postgres:
    """A running server, its database ``certforecast``, and how to stop and start it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user = "postgres" if os.geteuid() == 0 else None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/certforecast"
        self._process: subprocess.Popen[bytes] | None = None
        options = [
            "-A",
            "trust",
            "--no-sync",
            "--no-locale",
            "-E",
            "UTF8",
            "--no-instructions",
            "-U",
            "postgres",
        ]
        self._run("initdb", "-D", str(folder / "data"), *options)

    def start(self) -> None:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "fsync": "off",
            "max_connections": 200,
        }
        settings["unix_socket_directories"] = str(self.folder)
        options = [f"--{name}={value}" for name, value in settings.items()]
        command = [_program("postgres"), "-D", str(self.folder / "data"), *options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, user=self.user, stderr=log, cwd=self.folder)
        wait_for(self._answers, self._process, 60)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT cuts every connection, SIGQUIT is as a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def make_database(self) -> None:
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "certforecast")

    def _answers(self) -> bool:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False
        ready = [_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False, timeout=20).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        command = [_program(program), *arguments]
        subprocess.run(command, user=self.user, check=True, capture_output=True, timeout=120, cwd=self.folder)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server for the time of the block; its user may not enter a test's own folder."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        server = Postgres(folder)
        try:
            server.start()
            server.make_database()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    assert versions, "postgresql is not installed: run tests/system/packages.sh"
    return str(versions[-1] / name)
