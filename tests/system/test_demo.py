"""The demo, as a new user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.campaign)])
def test_the_demo_shows_what_it_promises(tmp_path: Path, times: int) -> None:
    stale = tmp_path / ".certforecast" / "demo" / "history.duckdb"  # of a demo that was cut off
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"half a store")
    for _ in range(times):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("certforecast")), "demo", "--json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=700,
        )
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 1
        shown = json.loads(done.stdout)
        assert shown["auprc_truth"] > shown["auprc_model"] > shown["auprc_best_rule"] > 0
        assert shown["endpoints"] >= 12
        assert shown["outages_before"] == 3
        assert shown["outages_after"] == 0
        assert (shown["verified"], shown["rolled_back"], shown["failed"]) == (9, 1, 0)
        # What is worth a look by people depends on the model, and on the day.
        assert shown["actions"] == 10 + shown["for_people"]
        assert shown["events_recorded"] > shown["verified"]
