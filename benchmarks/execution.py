"""How fast renewals are carried out, beside certbot and lego, against one ACME server and nginx.

    python benchmarks/execution.py [--renewals 200] [--one-by-one 60] [--quick]

Every tool renews as many sites of its own: http-01 by the same web root, a P-256 key each, installed into an
nginx of the tool's own with a reload. Ours also proves each by three handshakes in a row, and records it. At
the end every site of every tool must serve a new certificate. ``..._ratio`` is how many times faster we are
than the tool; ``lego_concurrent_ratio`` is to as many legos at once as we have workers. Tools that renew one
by one are measured on fewer sites: their pace does not depend on how many there are. ``cpu_s_per_renewal``
is the time our process and its children take of a core; the servers' is not in it.

Wants Debian's nginx, pebble, certbot and lego.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

from report import report

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the tests start the ACME server, too

from execution_tools import Certbot, Lego, ManyLegos, Ours, Tool, challenges, settings_shown

from tests.system.pebble import pebble

#: A tool that takes seconds for a renewal is measured on fewer.
QUICK = {Ours: 40, Certbot: 2, Lego: 2, ManyLegos: 16}


def main() -> None:
    """Measure, print a table, and a JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--renewals", type=int, default=200)
    parser.add_argument("--one-by-one", type=int, default=60, help="renewals by tools that do one at a time")
    parser.add_argument("--quick", action="store_true", help="fewer renewals, within 50 s")
    given = parser.parse_args()
    rates, cpu = {}, 0.0
    with tempfile.TemporaryDirectory() as folder:
        home, webroot = Path(folder), Path(folder) / "webroot"
        webroot.mkdir()
        home.chmod(0o755)  # nginx's workers are another user
        with pebble(home / "pebble", nonce_reject=0) as server:
            answers = challenges(home / "challenges", webroot, server.http_port)
            try:
                for kind in (Ours, Lego, ManyLegos, Certbot):
                    count = given.one_by_one if kind in (Lego, Certbot) else given.renewals
                    count = QUICK[kind] if given.quick else count
                    tool = kind(home / kind.__name__.lower(), server, webroot, count)
                    seconds, used = measured(tool)
                    rates[kind] = 60 * count / seconds
                    if kind is Ours:
                        cpu = used / count
                    print(f"{tool.name}: {count} renewals in {seconds:.1f} s", file=sys.stderr)
            finally:
                answers.terminate()
                answers.wait(10)
    ours = rates[Ours]
    report(
        "execution",
        {
            "ours_per_min": round(ours, 1),
            "certbot_ratio": round(ours / rates[Certbot], 2),
            "lego_sequential_ratio": round(ours / rates[Lego], 2),
            "lego_concurrent_ratio": round(ours / rates[ManyLegos], 2),
            "cpu_s_per_renewal": round(cpu, 4),
        },
        ["certforecast", "acme", "dbos", "cryptography"],
        {
            "renewals": QUICK[Ours] if given.quick else given.renewals,
            "one_by_one": QUICK[Certbot] if given.quick else given.one_by_one,
            **settings_shown(),
        },
    )


def measured(tool: Tool) -> tuple[float, float]:
    """Give the seconds a tool takes for all its sites, and those of a core that it used itself."""
    tool.prepare()
    server = tool.serve()
    try:
        before, start = used(), time.perf_counter()
        tool.renew()
        seconds, spent = time.perf_counter() - start, used() - before
        if missing := tool.missing():
            raise SystemExit(f"{tool.name} left {len(missing)} of {len(tool.names)} behind: {missing[:3]}")
    finally:
        server.terminate()
        server.wait(10)
    return seconds, spent


def used() -> float:
    """Give the seconds of a core that this process and its ended children have used."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(told.ru_utime + told.ru_stime for told in map(resource.getrusage, kinds))


if __name__ == "__main__":
    main()
