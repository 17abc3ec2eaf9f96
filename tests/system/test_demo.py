"""The demo, as a new user runs it: twice, and it works twice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system


@pytest.mark.timeout(900)
def test_the_demo_shows_what_it_promises(tmp_path: Path) -> None:
    for _ in range(2):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("certforecast")), "demo", "--json"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=420,
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
