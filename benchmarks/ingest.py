"""Importing files into the store: a first time, a second time, and after some of them have grown.

    python benchmarks/ingest.py [--quick] [--certificates N]

Real certificates of the simulator lie in PEM bundles of a thousand (with --single, in a file each). The
command line imports them, in a process of its own whose peak memory is taken. The floor beside it reads every
file and hashes every certificate, and does nothing else.
"""

import argparse
import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

from report import report

from certforecast.history.x509 import split_pem
from certforecast.simulation.ders import make_ders

BUNDLE = 1000


def write(folder: Path, count: int, seed: int, single: bool) -> None:
    """Write certificates into files."""
    ders = make_ders(count, seed=seed)
    for number in range(0, count, BUNDLE):
        some = list(islice(ders, BUNDLE))
        if single:
            (folder / f"{seed}-{number}").mkdir()
            for place, der in enumerate(some):
                (folder / f"{seed}-{number}" / f"{place}.der").write_bytes(der)
        else:
            (folder / f"{seed}-{number}.pem").write_bytes(b"".join(map(pem, some)))


def pem(der: bytes) -> bytes:
    """Wrap a certificate."""
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def ingest(folder: Path, home: Path) -> tuple[float, float, int]:
    """Import a folder; give seconds, the peak of memory in MB, and the new certificates."""
    command = [sys.executable, "-c", "from certforecast.cli import main; main()", "--home", str(home)]
    started = time.perf_counter()
    with (home / "out.json").open("w") as output:
        child = subprocess.Popen([*command, "ingest", "pem", str(folder), "--json"], stdout=output)
        _, status, usage = os.wait4(child.pid, 0)
    took = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"the import ended with {child.returncode}")
    done = json.loads((home / "out.json").read_text())
    return took, usage.ru_maxrss / 1024, done["tables"]["certificates"]["new"]


def floor(folder: Path) -> float:
    """Read every file and hash every certificate; give seconds."""
    started = time.perf_counter()
    for path in folder.rglob("*"):
        if path.suffix == ".pem":
            for _, der in split_pem(path.read_bytes()):
                hashlib.sha256(der).hexdigest()
        elif path.suffix == ".der":
            hashlib.sha256(path.read_bytes()).hexdigest()
    return time.perf_counter() - started


def main() -> None:
    """Measure one import after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="100,000 certificates")
    parser.add_argument("--certificates", type=int, help="how many; default 1,000,000")
    parser.add_argument("--single", action="store_true", help="a file each")
    arguments = parser.parse_args()
    count = arguments.certificates or (100_000 if arguments.quick else 1_000_000)
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name, "files"), Path(name, "home")
        folder.mkdir()
        home.mkdir()
        share = count // cores // BUNDLE * BUNDLE
        count = share * cores
        with ProcessPoolExecutor(cores) as pool:
            for seed in range(cores):
                pool.submit(write, folder, share, seed + 1, arguments.single)
        took, peak, new = ingest(folder, home)
        if new != count:
            raise SystemExit(f"of {count} certificates, {new} arrived")
        again, again_peak, none = ingest(folder, home)
        write(folder, BUNDLE, cores + 1, arguments.single)
        grown, _, more = ingest(folder, home)
        if (none, more) != (0, BUNDLE):
            raise SystemExit(f"a second import gave {none} new certificates, one after growth {more}")
        figures = {
            "certificates": count,
            "ingest_s": round(took, 2),
            "ingest_per_s": round(count / took),
            "peak_mb": round(max(peak, again_peak), 1),
            "second_s": round(again, 2),
            "second_share": round(again / took, 4),
            "grown_s": round(grown, 2),
            "floor_s": round(floor(folder), 2),
            "store_mb": round((home / "history.duckdb").stat().st_size / 1e6, 1),
        }
        figures["floor_ratio"] = round(figures["ingest_s"] / figures["floor_s"], 2)
    settings = {"quick": arguments.quick, "single": arguments.single, "cores": cores}
    report("ingest", figures, ("certforecast", "duckdb", "pyarrow"), settings)


if __name__ == "__main__":
    main()
