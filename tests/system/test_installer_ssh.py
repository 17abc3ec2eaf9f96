"""Files on another host: a real OpenSSH server, with a host key and a configuration of its own."""

import asyncio
import contextlib
import getpass
import logging
import os
import shutil
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from certforecast.errors import InstallationError
from certforecast.execution import Executor
from certforecast.execution.checks import check_pair, leaf_fingerprint
from certforecast.execution.installers import make_installer
from certforecast.execution.installers.ssh import SshInstaller, SshInstallerSettings
from certforecast.execution.installers.versions import KEPT
from certforecast.execution.staging import new_key
from tests.system.site import Prober, Site

pytestmark = pytest.mark.system

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
USER = getpass.getuser()


class Host:
    """A host that is reached by SSH, with a pair in place below `folder`."""

    def __init__(self, folder: Path, start: Callable[[list[str], int], Any], port: int, issue: Any) -> None:
        self.folder, self.port, self.issue = folder, port, issue
        for name in ("host_key", "client_key", "stranger_key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}"]
            subprocess.run(command, check=True, timeout=30)
        (folder / "authorized_keys").write_bytes((folder / "client_key.pub").read_bytes())
        self.known_hosts = folder / "known_hosts"
        self.trust("host_key")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd keeps its unprivileged half
        (folder / "sshd_config").write_text(
            f"""
            ListenAddress 127.0.0.1
            Port {port}
            HostKey {folder}/host_key
            PidFile none
            AuthorizedKeysFile {folder}/authorized_keys
            StrictModes no
            UsePAM no
            PermitRootLogin yes
            PasswordAuthentication no
            KbdInteractiveAuthentication no
            Subsystem sftp internal-sftp
            """
        )
        start([SSHD, "-D", "-f", f"{folder}/sshd_config", "-E", f"{folder}/sshd.log"], port)
        self.tls = folder / "tls"
        self.tls.mkdir()
        self.certificate, self.key = self.tls / "cert.pem", self.tls / "key.pem"
        self.old = issue("site.test")
        for path, content in zip((self.certificate, self.key), self.old, strict=True):
            path.write_bytes(content)
        self.key.chmod(0o640)

    def trust(self, name: str) -> None:
        key = (self.folder / f"{name}.pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {key}")

    def section(self, **options: Any) -> SshInstallerSettings:
        given = {
            "kind": "ssh",
            "port": self.port,
            "user": USER,
            "client_key": self.folder / "client_key",
            "known_hosts": self.known_hosts,
            "certificate": f"{self.tls}/cert.pem",
            "key": f"{self.tls}/key.pem",
            "timeout_s": 20.0,
        }
        return SshInstallerSettings(**{**given, **options})

    def installer(self, **options: Any) -> SshInstaller:
        made = make_installer(self.section(**options), name="site", host="127.0.0.1", port=443)
        assert isinstance(made, SshInstaller)
        return made

    def in_place(self) -> str:
        """Give what is in place, which is a pair at any time."""
        link = self.tls / ".certforecast" / "site" / "current"
        while True:
            # A request that was under way when a connection was cut may be done between the two readings.
            before = link.readlink() if link.is_symlink() else None
            chain, key = self.certificate.read_bytes(), self.key.read_bytes()
            if before == (link.readlink() if link.is_symlink() else None):
                check_pair(chain, key)
                return leaf_fingerprint(chain)


@pytest.fixture
def host(tmp_path: Path, start: Any, free_port: Callable[[], int], issue: Any) -> Host:
    return Host(tmp_path, start, free_port(), issue)


def test_a_pair_is_switched_and_switched_back(host: Host) -> None:
    if os.geteuid() == 0:
        os.chown(host.key, 1234, 4321)
    installer, new = host.installer(), host.issue("site.test")
    installer.precheck()
    before = installer.current()
    assert before == leaf_fingerprint(host.old[0]) == host.in_place()
    installer.swap(*new)
    installer.swap(*new)
    assert (host.certificate.read_bytes(), host.key.read_bytes()) == new
    assert installer.current() == leaf_fingerprint(new[0]) == host.in_place()
    mode = host.key.stat()
    assert stat.S_IMODE(mode.st_mode) == 0o640
    if os.geteuid() == 0:
        assert (mode.st_uid, mode.st_gid) == (1234, 4321)
    assert not host.key.readlink().is_absolute(), "all may be mounted elsewhere"
    installer.restore(before)
    installer.restore(before)
    assert (host.certificate.read_bytes(), host.key.read_bytes()) == host.old
    with pytest.raises(InstallationError, match="is not kept"):
        installer.restore("0" * 64)
    litter = [path for path in host.tls.rglob("*") if path.name.endswith(".certforecast") and path.is_file()]
    assert litter == []


def test_combined_files_and_old_versions(host: Host) -> None:
    host.certificate.write_bytes(host.old[1] + host.old[0])
    installer = host.installer(key=str(host.certificate))
    root = host.tls / ".certforecast" / "site"
    for round_ in range(KEPT + 3):
        new = host.issue("site.test")
        installer.swap(*new)
        # As if hours lay between the renewals.
        then = time.time() - 3600 * (KEPT + 4 - round_)
        os.utime(root / leaf_fingerprint(new[0]), (then, then))
    content = host.certificate.read_bytes()
    check_pair(content, content)
    assert leaf_fingerprint(content) == leaf_fingerprint(new[0])
    versions = [p for p in root.iterdir() if p.is_dir() and not p.is_symlink()]
    assert len(versions) == KEPT + 1


def test_the_executor_renews_over_ssh_and_no_handshake_is_refused(host: Host, tmp_path: Path) -> None:
    with Site(tmp_path / "site").served() as site, Prober(site.endpoint, site.roots) as prober:
        # The server is on this machine, which is not what counts: its files come by SSH.
        reload = ["sh", "-c", f"kill -HUP $(cat {site.pid_file})"]
        section = host.section(
            certificate=str(site.certificate), key=str(site.key), test=["true"], reload=reload
        )
        settings = site.settings(installers={"ssh": section})
        (dry,) = Executor(settings).run(site.plan(site.action(installer="ssh")))
        assert dry.status == "dry", dry.detail
        assert f"switch {site.certificate} at {USER}@127.0.0.1" in dry.detail
        (result,) = Executor(settings).run(site.plan(site.action(installer="ssh")), execute=True)
        assert result.status == "verified", result.detail
        assert site.look().fingerprint == result.fingerprint_after != site.before
        # A test of the configuration that refuses what is new: it is put back, and never loaded.
        now = result.fingerprint_after
        picky = host.section(
            certificate=str(site.certificate),
            key=str(site.key),
            test=["cmp", str(site.certificate), f"{tmp_path}/good"],
            reload=reload,
        )
        (tmp_path / "good").write_bytes(site.certificate.read_bytes())
        settings = site.settings(installers={"ssh": picky})
        action = site.action(installer="ssh", id="second", fingerprint=now, lineage=now)
        (result,) = Executor(settings).run(site.plan(action), execute=True)
        assert result.status == "rolled_back", result.detail
        assert "ended with 1" in result.detail
        assert site.look().fingerprint == now
    assert prober.refused == []


class Scissors:
    """A proxy before the host that cuts a connection after so many bytes of the client's."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.limit: int | None = None
        self.seen = 0
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def _run(self, ready: threading.Event) -> None:
        async def begin() -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = int(server.sockets[0].getsockname()[1])
            ready.set()

        self._loop.run_until_complete(begin())
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen = 0
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)

        async def up() -> None:
            while data := await reader.read(1 << 16):
                if self.limit is not None and self.seen + len(data) > self.limit:
                    far_writer.write(data[: self.limit - self.seen])
                    with contextlib.suppress(OSError):
                        await far_writer.drain()
                    writer.transport.abort()
                    far_writer.transport.abort()
                    return
                self.seen += len(data)
                far_writer.write(data)

        async def down() -> None:
            while data := await far_reader.read(1 << 16):
                writer.write(data)
            writer.close()

        with contextlib.suppress(OSError):
            await asyncio.gather(up(), down())
        for each in (writer, far_writer):
            each.transport.abort()

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


@pytest.fixture
def scissors(host: Host) -> Iterator[Scissors]:
    made = Scissors(host.port)
    yield made
    made.end()


@pytest.mark.parametrize("adopted", [False, True])
def test_a_connection_cut_anywhere_leaves_old_or_new_and_the_next_one_ends_it(
    host: Host, scissors: Scissors, adopted: bool
) -> None:
    key = (host.folder / "host_key.pub").read_text()
    host.known_hosts.write_text(f"[127.0.0.1]:{host.port} {key}[127.0.0.1]:{scissors.port} {key}")
    through, direct = host.installer(port=scissors.port), host.installer()
    old = leaf_fingerprint(host.old[0])

    def reset() -> None:
        if adopted:
            direct.swap(*host.old)
            return
        shutil.rmtree(host.tls / ".certforecast", ignore_errors=True)
        for path, content in zip((host.certificate, host.key), host.old, strict=True):
            path.unlink()
            path.write_bytes(content)

    for _ in range(1 + adopted):
        through.swap(*host.issue("site.test"))
    whole, outcomes = scissors.seen, set()
    for step in range(24):
        reset()
        new = host.issue("site.test")
        scissors.limit = int(whole * (step + 1) / 25)
        cut = None
        try:
            through.swap(*new)
        except InstallationError as error:
            cut = error.code
        left = host.in_place()
        assert left in (old, leaf_fingerprint(new[0]))
        # A cut after all was done, while the session was closed, takes nothing back.
        assert cut == "unreachable" or left != old
        outcomes.add((cut, left == old))
        scissors.limit = None
        direct.swap(*new)
        assert host.in_place() == leaf_fingerprint(new[0])
        assert not list(host.tls.rglob(".*.certforecast")), "no half-written file is left"
        direct.restore(old)
        assert host.in_place() == old
    assert ("unreachable", True) in outcomes


def test_a_host_that_is_not_known_gets_nothing(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.trust("stranger_key")
    for act in (
        lambda: host.installer().swap(*host.issue("site.test")),
        lambda: host.installer().current(),
        lambda: host.installer().precheck(),
    ):
        with pytest.raises(InstallationError, match="nothing was sent") as caught:
            act()
        assert caught.value.code == "config"
    host.known_hosts.write_text("")
    with pytest.raises(InstallationError, match="nothing was sent"):
        host.installer().current()
    with pytest.raises(InstallationError, match="ssh-keyscan"):
        host.installer(known_hosts=host.folder / "none").current()
    assert host.in_place() == leaf_fingerprint(host.old[0])


def test_who_may_not_log_in_is_told_so(host: Host) -> None:
    with pytest.raises(InstallationError, match="authorized_keys") as caught:
        host.installer(client_key=host.folder / "stranger_key").current()
    assert caught.value.code == "permission"
    (host.folder / "client_key").chmod(0o644)
    with pytest.raises(InstallationError, match="open to other users"):
        host.installer().current()
    (host.folder / "client_key").write_text("rubbish")
    (host.folder / "client_key").chmod(0o600)
    with pytest.raises(InstallationError, match="no private key"):
        host.installer().current()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes the connection and says nothing
        with pytest.raises(InstallationError, match="not done after 1 s") as caught:
            host.installer(
                port=silent.getsockname()[1], client_key=host.folder / "stranger_key", timeout_s=1.0
            ).current()
        assert caught.value.code == "unreachable"


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        ({"test": ["false"]}, "false ended with 1", "config"),
        ({"test": ["sh", "-c", "echo bad line 7; exit 3"]}, "ended with 3: bad line 7", "config"),
        ({"reload": ["no-such-program-anywhere"]}, "no-such-program-anywhere", "reload"),
        ({"certificate": "/nowhere/cert.pem"}, "does not exist", "config"),
    ],
)
def test_what_cannot_end_well_is_refused_before_anything_is_touched(
    host: Host, options: dict[str, Any], words: str, code: str
) -> None:
    before = sorted(host.tls.rglob("*"))
    with pytest.raises(InstallationError, match=words) as caught:
        host.installer(**options).precheck()
    assert caught.value.code == code
    assert sorted(host.tls.rglob("*")) == before


def test_a_broken_pair_and_certbots_links_are_left_alone(host: Host) -> None:
    good = host.key.read_bytes()
    host.key.write_bytes(new_key())
    for act in (host.installer().precheck, lambda: host.installer().swap(*host.issue("site.test"))):
        with pytest.raises(InstallationError, match="broken already"):
            act()
    host.key.write_bytes(good)
    chain, _ = host.issue("site.test")
    with pytest.raises(InstallationError, match="does not match"):
        host.installer().swap(chain, new_key())
    assert not (host.tls / ".certforecast").exists()
    archive, live = host.folder / "archive" / "a", host.folder / "live" / "a"
    for folder in (archive, live):
        folder.mkdir(parents=True)
    for path in (host.certificate, host.key):
        (archive / path.name).write_bytes(path.read_bytes())
        (live / path.name).symlink_to(archive / path.name)
    with pytest.raises(InstallationError, match="certbot's own link"):
        host.installer(certificate=f"{live}/cert.pem", key=f"{live}/key.pem").check_files()


def test_no_key_is_told_whatever_the_log_level(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    chain, key = host.issue("site.test")
    host.installer(test=["true"], reload=["true"]).swap(chain, key)
    host.installer(test=["cat", str(host.key)]).test()
    with pytest.raises(InstallationError) as caught:
        host.installer(reload=["sh", "-c", f"cat {host.key}; exit 1"]).reload()
    told = caplog.text + str(caught.value) + (host.folder / "sshd.log").read_text()
    for line in key.decode().splitlines()[1:-1]:
        assert line not in told
