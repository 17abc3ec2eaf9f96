"""A sandbox: real TLS endpoints on loopback, with a past, and with the faults that certificates have."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Final, Self

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certforecast.clock import Clock, system_clock
from certforecast.errors import CertForecastError, InputError
from certforecast.execution.issuers.embedded import EmbeddedIssuer
from certforecast.execution.verification import handshake
from certforecast.planning.plan import Endpoint
from certforecast.simulation.sites import LIFETIME, Site, sites

__all__ = ["Sandbox"]

#: Seconds for all endpoints to start, and for one to end.
_START_S: Final = 30.0
_END_S: Final = 3.0

_CONF: Final = """\
# renew_before_expiry = 30 days
version = 5.8.0
archive_dir = {tree}/archive/{name}
cert = {tree}/live/{name}/cert.pem
privkey = {tree}/live/{name}/privkey.pem
chain = {tree}/live/{name}/chain.pem
fullchain = {tree}/live/{name}/fullchain.pem

[renewalparams]
authenticator = webroot
webroot_path = {tree}/webroot,
server = https://ca.sandbox.test/directory
key_type = ecdsa
"""


class Sandbox:
    """Fourteen endpoints as child processes; they end with the ``with`` block, or with this process.

    ::

        home/ca/                            the embedded issuer's own folder
        home/letsencrypt/                   a tree as certbot keeps it: archive/ live/ renewal/
        home/tls/NAME/{fullchain,privkey}.pem   what an endpoint loads
        home/run/NAME.{pid,port,log}

    Four sites are healthy, four have hours or days left, two expired yesterday, three were renewed but
    serve the old certificate still (one of them expired two hours ago), and one, `broken`, is near its end
    and ignores reloads.

    Parameters
    ----------
    home : path
        A folder that is empty or not there yet.
    seed : int
        The same seed gives the same past; keys, ports and the present differ.
    clock : callable
        Gives the present. TLS clients go by the clock of the machine.

    Attributes
    ----------
    endpoints : list of Endpoint
        Where the sites are served; filled on entering.
    hosts : list of dict
        Their inventory, rows of the table ``hosts``.
    tree : Path
        The certbot tree.
    roots : Path
        PEM file of the root that clients trust; made on entering.
    broken : str
        The site whose reload does nothing.

    Raises
    ------
    InputError
        On entering, if `home` is in use.
    CertForecastError
        On entering, if an endpoint does not start.
    """

    def __init__(self, home: Path, *, seed: int = 7, clock: Clock = system_clock) -> None:
        self.home = home.absolute()
        self.seed = seed
        self.clock = clock
        self.sites = tuple(sites(clock(), seed))
        self.tree = self.home / "letsencrypt"
        self.broken = next(site.name for site in self.sites if site.kind == "deaf")
        self.hosts = [_host(site) for site in self.sites]
        self.endpoints: list[Endpoint] = []
        first = min(site.issued[0] for site in self.sites)
        self._issuer = EmbeddedIssuer(self.home / "ca", clock=lambda: first - timedelta(days=30))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        if self.home.exists() and any(self.home.iterdir()):
            raise InputError(f"{self.home} is not empty: give the sandbox a folder of its own")
        (self.home / "run").mkdir(parents=True)
        self.roots = self._issuer.roots
        rng = Random(self.seed)  # its own, so that serials do not hang on how histories are drawn
        for site in self.sites:
            self._write_history(site, rng)
            self._deploy(site, site.served)
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        for site in self.sites:
            if site.served != len(site.issued) - 1:
                self._deploy(site, len(site.issued) - 1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def settings(self, home: Path | None = None) -> dict[str, Any]:
        """Give the sections ``issuers``, ``installers`` and ``executor`` of settings, and `home` if given."""
        folder = f"{self.home}/tls/{{name}}"
        sections: dict[str, Any] = {
            "issuers": {"sandbox": {"kind": "embedded", "directory": self.home / "ca"}},
            "installers": {
                "sandbox": {
                    "kind": "files",
                    "certificate": f"{folder}/fullchain.pem",
                    "key": f"{folder}/privkey.pem",
                    "pid_file": f"{self.home}/run/{{name}}.pid",
                    "signal": "HUP",
                }
            },
            "executor": {"issuer": "sandbox", "installer": "sandbox", "verify_timeout_s": 3.0},
        }
        return sections if home is None else {"home": home, **sections}

    def outages(self) -> list[str]:
        """Name the sites that a client would refuse now, by real handshakes."""
        with ThreadPoolExecutor(8) as threads:
            served = threads.map(lambda one: handshake(one, roots=self.roots, timeout_s=5.0), self.endpoints)
            looks = list(zip(self.endpoints, served, strict=True))
        return [endpoint.server_name for endpoint, look in looks if not look.chain_ok]

    def _write_history(self, site: Site, rng: Random) -> None:
        """Write a lineage of the certbot tree, each file as old as its certificate."""
        archive, live = self.tree / "archive" / site.name, self.tree / "live" / site.name
        for folder in (archive, live, self.tree / "renewal"):
            folder.mkdir(parents=True, exist_ok=True)
        chain = self.roots.read_bytes()
        for number, issued in enumerate(site.issued, start=1):
            key = ec.generate_private_key(ec.SECP256R1())
            leaf = self._issuer.certify(
                key.public_key(),
                [site.name],
                not_before=issued,
                not_after=issued + LIFETIME,
                serial=rng.getrandbits(127) + 1,
            ).public_bytes(Encoding.PEM)
            key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            contents = {"cert": leaf, "chain": chain, "fullchain": leaf + chain, "privkey": key_pem}
            for kind, content in contents.items():
                path = archive / f"{kind}{number}.pem"
                path.touch(mode=0o600 if kind == "privkey" else 0o644)
                path.write_bytes(content)
                _date(path, issued)
        for kind in contents:
            link = live / f"{kind}.pem"
            link.symlink_to(f"../../archive/{site.name}/{kind}{number}.pem")
            _date(link, site.issued[-1])
        conf = self.tree / "renewal" / f"{site.name}.conf"
        conf.write_text(_CONF.format(tree=self.tree, name=site.name), encoding="utf-8")
        _date(conf, site.issued[-1])

    def _deploy(self, site: Site, generation: int) -> None:
        """Copy a certificate to where its endpoint loads it from."""
        folder = self.home / "tls" / site.name
        folder.mkdir(parents=True, exist_ok=True)
        for kind, mode in (("fullchain", 0o644), ("privkey", 0o600)):
            path = folder / f"{kind}.pem"
            path.touch(mode=mode)
            path.write_bytes((self.tree / "archive" / site.name / f"{kind}{generation + 1}.pem").read_bytes())

    def _start(self) -> None:
        for site in self.sites:
            folder, run = self.home / "tls" / site.name, self.home / "run" / site.name
            command = [sys.executable, "-m", "certforecast.simulation.endpoint"]
            command += ["--certificate", f"{folder}/fullchain.pem", "--key", f"{folder}/privkey.pem"]
            command += ["--pid-file", f"{run}.pid", "--port-file", f"{run}.port"]
            command += ["--ignore-hup"] if site.kind == "deaf" else []
            with Path(f"{run}.log").open("wb") as log:
                self._processes[site.name] = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
        deadline = time.monotonic() + _START_S
        self.endpoints = [
            Endpoint(host="127.0.0.1", port=self._port(site.name, deadline), server_name=site.name)
            for site in self.sites
        ]

    def _port(self, name: str, deadline: float) -> int:
        """Wait until an endpoint is ready; it says on which port."""
        run = self.home / "run"
        while not (run / f"{name}.port").exists():
            if self._processes[name].poll() is not None or time.monotonic() > deadline:
                last = (run / f"{name}.log").read_text(errors="replace").strip().splitlines()[-1:]
                raise CertForecastError(
                    f"endpoint {name} of the sandbox did not start: {' '.join(last) or 'too slow'};"
                    f" see {run / name}.log, and try again"
                )
            time.sleep(0.01)
        return int((run / f"{name}.port").read_text(encoding="ascii"))

    def _end(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()


def _host(site: Site) -> dict[str, Any]:
    entered = site.issued[0] + timedelta(days=1)
    return {
        "host": site.name,
        "owner": site.owner,
        "environment": site.environment,
        "criticality": site.criticality,
        "automation": site.automation,
        "issuer": "sandbox",
        "installer": "sandbox",
        "valid_from": entered,
        "known_at": entered,
    }


def _date(path: Path, moment: datetime) -> None:
    os.utime(path, (moment.timestamp(), moment.timestamp()), follow_symlinks=False)
