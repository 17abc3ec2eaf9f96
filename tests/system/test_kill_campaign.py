"""Killed at random, many times: nothing lost, doubled or wrong, and the site is served all the time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system


def run(folder: Path, runs: int, seconds: float) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.system.kill_campaign", str(folder), str(runs), "7"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=seconds,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return told


def sound(told: dict[str, int]) -> None:
    bad = {
        name: told[name]
        for name in ("lost", "other", "doubled", "wrong", "refused", "turned_back", "keys_left")
    }
    assert bad == dict.fromkeys(bad, 0), told
    assert told["verified"] == told["runs"]
    assert told["killed"] > 0


def test_a_few_runs(tmp_path: Path) -> None:
    sound(run(tmp_path, 4, 200))


@pytest.mark.campaign
def test_hundreds_of_runs(tmp_path: Path) -> None:
    told = run(tmp_path, int(os.environ.get("CAMPAIGN_RUNS", "500")), 7000)
    print(json.dumps(told))
    sound(told)
