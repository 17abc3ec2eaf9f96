"""The command line, run in this process, in a home folder of its own."""

import json
from pathlib import Path
from typing import Any

import pytest

from certforecast.cli import main


class Shell:
    """Runs the command line in this process, in one home folder."""

    def __init__(
        self, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.home, self._capsys, self._monkeypatch = home, capsys, monkeypatch

    def __call__(self, *arguments: str, expected: int = 0) -> str:
        self._monkeypatch.setattr("sys.argv", ["certforecast", "--home", str(self.home), *arguments])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        shown = self._capsys.readouterr()
        self.errors = shown.err
        assert (end.value.code or 0) == expected, shown.err
        return shown.out

    def json(self, *arguments: str, expected: int = 0) -> Any:
        lines = self(*arguments, "--json", expected=expected).splitlines()
        assert len(lines) == 1
        return json.loads(lines[0])

    def complaint(self, *arguments: str, expected: int = 2) -> str:
        """Run what must fail; give its one line."""
        assert self(*arguments, expected=expected) == ""
        (line,) = self.errors.splitlines()
        assert line.startswith("certforecast: ")
        return line


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def shell(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(home, capsys, monkeypatch)


@pytest.fixture
def empty(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path / "empty", capsys, monkeypatch)
