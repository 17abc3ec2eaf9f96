"""What every installer must show on its real server; each server's test file subclasses `Contract`."""

import os
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from certforecast.execution import ActionResult, Executor
from certforecast.execution.installers import Installer, InstallerSection, make_installer
from certforecast.execution.installers.processes import Process, running
from certforecast.execution.staging import new_key
from certforecast.execution.verification import Served, handshake
from certforecast.history import History
from certforecast.planning.plan import Endpoint
from tests.system.site import Prober, Site

FreePort = Callable[[], int]


class ServerSite(Site, ABC):
    """A site on a real server; below a folder that the server's own user may enter."""

    #: The section's class, and what a test of the server's own is run by: a command, and what tells it apart.
    section: type[InstallerSection]
    tester: tuple[str, str] | None = None
    #: The same for the reload; None where it is done by a signal.
    reloader: tuple[str, str] | None = None
    starttls: str | None = None
    #: Its processes read the files whenever one begins: a swap may be served before any reload.
    reads_by_itself = False

    def at(self, port: int) -> None:
        self.endpoint = Endpoint(host="127.0.0.1", port=port, server_name=self.name)

    @abstractmethod
    def more(self) -> dict[str, Any]:
        """Give what the section holds beside the files."""

    def renew(self, history: History | None = None, **changes: Any) -> ActionResult:
        settings = self.settings(installers={"it": self.section_of(**changes)}, executor={"max_failures": 99})
        (result,) = Executor(settings, history).run(self.plan(self.action(installer="it")), execute=True)
        return result

    def section_of(self, **changes: Any) -> InstallerSection:
        """Give the section for it; None leaves out what it would hold."""
        values = {"certificate": str(self.certificate), "key": str(self.key), **self.more(), **changes}
        (kind,) = self.section.model_fields["kind"].annotation.__args__  # type: ignore[union-attr]
        given = {name: value for name, value in values.items() if value is not None}
        return self.section.model_validate({"kind": kind, **given})

    def installer(self, **changes: Any) -> Installer:
        where = {"host": self.endpoint.host, "port": self.endpoint.port}
        return make_installer(self.section_of(**changes), name=self.name, **where)

    @property
    def probed(self) -> Endpoint:
        return self.endpoint.model_copy(update={"starttls": self.starttls})

    def look(self) -> Served:
        return handshake(self.probed, roots=self.roots)

    def still_serves_the_old_one(self, files: tuple[bytes, bytes]) -> None:
        assert self.look().fingerprint == self.before
        assert (self.certificate.read_bytes(), self.key.read_bytes()) == files

    @property
    def files(self) -> tuple[bytes, bytes]:
        return self.certificate.read_bytes(), self.key.read_bytes()


@pytest.fixture
def home() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="installer-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def wrap(monkeypatch: pytest.MonkeyPatch, folder: Path, command: str, when: str, script: str) -> None:
    """Put a command of the server's name before it, that does `script` where its arguments hold `when`."""
    real, folder = shutil.which(command), folder / "wrapped"
    assert real, f"{command} is not installed; tests/system/packages.sh installs it"
    folder.mkdir(exist_ok=True)
    path = folder / Path(command).name
    path.write_text(f'#!/bin/sh\ncase " $* " in *" {when} "*) {script} ;; esac\nexec {real} "$@"\n')
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write in a folder, not even root."""
    if os.geteuid() == 0:
        subprocess.run(["chattr", "+i", folder], check=True)
        try:
            yield
        finally:
            subprocess.run(["chattr", "-i", folder], check=True)
    else:
        folder.chmod(0o555)
        try:
            yield
        finally:
            folder.chmod(0o755)


class Contract:
    """The tests. A subclass gives the fixture `server`."""

    def test_renews_and_proves_it(self, server: ServerSite) -> None:
        with Prober(server.probed, server.roots) as prober, History(None) as history:
            result = server.renew(history)
            events = history.tables().events.to_pandas().sort_values("at", kind="stable")
        assert result.status == "verified", result.detail
        assert server.look().fingerprint == result.fingerprint_after != server.before
        assert [seen.error for seen in prober.refused] == []
        assert "reload_failed" not in set(events["kind"])

    def test_twice_in_a_row(self, server: ServerSite) -> None:
        first = server.renew()
        assert first.status == "verified", first.detail
        second = server.renew()
        assert second.status == "verified", second.detail
        assert server.look().fingerprint == second.fingerprint_after != first.fingerprint_after

    def test_what_its_own_test_refuses_is_never_loaded(
        self, server: ServerSite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if server.tester is None:
            return  # it has none
        # Stands for whatever the server alone knows to be wrong: it takes none but the certificate in place.
        kept, files = server.home / "kept.pem", server.files
        kept.write_bytes(files[0])
        command, when = server.tester
        wrap(monkeypatch, server.home, command, when, f"cmp -s {kept} {server.certificate} || exit 1")
        with Prober(server.probed, server.roots) as prober:
            result = server.renew()
        assert result.status == "rolled_back", result.detail
        assert "ended with 1" in result.detail
        assert set(prober.looks) == {server.before}
        assert prober.refused == []
        server.still_serves_the_old_one(files)

    @pytest.mark.parametrize("script", ["exit 0", "exit 1", "sleep 600"], ids=["void", "fails", "hangs"])
    def test_a_reload_without_effect_is_rolled_back(
        self, server: ServerSite, monkeypatch: pytest.MonkeyPatch, script: str
    ) -> None:
        files = server.files
        changes: dict[str, Any] = {}
        if server.reads_by_itself:  # what never reloads could not be put back with certainty either
            once = server.home / "once"
            script = f"[ -e {once} ] || {{ touch {once}; {script}; }}"
        if server.reloader is not None:
            wrap(monkeypatch, server.home, *server.reloader, script)
        else:
            changes = {"reload": ["sh", "-c", script], "pid_file": None}
        result = server.renew(timeout_s=5 if "sleep 600" in script else 30, **changes)
        if server.reads_by_itself and result.status == "verified":
            assert server.look().fingerprint == result.fingerprint_after != server.before
            return
        assert result.status == "rolled_back", result.detail
        assert "does not serve" in result.detail
        if "exit 0" not in script:
            assert ("ended with 1" if "exit 1" in script else "no end after") in result.detail
        server.still_serves_the_old_one(files)

    def test_a_mismatched_pair_in_place_is_left_alone(self, server: ServerSite) -> None:
        issued, spoilt = server.issued(), new_key()
        good = server.key.read_bytes()
        server.key.write_bytes(spoilt if server.key != server.certificate else good[:40] + good[41:])
        result = server.renew()
        assert result.status == "failed"
        assert "no file was changed" in result.detail
        assert server.issued() == issued
        if not server.reads_by_itself:
            assert server.look().fingerprint == server.before

    def test_a_folder_that_nobody_may_write_in_is_left_alone(self, server: ServerSite) -> None:
        issued, files = server.issued(), server.files
        with read_only(server.certificate.parent):
            result = server.renew()
        assert result.status == "failed"
        assert "is not writable" in result.detail
        assert server.issued() == issued
        server.still_serves_the_old_one(files)

    def test_finds_what_the_server_uses(self, server: ServerSite, monkeypatch: pytest.MonkeyPatch) -> None:
        # Others run servers beside us, and may break them just now.
        def ours(*names: str, **how: bool) -> list[Process]:
            return [p for p in running(*names, **how) if any(str(server.home) in a for a in p.arguments)]

        monkeypatch.setattr(f"{server.section.__module__}.running", ours)
        (found,) = [
            found
            for found in server.section.discover()
            if found.settings.get("certificate") == str(server.certificate)
        ]
        assert found.fingerprint == server.before
        assert server.section.model_validate(found.settings)
        assert {key: value for key, value in found.settings.items() if key in server.more()} == {
            key: value for key, value in server.more().items() if key in found.settings
        }
