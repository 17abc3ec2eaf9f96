"""Renews one site again and again, in processes that are killed at random, and counts what went wrong.

Called as ``python -m tests.system.kill_campaign FOLDER RUNS SEED``. Each run is one plan: a process is forked
to carry it out, and killed before or after a step, or after a random time; then the next, until one, by lot,
is left alone. A prober shakes hands throughout. Prints counts, as JSON.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from certforecast.execution import Executor
from certforecast.history import History
from certforecast.planning.plan import Plan
from certforecast.settings import Settings
from tests.system.kill_driver import deadly
from tests.system.site import Prober, Site

STEPS = ("order", "issue", "stage", "check", "install", "verify", "clear")
#: So often a process is killed; the next one of the same plan may be, too.
SHARE = 0.7
LONGEST_S = 1.5


def carry_out(plan: Plan, settings: Settings, rng: random.Random, result: Path) -> bool:
    """Carry a plan out in a process of its own, which may be killed; say whether it was."""
    dies = rng.random() < SHARE
    step, moment = rng.choice(STEPS), rng.choice(["before", "after", "at a time"])
    delay = rng.uniform(0.0, LONGEST_S)
    child = os.fork()
    if child == 0:
        if dies and moment == "at a time":
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
        elif dies:
            deadly(step, moment)
        with History(settings.store_path) as history:
            (done,) = Executor(settings, history).run(plan, execute=True)
        result.write_text(done.model_dump_json())
        os._exit(0)
    deadline = time.monotonic() + 120
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.WIFSIGNALED(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            sys.exit(f"a process did not end: {step} {moment}")
        time.sleep(0.01)


def main(folder: Path, runs: int, seed: int) -> None:
    import dbos
    import duckdb

    assert dbos
    assert duckdb
    rng, counts = random.Random(seed), Counter[str]()
    with Site(folder).served() as site:
        settings = site.settings()
        with Prober(site.endpoint, site.roots) as prober:
            for _ in range(runs):
                site.before, issued = site.look().fingerprint or "", site.issued()
                plan, result = site.plan(site.action()), folder / "result.json"
                result.unlink(missing_ok=True)
                while carry_out(plan, settings, rng, result):
                    counts["killed"] += 1
                told = json.loads(result.read_text()) if result.exists() else {"status": "lost"}
                served = site.look().fingerprint
                counts["verified"] += told["status"] == "verified"
                counts["lost"] += told["status"] == "lost"
                counts["other"] += told["status"] not in ("verified", "lost")
                counts["doubled"] += site.issued() - issued > 1
                counts["wrong"] += served != told.get("fingerprint_after")
                counts["keys_left"] += len(list(settings.staging_path.glob("*")))
        counts["handshakes"] = len(prober.looks)
        counts["refused"] = len(prober.refused)
        counts["turned_back"] = turned_back(prober.looks)
    names = ("verified", "killed", "lost", "other", "doubled", "wrong", "refused", "turned_back", "keys_left")
    print(
        json.dumps(
            {"runs": runs, "handshakes": counts["handshakes"], **{name: counts[name] for name in names}}
        )
    )


def turned_back(looks: list[str]) -> int:
    """Count the certificates that were served again after another had taken their place."""
    seen: list[str] = []
    for look in looks:
        if not seen or seen[-1] != look:
            seen.append(look)
    return len(seen) - len(set(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
