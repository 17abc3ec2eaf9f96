"""A full disk, a read-only one, and files of somebody else: what every installer that writes files does then.

The servers are real, and so is the disk where we may mount one (tests/system/disks.py).
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from certforecast.errors import InstallationError
from certforecast.execution.checks import leaf_fingerprint
from certforecast.execution.installers import Installer
from certforecast.execution.installers.files import FilesInstallerSettings
from certforecast.execution.installers.nginx import NginxInstallerSettings
from tests.children import in_a_child
from tests.system.conftest import Issue
from tests.system.disks import small_disk
from tests.system.installing import ServerSite, home
from tests.system.site import Site
from tests.system.test_installer_apache import ApacheSite, apache, wait_until
from tests.system.test_installer_haproxy import HaproxySite
from tests.system.test_installer_keystore import KeystoreSite
from tests.system.test_installer_mail import DovecotSite, PostfixSite, postfix
from tests.system.test_installer_postgresql import PostgresqlSite
from tests.system.test_installer_ssh import Host
from tests.system.test_nginx import NGINX, NginxSite

__all__ = ["home"]

pytestmark = pytest.mark.system

Start = Callable[[list[str], int], Any]

#: Nobody's, on every Unix.
STRANGER = 65534


class Served(NamedTuple):
    """A server that runs, and what installs on it."""

    installer: Installer
    files: list[Path]
    pair: Callable[[], tuple[bytes, bytes]]
    serves: Callable[[], str | None]


def of(site: ServerSite, *files: Path) -> Served:
    return Served(
        site.installer(),
        list(files) or [site.certificate, site.key],
        site.pair,
        lambda: site.look().fingerprint,
    )


@contextlib.contextmanager
def plain(home: Path) -> Iterator[Served]:
    with Site(home).served() as site:
        given = {"certificate": str(site.certificate), "key": str(site.key), "pid_file": str(site.pid_file)}
        installer = FilesInstallerSettings(kind="files", **given).open(site.name)
        yield Served(installer, [site.certificate, site.key], site.pair, lambda: site.look().fingerprint)


def nginx(home: Path, start: Start, port: int) -> Served:
    site = NginxSite(home, start, port)
    given = {"certificate": str(site.certificate), "key": str(site.key), "config": str(site.conf)}
    section = NginxInstallerSettings(kind="nginx", prefix=str(home), binary=NGINX, **given)
    return Served(
        section.open(site.name), [site.certificate, site.key], site.pair, lambda: site.look().fingerprint
    )


@pytest.fixture(
    params=["files", "nginx", "apache", "haproxy", "postgresql", "postfix", "dovecot", "keystore"]
)
def served(
    request: pytest.FixtureRequest, home: Path, start: Start, free_port: Callable[[], int]
) -> Iterator[Served]:
    """Run one server of each kind."""
    with contextlib.ExitStack() as stack:
        run: Callable[[AbstractContextManager[Any]], Any] = stack.enter_context
        match request.param:
            case "files":
                yield run(plain(home))
            case "nginx":
                yield nginx(home, start, free_port())
            case "apache":
                yield of(run(apache(ApacheSite(home, free_port()), start)))
            case "haproxy":
                site = HaproxySite(home, free_port())
                start(["haproxy", "-W", "-f", str(site.conf)], site.endpoint.port)
                yield of(site)
            case "postgresql":
                yield of(run(PostgresqlSite(home, free_port()).served()))
            case "postfix":
                yield of(run(postfix(PostfixSite(home, free_port()))))
            case "dovecot":
                mail = DovecotSite(home, free_port())
                start(["dovecot", "-F", "-c", str(mail.conf)], mail.endpoint.port)
                yield of(mail)
            case "keystore":
                java = KeystoreSite(home, "pkcs12", others=False)
                run(java.served())
                yield of(java, java.store)


def regular(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


def load(served: Served, fingerprint: str | None) -> None:
    """Have what is in place tested and loaded, and see it on the wire."""
    served.installer.test()
    served.installer.reload()
    wait_until(lambda: served.serves() == fingerprint)
    assert served.installer.current() == fingerprint


def test_whatever_the_disk_does_the_old_pair_stays_and_the_next_run_completes(served: Served) -> None:
    folder, old, contents = served.files[0].parent, served.serves(), [f.read_bytes() for f in served.files]
    with small_disk(folder) as disk:
        before = regular(folder)

        def untouched(said: str, *words: str) -> None:
            for word in (str(folder), *words):
                assert word in said
            assert [file.read_bytes() for file in served.files] == contents
            assert regular(folder) == before
            assert served.serves() == old

        with disk.read_only():
            untouched(refused(served.installer.precheck), "is not writable")
        if os.geteuid() == 0:
            untouched(in_a_child(lambda: as_a_stranger(served.installer)), "permission: ")
        served.installer.precheck()
        new = served.pair()
        with disk.read_only():  # as when a disk fails under way
            said = refused(lambda: served.installer.swap(*new))
        untouched(said, "Read-only file system" if disk.own else "not permitted", "in place still")
        with disk.full():
            said = disk.refused(lambda: served.installer.swap(*new))
        untouched(said, "No space left" if disk.own else "too large", "in place still")
        load(served, old)
        served.installer.swap(*new)
        load(served, leaf_fingerprint(new[0]))


def test_the_disk_of_another_host(
    home: Path, start: Start, free_port: Callable[[], int], issue: Issue
) -> None:
    host = Host(home, start, free_port(), issue)
    installer = host.installer(test=["true"])
    with small_disk(host.tls) as disk:
        if not disk.own:
            return  # no limit of ours reaches the host's own process

        def untouched(said: str, *words: str) -> None:
            for word in (f"@127.0.0.1:{host.port}", *words):
                assert word in said
            assert host.in_place() == old
            assert regular(host.tls) - {host.tls / "ballast"} == before

        for _ in range(2):  # with files as a person put them there, and with versions
            old, before, new = host.in_place(), regular(host.tls), host.issue("site.test")
            with disk.read_only():
                untouched(refused(installer.precheck), f"-x {host.tls} ended with 1")
            installer.precheck()
            with disk.read_only():
                said = refused(lambda: installer.swap(*new))  # noqa: B023
                untouched(said, f"{host.tls}/", "its disk is read-only")
            for left in range(2):
                with disk.full(left):
                    said = refused(lambda: installer.swap(*new))  # noqa: B023
                    untouched(said, f"{host.tls}/", "could not be written; 0 KiB are free there")
            untouched(refused(host.installer(user="nobody").precheck), "Permission denied")
            installer.swap(*new)
            assert host.in_place() == leaf_fingerprint(new[0])
        # Another tool has put plain files in place, of a version that is kept already.
        for path, content in zip((host.certificate, host.key), new, strict=True):
            path.unlink()
            path.write_bytes(content)
        old, before = host.in_place(), regular(host.tls)
        with disk.full():
            untouched(refused(lambda: installer.swap(*host.issue("site.test"))), "0 KiB are free there")


@pytest.mark.parametrize("layout", ["two files", "one file", "keystore"])
def test_wherever_the_disk_fills_up_nothing_half_written_stays(home: Path, layout: str) -> None:
    if layout == "keystore":
        site: Any = KeystoreSite(home, "pkcs12", others=False)
        installer, files = site.installer(), [site.store]
    else:
        site = Site(home)
        if layout == "one file":
            site.certificate.write_bytes(site.certificate.read_bytes() + site.key.read_bytes())
            site.key = site.certificate
        files = [site.certificate, site.key]
        installer = FilesInstallerSettings(
            kind="files", certificate=str(site.certificate), key=str(site.key)
        ).open(site.name)
    failed = 0
    with small_disk(files[0].parent) as disk:
        if not disk.own:
            return  # a limit on the size of files cannot be so exact
        for left in range(10):
            before, contents = regular(disk.folder), [file.read_bytes() for file in files]
            new = site.pair()
            with disk.full(left):
                try:
                    installer.swap(*new)
                    said = ""
                except InstallationError as error:
                    said = str(error)
            if said:
                failed += 1
                assert "could not be written: No space left" in said
                assert "a file could not" not in said, "it is named"
                assert [file.read_bytes() for file in files] == contents
                # A version that is whole may be kept: the old one, before it was to be replaced.
                assert all(map(whole, regular(disk.folder) - before))
            else:
                assert installer.current() == leaf_fingerprint(new[0])
    assert 0 < failed < 10, "both were tried"


def whole(path: Path) -> bool:
    """Tell whether a file is one of a version that could be put back."""
    if path.suffix == ".keystore":
        return True  # it was renamed when it was whole
    names = {each.name for each in path.parent.iterdir()}
    return names in ({"fullchain.pem", "privkey.pem"}, {"combined.pem"})


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(InstallationError) as caught:
        work()
    return str(caught.value)


def as_a_stranger(installer: Installer) -> str:
    """Try what another user may not do."""
    os.setgroups([])
    os.setgid(STRANGER)
    os.setuid(STRANGER)
    try:
        installer.check_files()
    except InstallationError as error:
        return f"{error.code}: {error}"
    return "taken"
