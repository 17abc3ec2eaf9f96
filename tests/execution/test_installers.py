"""Versions on disk: whatever is cut off, certificate and key belong together."""

import os
import resource
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from certforecast.errors import InstallationError
from certforecast.execution.checks import check_pair, leaf_fingerprint
from certforecast.execution.installers import make_installer
from certforecast.execution.installers.files import FilesInstaller, FilesInstallerSettings
from certforecast.execution.installers.keystore import KeystoreInstallerSettings
from certforecast.execution.installers.nginx import NginxInstaller, NginxInstallerSettings
from certforecast.execution.installers.processes import is_alive, run
from certforecast.execution.installers.versions import KEPT, Versions, check_owner
from tests.certificates import certificate, pem
from tests.children import in_a_child

#: What changes a disk.
OPERATIONS = ("replace", "symlink", "rename", "mkdir", "chmod", "open", "fsync", "fchmod", "utime", "unlink")


@cache
def pair(number: int) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    made = certificate(f"v{number}.test", public_key=key.public_key())
    return pem(made), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def fingerprint(number: int) -> str:
    return leaf_fingerprint(pair(number)[0])


def place(folder: Path, layout: str) -> Versions:
    """Put version 0 in place, as a person would."""
    chain_pem, key_pem = pair(0)
    if layout == "combined":
        path = folder / "site.pem"
        path.write_bytes(key_pem + chain_pem)
        path.chmod(0o600)
        return Versions(path, path, "site")
    paths = folder / "cert.pem", folder / ("private" if layout == "apart" else ".") / "key.pem"
    for path, content in zip(paths, (chain_pem, key_pem), strict=True):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    paths[1].chmod(0o640)
    return Versions(*paths, "site")


class Killed(BaseException):
    """The process is gone."""


class Disk:
    """Calls of the operating system, counted, looked after, and cut off at one of them."""

    def __init__(self, look: Callable[[], None], die_at: int | None, after: bool) -> None:
        self.look, self.die_at, self.after, self.count = look, die_at, after, 0
        self.real = {name: getattr(os, name) for name in OPERATIONS}

    def __enter__(self) -> "Disk":
        for name in OPERATIONS:
            setattr(os, name, self._wrapped(name))
        return self

    def __exit__(self, *error: object) -> None:
        for name, real in self.real.items():
            setattr(os, name, real)

    def _wrapped(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.count += 1
            dies = self.count == self.die_at
            if (dies and not self.after) or self.count > (self.die_at or self.count):
                raise Killed  # nor does it clean up after itself
            result = (
                None if name == "fsync" else self.real[name](*arguments, **named)
            )  # slow, and unseen here
            self._look()
            if dies:
                raise Killed
            return result

        return call

    def _look(self) -> None:
        wrapped = {name: getattr(os, name) for name in OPERATIONS}
        self.__exit__()
        try:
            self.look()
        finally:
            for name, call in wrapped.items():
                setattr(os, name, call)


STEPS: dict[str, Callable[[Versions], None]] = {
    "adopt and swap": lambda versions: versions.install(*pair(1)),
    "swap": lambda versions: versions.install(*pair(2)),
    "restore": lambda versions: versions.restore(fingerprint(1)),
}
END = {"adopt and swap": 1, "swap": 2, "restore": 1}


@pytest.mark.parametrize("layout", ["together", "apart", "combined"])
@given(
    step=st.sampled_from(list(STEPS)), deaths=st.lists(st.integers(1, 70), max_size=3), after=st.booleans()
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_cut_off_the_pair_matches_and_running_again_ends_right(
    layout: str, step: str, deaths: list[int], after: bool
) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        versions = place(folder, layout)
        allowed = {fingerprint(0), fingerprint(1)}
        if step != "adopt and swap":
            versions.install(*pair(1))
            allowed = {fingerprint(1), fingerprint(2)}
        if step == "restore":
            versions.install(*pair(2))

        def look() -> None:
            check_pair(versions.certificate.read_bytes(), versions.key.read_bytes())
            assert versions.current() in allowed

        for death in deaths:
            try:
                with Disk(look, death, after):
                    STEPS[step](versions)
            except Killed:
                look()
        with Disk(look, None, after):
            STEPS[step](versions)
        assert versions.current() == fingerprint(END[step])
        look()
    finally:
        shutil.rmtree(folder)


def test_every_place_to_cut_off_is_within_the_range_tried(tmp_path: Path) -> None:
    versions = place(tmp_path, "apart")
    with Disk(lambda: None, None, False) as disk:
        versions.install(*pair(1))
    assert 40 < disk.count <= 70


def test_a_swap_is_one_rename_of_one_link(tmp_path: Path) -> None:
    versions = place(tmp_path, "together")
    versions.install(*pair(1))
    before = {path: path.readlink() for path in (versions.certificate, versions.key)}
    versions.install(*pair(2))
    assert {path: path.readlink() for path in before} == before
    assert (versions.root / "current").readlink() == Path(fingerprint(2))
    assert (versions.certificate.read_bytes(), versions.key.read_bytes()) == pair(2)


def test_installing_what_is_in_place_changes_nothing(tmp_path: Path) -> None:
    versions = place(tmp_path, "together")
    versions.install(*pair(1))
    before = (versions.root / "current").lstat().st_ino
    versions.install(*pair(1))
    versions.restore(fingerprint(1))
    assert (versions.root / "current").lstat().st_ino == before


@pytest.mark.parametrize(("layout", "mode"), [("together", 0o640), ("combined", 0o600)])
def test_the_key_keeps_its_mode_and_no_draft_is_more_open(tmp_path: Path, layout: str, mode: int) -> None:
    versions = place(tmp_path, layout)
    seen: set[int] = set()

    def look() -> None:
        for path in tmp_path.rglob("*"):
            if path.is_file() and b"PRIVATE" in path.read_bytes():
                seen.add(stat.S_IMODE(path.stat().st_mode))

    with Disk(look, None, False):
        versions.install(*pair(1))
    assert stat.S_IMODE(versions.key.stat().st_mode) == mode
    assert all(found & ~mode & 0o777 == 0 for found in seen)


def test_the_last_versions_are_kept_and_older_ones_are_gone(tmp_path: Path) -> None:
    versions = place(tmp_path, "together")
    for number in range(1, 8):
        versions.install(*pair(number))
    kept = {path.name for path in versions.root.iterdir() if path.name != "current"}
    assert kept == {fingerprint(number) for number in range(7 - KEPT, 8)}
    versions.restore(fingerprint(4))
    assert versions.current() == fingerprint(4)
    with pytest.raises(InstallationError, match="is not kept"):
        versions.restore(fingerprint(1))


def test_a_file_that_another_tool_replaced_is_adopted_again(tmp_path: Path) -> None:
    versions = place(tmp_path, "together")
    versions.install(*pair(1))
    for path, content in zip((versions.certificate, versions.key), pair(5), strict=True):
        path.unlink()
        path.write_bytes(content)
    versions.install(*pair(2))
    assert versions.current() == fingerprint(2)
    versions.restore(fingerprint(5))
    assert (versions.certificate.read_bytes(), versions.key.read_bytes()) == pair(5)


def test_a_mismatched_pair_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    versions = place(tmp_path, "together")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InstallationError, match="does not match"):
        versions.install(pair(1)[0], pair(2)[1])
    assert sorted(tmp_path.rglob("*")) == before
    versions.key.write_bytes(pair(3)[1])
    with pytest.raises(InstallationError, match="broken already"):
        versions.check()
    with pytest.raises(InstallationError, match="broken already"):
        versions.install(*pair(1))
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_in_place_is_refused(tmp_path: Path) -> None:
    versions = Versions(tmp_path / "cert.pem", tmp_path / "key.pem", "site")
    assert versions.current() is None
    with pytest.raises(InstallationError, match="does not exist"):
        versions.check()


def test_certbots_own_links_are_left_alone(tmp_path: Path) -> None:
    live, archive = tmp_path / "live" / "site", tmp_path / "archive" / "site"
    for folder in (live, archive):
        folder.mkdir(parents=True)
    for name, content in zip(("fullchain", "privkey"), pair(0), strict=True):
        (archive / f"{name}1.pem").write_bytes(content)
        (live / f"{name}.pem").symlink_to(f"../../archive/site/{name}1.pem")
    with pytest.raises(InstallationError, match="certbot's own link"):
        Versions(live / "fullchain.pem", live / "privkey.pem", "site").check()


def test_what_was_half_written_is_removed(tmp_path: Path) -> None:
    versions = place(tmp_path, "together")
    chain, key = pair(1)
    versions.install(chain, key)
    left = [
        tmp_path / ".key.pem.0123abcd",
        tmp_path / ".cert.pem.ffffffff",
        versions.root / ".current.00000000",
        versions.root / str(versions.current()) / ".privkey.pem.deadbeef",
    ]
    theirs = [tmp_path / ".other.pem.0123abcd", tmp_path / ".key.pem.swp", tmp_path / "key.pem.0123abcd"]
    for path in (*left, *theirs):
        path.write_text("half a key")
    versions.install(chain, key)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in theirs)


def files(tmp_path: Path, **more: Any) -> FilesInstaller:
    place(tmp_path, "together")
    section = FilesInstallerSettings(
        kind="files", certificate=f"{tmp_path}/cert.pem", key=f"{tmp_path}/key.pem", **more
    )
    made = make_installer(section, name="site.test", host="10.0.0.1", port=8443)
    assert isinstance(made, FilesInstaller)
    return made


def test_fields_are_filled_in_and_other_braces_stay() -> None:
    section = FilesInstallerSettings(
        kind="files",
        certificate="/tls/{name}/c.pem",
        key="/tls/{name}/{port}.pem",
        reload=["awk", "{print}", "{host}"],
    )
    made = make_installer(section, name="a.test", host="10.0.0.1", port=443)
    assert made.describe() == [
        "switch /tls/a.test/c.pem",
        "switch /tls/a.test/443.pem",
        "run awk '{print}' 10.0.0.1",
    ]
    with pytest.raises(InstallationError, match="cannot be part of a path"):
        make_installer(section, name="../a", host="10.0.0.1", port=443)


def test_nginx_says_what_it_runs() -> None:
    section = NginxInstallerSettings(kind="nginx", certificate="/c", key="/k", config="/n.conf", prefix="/p")
    made = make_installer(section, name="a.test", host="10.0.0.1", port=443)
    assert isinstance(made, NginxInstaller)
    assert made.describe()[2:] == ["run nginx -c /n.conf -p /p -t", "send HUP to nginx's master process"]


@pytest.mark.parametrize("kind", ["files", "keystore"])
def test_what_one_reload_reloads_is_shared_and_what_none_does_is_not(kind: str) -> None:
    """Else what waits for one would be tested, and blamed, with all the others."""

    def server(name: str, **more: Any) -> str:
        section: FilesInstallerSettings | KeystoreInstallerSettings
        if kind == "files":
            paths = {"certificate": "/tls/{name}/c.pem", "key": "/tls/{name}/k.pem"}
            section = FilesInstallerSettings(kind="files", **paths, **more)
        else:
            section = KeystoreInstallerSettings(kind="keystore", keystore="/tls/{name}.p12", **more)
        return make_installer(section, name=name, host="10.0.0.1", port=443).server

    assert server("a.test", reload=["reload"]) == server("b.test", reload=["reload"]) == "run reload"
    assert server("a.test") != server("b.test")
    assert server("a.test") == server("a.test")
    assert all(map(server, ("a.test", "b.test")))


def test_a_reload_command_that_fails_is_quoted(tmp_path: Path) -> None:
    script = "print('first'); print('bad config'); raise SystemExit(3)"
    installer = files(tmp_path, reload=[sys.executable, "-c", script])
    installer.precheck()
    with pytest.raises(InstallationError, match=r"ended with 3: first \| bad config"):
        installer.reload()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"reload": ["no-such-command"]}, "not there or not executable"),
        ({"pid_file": "/nonexistent/pid"}, "is the server up"),
        ({"signal": "WINK"}, "no signal 'WINK'"),
    ],
)
def test_a_reload_that_cannot_work_is_refused_before(
    tmp_path: Path, more: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InstallationError, match=reason):
        files(tmp_path, **more).precheck()


@pytest.mark.parametrize(
    ("content", "reason"),
    [("x", "no process id"), ("-1", "no process id"), ("4194304", "is gone"), ("9" * 20, "no process id")],
)
def test_a_pid_file_without_a_process_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    pid_file = tmp_path / "pid"
    pid_file.write_text(content)
    with pytest.raises(InstallationError, match=reason):
        files(tmp_path, pid_file=str(pid_file)).precheck()


def test_labels_access_lists_and_notes_stay_on_files(tmp_path: Path) -> None:
    # SELinux is not everywhere; an attribute of users stands for its label.
    versions = place(tmp_path, "together")
    os.setxattr(versions.key, "user.label", b"system_u:object_r:cert_t:s0")
    versions.install(*pair(1))
    assert os.getxattr(versions.key, "user.label") == b"system_u:object_r:cert_t:s0"
    versions.install(*pair(2))
    assert os.getxattr(versions.key, "user.label") == b"system_u:object_r:cert_t:s0"
    assert os.listxattr(versions.certificate) == []


def test_one_file_keeps_its_order(tmp_path: Path) -> None:
    versions = place(tmp_path, "combined")  # the key first, as Postfix insists
    versions.install(*pair(1))
    assert versions.certificate.read_bytes().startswith(b"-----BEGIN PRIVATE KEY")
    other = tmp_path / "other.pem"
    other.write_bytes(pair(0)[0] + pair(0)[1])
    versions = Versions(other, other, "other")
    versions.install(*pair(1))
    assert other.read_bytes().startswith(b"-----BEGIN CERTIFICATE")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    # A limit on the size of files stands for a full disk: a write fails half-way.
    versions = place(tmp_path, "together")
    versions.install(*pair(1))
    before = sorted(tmp_path.rglob("*"))

    def work() -> str:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            versions.install(*pair(2))
        except InstallationError as error:
            return str(error)
        return "written"

    assert "what was in place is in place still" in in_a_child(work)
    assert (versions.certificate.read_bytes(), versions.key.read_bytes()) == pair(1)
    left = set(tmp_path.rglob("*")) - set(before)
    assert not any(path.is_file() for path in left)
    versions.install(*pair(2))
    assert versions.current() == fingerprint(2)


@pytest.mark.parametrize(
    ("mode", "group", "refused"),
    [(0o600, 0, True), (0o640, 0, True), (0o640, 65534, False), (0o644, 0, False)],
)
def test_a_file_whose_owner_cannot_be_kept_is_refused_where_it_matters(
    mode: int, group: int, refused: bool
) -> None:
    if os.geteuid() != 0:
        return  # only root can play another user
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o777)
        key = folder / "key.pem"
        key.write_bytes(pair(0)[1])
        key.chmod(mode)
        os.chown(key, 0, group)

        def work() -> str:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            try:
                check_owner(key)
            except InstallationError as error:
                return f"{error.code}: {error}"
            return "taken"

        said = in_a_child(work)
        assert said.startswith("permission: ") if refused else said == "taken"
        assert not refused or "run as its owner or as root" in said
    finally:
        shutil.rmtree(folder)


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    with pytest.raises(InstallationError, match=r"no end after 0\.5 s"):
        run(["sh", "-c", f"sleep 600 & echo $! > {tmp_path}/child; wait"], timeout_s=0.5)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_command_that_leaves_a_server_behind_is_not_waited_for(tmp_path: Path) -> None:
    # It keeps the output open, as daemons do.
    assert run(["sh", "-c", f"sleep 600 & echo $! > {tmp_path}/child; echo started"]) == "started\n"
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    ("port", "more", "spoken"),
    [(443, {}, "tls"), (5432, {}, "postgres"), (587, {}, "smtp"), (587, {"starttls": "tls"}, "tls"),
     (2525, {"starttls": "smtp"}, "smtp"), (993, {}, "tls")],
)  # fmt: skip
def test_what_is_spoken_before_tls_goes_by_the_port_unless_set(
    port: int, more: dict[str, Any], spoken: str
) -> None:
    section = FilesInstallerSettings(kind="files", certificate="/c", key="/k", **more)
    assert section.starttls_at(port) == spoken


def test_servers_that_speak_something_else_do_so_on_ports_that_say_nothing() -> None:
    from certforecast.execution.installers.postfix import PostfixInstallerSettings

    section = PostfixInstallerSettings(kind="postfix", certificate="/c", key="/k")
    assert [section.starttls_at(port) for port in (2525, 465, 25)] == ["smtp", "tls", "smtp"]
