"""On PostgreSQL a lineage is one process's at a time, also where machines share no folder."""

import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from certforecast.execution import Executor
from certforecast.execution.durable import durable
from certforecast.execution.rates import Rate
from certforecast.execution.steps import Steps
from certforecast.execution.tickets import run_id, tickets
from tests.system.lineage_driver import slow_order
from tests.system.postgres import postgres
from tests.system.site import Site

pytestmark = pytest.mark.system

COUNT = 8


def test_steps_of_one_lineage_never_overlap_though_homes_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, log = Site(tmp_path), tmp_path / "log"
    plan = site.plan(*(site.action(id=f"action{n}") for n in range(COUNT)))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(tmp_path / "home" / "signing.pub", elsewhere)
    monkeypatch.setattr(Steps, "order", slow_order(log))
    with postgres() as server, ExitStack() as stack:
        here = site.settings(database_url=server.url)
        there = tmp_path / "there.json"
        there.write_text(here.model_copy(update={"home": elsewhere}).model_dump_json())
        runs = stack.enter_context(durable(here, Executor(here).body()))
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.system.lineage_driver", str(there), str(log)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
        )
        stack.callback(worker.wait, 60)
        stack.callback(worker.terminate)
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
        ids = {run_id(plan, action.id) for action in plan.actions}
        for action in plan.actions:
            ticket = tickets(plan)[action.id]
            runs.enqueue(run_id(plan, action.id), ticket, Rate("ca"), priority=action.rank, workers=2)
        deadline = time.monotonic() + 60
        while len(runs.ended(ids)) < COUNT:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    told = [line.split() for line in log.read_text().splitlines()]
    assert len({process for _, process in told}) == 2, "both took part"
    pairs = list(zip(told[::2], told[1::2], strict=True))
    assert len(pairs) == COUNT
    for (began, one), (ended, other) in pairs:
        assert (began, ended) == ("begin", "end"), told
        assert one == other
