"""Several processes on one PostgreSQL database: killed, cut off, restarted; all is done, nothing twice."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from dbos import DBOS

from certforecast.errors import ExecutionError
from certforecast.execution import Executor
from certforecast.execution.worker import work
from certforecast.history import History
from certforecast.settings import load_settings
from tests.system.many_sites import ManySites
from tests.system.postgres import Postgres, postgres
from tests.system.site import wait_for

pytestmark = pytest.mark.system

MAIN = [sys.executable, "-c", "from certforecast.cli import main; main()"]


class Crew:
    """Workers, of which one is killed now and then and another hired."""

    def __init__(self, config: Path, stack: ExitStack, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.killed = self.hired = 0
        self.processes: dict[Path, subprocess.Popen[bytes]] = {}
        stack.callback(self.dismiss)

    def hire(self) -> None:
        path = self.folder / f"worker{self.hired}.log"
        self.hired += 1
        with path.open("wb") as log:
            command = [*MAIN, "--config", str(self.config), "worker", "--verbose"]
            self.processes[path] = subprocess.Popen(command, stderr=log)

    def kill(self, rng: random.Random) -> bool:
        """Kill one that is at work, if one is."""
        at_work = [path for path in self.processes if ".test: " in path.read_text()]
        if at_work:
            victim = self.processes.pop(rng.choice(at_work))
            victim.send_signal(signal.SIGKILL)
            victim.wait(10)
            self.killed += 1
        return bool(at_work)

    def dismiss(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            # One that was hired a moment ago may not know of signals yet, or have found no database.
            assert process.wait(150) in (0, 3, -signal.SIGTERM), "a worker that is told to end ends well"
        self.processes.clear()


def carry_out(
    tmp_path: Path, server: Postgres, *, count: int, workers: int, kill_every_s: float, restarts: int
) -> dict[str, float]:
    """Renew many sites with a crew, have accidents happen, and say what came of it."""
    os.umask(0o022)
    sites, rng = ManySites(tmp_path, count), random.Random(7)
    config = sites.toml(database_url=server.url, workers=4, verify_timeout_s=10)
    plan = tmp_path / "plan.json"
    with sites.served(), ExitStack() as stack:
        sites.plan().write(plan)
        History(tmp_path / "home" / "history.duckdb").close()
        crew = Crew(config, stack, tmp_path)
        for _ in range(workers):
            crew.hire()
        began = time.monotonic()
        with (tmp_path / "act.log").open("wb") as log, (tmp_path / "said.json").open("wb") as answer:
            command = [*MAIN, "--config", str(config), "act", str(plan), "--execute", "--json"]
            act = subprocess.Popen(command, stdout=answer, stderr=log)
        stack.callback(act.kill)
        wait_for(lambda: sites.issued() > sites.before, act, 90)
        wait_for(lambda: any("ready" in log.read_text() for log in tmp_path.glob("worker*.log")), act, 90)
        next_kill = time.monotonic()
        while act.poll() is None:
            assert time.monotonic() - began < 60 + 4 * count, "it takes too long"
            if time.monotonic() >= next_kill and crew.kill(rng):
                crew.hire()
                next_kill = time.monotonic() + kill_every_s
            if restarts and sites.issued() - sites.before > count / 3:
                server.stop()
                time.sleep(1.0)
                server.start()
                restarts -= 1
            time.sleep(0.05)
        seconds = time.monotonic() - began
        assert act.returncode == 0, (tmp_path / "act.log").read_text()[-2000:]
        statuses = Counter(result["status"] for result in json.loads((tmp_path / "said.json").read_text()))
        with History(tmp_path / "home" / "history.duckdb") as history:
            events = history.tables().events.to_pandas()
        recorded = events[events["kind"] == "verified"].groupby("lineage").size()
        return {
            "seconds": seconds,
            "killed": crew.killed,
            "verified": statuses["verified"],
            "other": statuses.total() - statuses["verified"],
            "fresh": sites.fresh(),
            "issued": sites.issued() - sites.before,
            "recorded_once": int((recorded == 1).sum()),
            "by_workers": sum(log.read_text().count(": clear") for log in tmp_path.glob("worker*.log")),
        }


def test_killed_workers_and_a_restarted_database_lose_and_double_nothing(tmp_path: Path) -> None:
    with postgres() as server:
        told = carry_out(tmp_path, server, count=40, workers=2, kill_every_s=3.0, restarts=1)
    assert told["killed"] >= 1
    assert told["by_workers"] > 0
    assert told["verified"] == told["fresh"] == told["issued"] == told["recorded_once"] == 40, told


class Cable:
    """A way to the database that can be pulled out: connections end, and no new ones come about."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.plugged = True
        self.ends: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def pull(self) -> None:
        self.plugged = False
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def plug(self) -> None:
        self.ends.clear()
        self.plugged = True

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            if not self.plugged:
                here.close()
                continue
            there = socket.create_connection(("127.0.0.1", self.target))
            self.ends += [here, there]
            for source, sink in ((here, there), (there, here)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_a_worker_that_is_cut_off_loses_and_doubles_nothing(tmp_path: Path) -> None:
    count = 16
    with postgres() as server, ManySites(tmp_path, count).served() as sites:
        cable = Cable(server.port)
        far = sites.toml(database_url=server.url.replace(str(server.port), str(cable.port)), workers=4)
        far = far.rename(tmp_path / "far.toml")
        near, plan = sites.toml(database_url=server.url, workers=1), tmp_path / "plan.json"
        sites.plan().write(plan)
        History(tmp_path / "home" / "history.duckdb").close()
        with ExitStack() as stack:
            crew = Crew(far, stack, tmp_path)
            crew.hire()
            log = tmp_path / "worker0.log"
            (worker,) = crew.processes.values()
            wait_for(lambda: "ready" in log.read_text(), worker, 60)
            command = [*MAIN, "--config", str(near), "act", str(plan), "--execute", "--json"]
            act = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            stack.callback(act.kill)
            wait_for(lambda: ".test: install" in log.read_text(), act, 90)
            cable.pull()
            time.sleep(6.0)
            cable.plug()
            said, _ = act.communicate(timeout=200)
            statuses = Counter(result["status"] for result in json.loads(said))
        assert statuses == {"verified": count}
        assert sites.fresh() == sites.issued() - sites.before == count


@pytest.mark.campaign
def test_a_thousand_actions_by_four_workers(tmp_path: Path) -> None:
    with postgres() as server:
        told = carry_out(tmp_path, server, count=1000, workers=4, kill_every_s=10.0, restarts=1)
    print(json.dumps(told))
    assert told["verified"] == told["fresh"] == told["issued"] == told["recorded_once"] == 1000, told


def test_one_plan_at_a_time_and_workers_need_postgresql(tmp_path: Path) -> None:
    with postgres() as server:
        sites = ManySites(tmp_path, 1)
        settings = load_settings(sites.toml(database_url=server.url))
        with sites.served():
            plan = sites.plan()
            from certforecast.execution.leases import lease

            with lease(settings, leads=True), pytest.raises(ExecutionError, match="certforecast worker"):
                Executor(settings).run(plan, execute=True)
            (result,) = Executor(settings).run(plan, execute=True)
            assert result.status == "verified", result.detail
    alone = settings.model_copy(update={"database_url": None})
    with pytest.raises(ExecutionError, match="set database_url to a PostgreSQL database"):
        work(alone, threading.Event())


@pytest.mark.parametrize("where", ["launch", "register_queue"])
def test_a_database_that_goes_away_under_a_worker_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Be it while it begins: a database that is started again just then must not end it with a traceback."""
    with postgres() as server:
        sites = ManySites(tmp_path, 1)
        settings = load_settings(sites.toml(database_url=server.url))
        sites.plan()  # makes the key that a worker asks for
        reached = getattr(DBOS, where)
        server_ends = threading.Event()

        def gone(*arguments: object, **named: object) -> object:
            if not server_ends.is_set():
                server_ends.set()
                server.stop(signal.SIGQUIT)
            return reached(*arguments, **named)

        monkeypatch.setattr(DBOS, where, gone)
        ended = threading.Event()
        with pytest.raises(ExecutionError, match="database does not answer: "):
            work(settings, ended, on_ready=ended.set)
        assert server_ends.is_set()
