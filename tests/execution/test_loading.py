"""What waits for a server, with servers that are lists: which pair is blamed, and for what."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from certforecast.errors import InstallationError
from certforecast.execution.installers import Installer
from certforecast.execution.loading import Loading, Pair


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


def load(loading: Loading, *pairs: Pair) -> list[Any]:
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
