"""A worker ends where its database does not take what it did, so that others take over."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from certforecast.errors import ExecutionError
from certforecast.execution import worker
from certforecast.settings import Settings
from certforecast.signing import signing_key


class Runs:
    """A stand-in for the executor's database: it did not take what was done."""

    def take_over(self) -> int:
        return 0

    def check(self) -> None:
        raise ExecutionError("the executor's database did not take what was done")


def test_a_worker_whose_work_is_not_taken_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def durable(*_: Any, **__: Any) -> Iterator[Runs]:
        yield Runs()

    signing_key(tmp_path)
    monkeypatch.setattr(worker, "durable", durable)
    monkeypatch.setattr(worker, "_TAKE_OVER_EVERY_S", 0.01)
    ended = threading.Event()
    threading.Timer(5.0, ended.set).start()
    with pytest.raises(ExecutionError, match="did not take"):
        worker.work(Settings(home=tmp_path), ended)
