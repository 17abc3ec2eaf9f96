"""Scanning: what we collect and store, beside a bare handshake loop, nmap and sslyze.

    python benchmarks/scan.py [--quick]

One HAProxy serves a certificate of its own at each of 2,000 ports of loopback, issued by an intermediate
authority. We shake hands, verify the chain, parse the leaf, and store it all. The ceiling is a threaded loop
of handshakes with Python's ssl that keeps nothing and verifies nothing. nmap runs its ssl-cert script, sslyze
its certificate scan in a virtual environment of its own (it needs older packages), both on 240 of the ports.
All measure in turns, HAProxy on the same cores. A rival that cannot be run here is left out.
"""

import argparse
import contextlib
import os
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import trustme
from report import report

from certforecast.history import History
from certforecast.history.sources.scan import ScanSource

ENDPOINTS = 2000
#: For the slow ones.
FEW = 240
#: Kept between runs: making it takes longer than the measurement.
SSLYZE = Path(tempfile.gettempdir()) / "certforecast-benchmark-sslyze"
SSLYZE_SCRIPT = """
import sys
from sslyze import ScanCommand, Scanner, ServerNetworkLocation, ServerScanRequest
ports = [int(port) for port in sys.argv[1].split(",")]
scanner = Scanner(concurrent_server_scans_limit=10, per_server_concurrent_connections_limit=1)
scanner.queue_scans([
    ServerScanRequest(ServerNetworkLocation("localhost", port, ip_address="127.0.0.1"),
                      scan_commands={ScanCommand.CERTIFICATE_INFO}) for port in ports])
got = sum(1 for result in scanner.get_results()
          if result.scan_result and result.scan_result.certificate_info.result)
assert got == len(ports), got
"""


@contextlib.contextmanager
def endpoints(folder: Path) -> Iterator[tuple[list[int], Path]]:
    """Serve the certificates; yields the ports and the file with the root."""
    authority = trustme.CA()
    issuing = authority.create_child_ca()
    roots = folder / "roots.pem"
    authority.cert_pem.write_to_path(roots)
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(ENDPOINTS)]
    ports = [holder.getsockname()[1] for holder in holders]
    for port in ports:
        issuing.issue_cert("localhost", f"p{port}.example").private_key_and_cert_chain_pem.write_to_path(
            folder / f"{port}.pem"
        )
    for holder in holders:
        holder.close()
    binds = "\n".join(f"  bind 127.0.0.1:{port} ssl crt {folder}/{port}.pem" for port in ports)
    (folder / "haproxy.cfg").write_text(
        "global\n  maxconn 4000\ndefaults\n  mode http\n  timeout client 10s\n  timeout connect 5s\n"
        f"  timeout server 10s\nfrontend all\n{binds}\n  http-request return status 200\n"
    )
    server = subprocess.Popen(["haproxy", "-db", "-q", "-f", folder / "haproxy.cfg"])
    try:
        for _ in range(1200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", ports[-1]), 1):
                break
            time.sleep(0.05)
        yield ports, roots
    finally:
        server.terminate()
        server.wait(20)


def bare(ports: list[int]) -> None:
    """Shake hands with every port, with four threads, and keep nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def shake(port: int) -> None:
        with (
            socket.create_connection(("127.0.0.1", port), 10) as connection,
            context.wrap_socket(connection, server_hostname="localhost"),
        ):
            pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(shake, ports))


def ours(ports: list[int], roots: Path, history: History) -> None:
    """Scan and store."""
    history.ingest(ScanSource([f"127.0.0.1:{port}=localhost" for port in ports], ca_file=roots))


def check(history: History, looks: int) -> None:
    """Make sure that every look saw a valid chain, and that all of it is there."""
    counts = history.counts()
    valid = int(history.tables().observations.chain_status.execute().eq("valid").sum())
    if (valid, counts["observations"], counts["certificates"]) != (looks, looks, ENDPOINTS):
        raise SystemExit(f"of {looks} looks, {valid} saw a valid chain; the store has {counts}")


def nmap(ports: list[int]) -> None:
    """Run nmap's script, at its most eager timing."""
    listed = ",".join(map(str, ports))
    subprocess.run(
        ["nmap", "-n", "-Pn", "-T5", "-p", listed, "--script", "ssl-cert", "-oN", os.devnull, "127.0.0.1"],
        check=True,
        capture_output=True,
    )


def sslyze(ports: list[int]) -> None:
    """Run sslyze's scan of certificates."""
    command = [SSLYZE / "bin" / "python", "-c", SSLYZE_SCRIPT, ",".join(map(str, ports))]
    subprocess.run(command, check=True, capture_output=True, timeout=600)


def sslyze_is_there() -> bool:
    """Install sslyze where it does not disturb us, unless it is there."""
    if not (SSLYZE / "bin" / "python").exists():
        venv.create(SSLYZE, with_pip=True)
    command = [
        SSLYZE / "bin" / "python",
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "sslyze>=6",
    ]
    return subprocess.run(command, capture_output=True, timeout=300).returncode == 0


def rate(work: Callable[[], None], count: int) -> float:
    """Endpoints per second."""
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def main() -> None:
    """Measure in turns; the figures are medians, the ratios medians of the turns' ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    quick = parser.parse_args().quick
    turns = 5 if quick else 15
    with (
        tempfile.TemporaryDirectory() as name,
        endpoints(Path(name)) as (ports, roots),
        History(Path(name) / "history.duckdb") as history,
    ):
        rivals: dict[str, Callable[[], None]] = {
            "scan": lambda: ours(ports, roots, history),
            "bare": lambda: bare(ports),
        }
        slow: dict[str, Callable[[], None]] = {}
        if shutil.which("nmap"):
            slow["nmap"] = lambda: nmap(ports[:FEW])
        if sslyze_is_there():
            slow["sslyze"] = lambda: sslyze(ports[:FEW])
        for work in rivals.values():
            work()
        rates = [{name: rate(work, len(ports)) for name, work in rivals.items()} for _ in range(turns)]
        check(history, (turns + 1) * len(ports))
        for turn in rates[:3]:
            turn |= {name: rate(work, FEW) for name, work in slow.items()}

    def median(name: str, over: str | None = None) -> float:
        return statistics.median(
            turn[name] / (turn[over] if over else 1) for turn in rates if {name, over or name} <= turn.keys()
        )

    figures = {f"{name}_per_s": round(median(name), 1) for name in [*rivals, *slow]}
    figures["ceiling_share"] = round(median("scan", "bare"), 3)
    figures |= {f"{name}_ratio": round(median("scan", name), 2) for name in slow}
    report(
        "scan",
        figures,
        ("certforecast", "cryptography", "pyopenssl"),
        {"quick": quick, "endpoints": ENDPOINTS, "turns": turns, "openssl": ssl.OPENSSL_VERSION},
    )


if __name__ == "__main__":
    sys.exit(main())
