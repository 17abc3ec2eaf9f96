"""An import of many files, killed on the way: the next one reads the rest, and nothing twice."""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest

from certforecast.errors import StoreError
from certforecast.history import History
from certforecast.simulation.ders import make_ders

pytestmark = pytest.mark.system

FILES, EACH = 50, 500


def command(home: Path, folder: Path) -> list[str]:
    main = [sys.executable, "-c", "from certforecast.cli import main; main()"]
    return [*main, "--home", str(home), "ingest", "pem", str(folder), "--json"]


def stored(home: Path) -> int:
    """Count what the store holds, 0 while it cannot be opened."""
    with contextlib.suppress(StoreError), History(home / "history.duckdb") as history:
        return len(history.marks("pem"))
    return 0


def test_a_killed_import_goes_on(tmp_path: Path) -> None:
    folder, home = tmp_path / "files", tmp_path / "home"
    folder.mkdir()
    ders = make_ders(FILES * EACH, seed=5)
    for number in range(FILES):
        blocks = (
            b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"
            for der in islice(ders, EACH)
        )
        (folder / f"{number:02}.pem").write_bytes(b"".join(blocks))
    done = 0
    for patience in (1.0, 1.4, 1.8, 2.4, 3.2, 4.4, 6.0, 9.0):
        with subprocess.Popen(command(home, folder), stdout=subprocess.PIPE) as process:
            time.sleep(patience)
            os.kill(process.pid, signal.SIGKILL)
        done = stored(home)
        if done:
            break
    assert done, "no import got anywhere before it was killed"
    finished = json.loads(subprocess.run(command(home, folder), check=True, capture_output=True).stdout)
    with History(home / "history.duckdb") as history:
        assert history.counts()["certificates"] == FILES * EACH
        assert len(history.marks("pem")) == FILES
        assert history.counts()["quarantine"] == 0
    # Unless the kill came after the last batch, what was stored before it was not read again.
    assert finished["skipped"] == done
    counted = finished["tables"]["certificates"]
    assert counted["new"] + counted["unchanged"] == (FILES - done) * EACH
