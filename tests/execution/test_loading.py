"""What waits for a server, with servers that are lists: which pair is blamed, and for what."""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from certforecast.clock import system_clock
from certforecast.errors import InstallationError
from certforecast.execution.installers import Installer
from certforecast.execution.loading import Loading, Pair
from certforecast.execution.steps import Steps
from certforecast.settings import Settings


class Server:
    """A stand-in for a server: it refuses what is called bad, and whatever it is told to."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.served: dict[str, str] = {}
        self.broken = False


class Site:
    """A stand-in for the installer of one site of it."""

    def __init__(self, server: Server, name: str, *, stuck: bool = False) -> None:
        self.site, self.name, self.stuck = server, name, stuck
        self.server = str(id(server))
        server.files[name] = "old"

    def test(self) -> None:
        if self.site.broken or "bad" in self.site.files.values():
            raise InstallationError("refused")

    def reload(self) -> None:
        self.site.served = dict(self.site.files)

    def restore(self, before: str) -> None:
        if self.stuck:
            raise InstallationError("the disk is read-only")
        self.site.files[self.name] = before


@pytest.fixture
def loading(tmp_path: Path) -> Loading:
    return Loading(tmp_path, alone=True)


def pair(site: Site, new: str) -> Pair:
    def put() -> None:
        site.site.files[site.name] = new

    return Pair(cast("Installer", site), put, before="old")


def load(loading: Loading, *pairs: Pair, on_load: Callable[[], object] = lambda: None) -> list[Any]:
    """Load pairs that are in place at the same time, one after another; give what each came to."""
    came: list[Any] = []
    with ExitStack() as stack:
        for each in pairs:
            stack.enter_context(loading.placed(each))
        for each in pairs:
            try:
                came.append(loading.load(each, every_s=0.0))
            except InstallationError as error:
                came.append(str(error))
            on_load()
    return came


def test_one_bad_pair_fails_alone(loading: Loading) -> None:
    server = Server()
    pairs = [pair(Site(server, name), "bad" if name == "c" else "new") for name in "abcd"]
    assert load(loading, *pairs) == [None, None, "refused", None]
    assert server.served == {"a": "new", "b": "new", "c": "old", "d": "new"}


def test_what_is_loaded_is_left_alone_whatever_becomes_of_its_server(loading: Loading) -> None:
    server = Server()
    first, second = pair(Site(server, "a"), "new"), pair(Site(server, "b"), "new")
    with loading.placed(first):
        loading.load(first, every_s=0.0)
        server.broken = True  # by somebody else
        assert load(loading, second) == ["refused"]
    assert first.refused is None
    assert server.files == {"a": "new", "b": "old"}


def test_where_one_stays_in_nobody_is_put_in_again(loading: Loading) -> None:
    server = Server()
    stuck, well = pair(Site(server, "a", stuck=True), "bad"), pair(Site(server, "b"), "new")
    assert load(loading, well, stuck) == ["refused", "the disk is read-only"]
    assert server.files == {"a": "bad", "b": "old"}


def test_what_is_taken_out_while_the_others_are_loaded_fails_its_action(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (pair(Site(Server(), name), "new") for name in "ab")

    def load(_: Loading, pair: Pair, *, every_s: float) -> None:
        del every_s
        if pair is second:  # another action's load, between the reload of the first and this
            first.refused = InstallationError("refused", code="config")

    monkeypatch.setattr(Loading, "load", load)
    error = Steps(Settings(home=tmp_path), system_clock)._switch([first, second], [])
    assert error == {"message": "refused", "code": "config", "cause": "installer"}


class OnDisk:
    """A stand-in for the installer of one site of a server that is a folder, for several processes."""

    def __init__(self, folder: Path, name: str, *, on_take: Callable[[], None] = lambda: None) -> None:
        self.file, self.server, self.on_take = folder / name, "shared", on_take
        self.file.write_text("old")

    def test(self) -> None:
        if any(file.read_text() == "bad" for file in self.file.parent.iterdir()):
            raise InstallationError("refused")

    def reload(self) -> None:
        """Nobody looks what is served."""

    def restore(self, before: str) -> None:
        self.file.write_text(before)
        self.on_take()

    def pair(self, new: str) -> Pair:
        def put() -> None:
            self.file.write_text(new)

        return Pair(cast("Installer", self), put, before="old")


def await_sign(sign: Path) -> None:
    deadline = time.monotonic() + 60
    while not sign.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def swap_beside(folder: Path) -> str:
    """In another process: put a bad pair in place when told to, and load it when told to."""
    theirs = OnDisk(folder / "sites", "theirs").pair("bad")
    loading = Loading(folder / "locks", alone=False)
    (folder / "ready").touch()
    await_sign(folder / "put")
    (folder / "putting").touch()
    with loading.placed(theirs):
        await_sign(folder / "load")
        try:
            loading.load(theirs, every_s=0.0)
        except InstallationError as error:
            return str(error)
    return "loaded"


def test_another_process_swaps_nothing_while_it_is_found_out_what_is_bad(tmp_path: Path) -> None:
    """Its bad pair would be blamed on a good one of ours."""
    sites = tmp_path / "sites"
    sites.mkdir()

    def let_it_swap() -> None:
        if not (tmp_path / "put").exists():
            (tmp_path / "put").touch()
            await_sign(tmp_path / "putting")
            time.sleep(0.3)  # it would have, if nothing kept it from that

    bad = OnDisk(sites, "bad", on_take=let_it_swap).pair("bad")
    good = OnDisk(sites, "good").pair("new")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        other = pool.submit(swap_beside, tmp_path)
        await_sign(tmp_path / "ready")
        loading = Loading(tmp_path / "locks", alone=False)
        came = load(loading, bad, good, on_load=(tmp_path / "load").touch)
        assert (came, other.result(60)) == (["refused", None], "refused")
    assert {file.name: file.read_text() for file in sites.iterdir()} == {
        "bad": "old",
        "good": "new",
        "theirs": "old",
    }
