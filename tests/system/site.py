"""One real site for tests of the executor: a TLS endpoint as a child process, its files, and plans for it."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from certforecast.errors import InstallationError
from certforecast.execution.checks import leaf_fingerprint
from certforecast.execution.issuers.embedded import EmbeddedIssuer
from certforecast.execution.staging import new_key
from certforecast.execution.verification import Served, handshake
from certforecast.planning.plan import Action, Endpoint, Plan, Probabilities, action_id, plan_id
from certforecast.settings import Settings

START_S = 20.0


class Site:
    """A site whose certificate has a day left, on a server that reloads by SIGHUP.

    Everything lives below `home`: ``ca/`` (the embedded issuer), ``tls/NAME/`` and ``run/``.
    """

    def __init__(self, home: Path, name: str = "www.site.test", *, deaf: bool = False) -> None:
        self.home, self.name, self.deaf = home, name, deaf
        self.issuer = EmbeddedIssuer(home / "ca")
        self.roots = self.issuer.roots
        self.certificate, self.key = (
            home / "tls" / name / f"{kind}.pem" for kind in ("fullchain", "privkey")
        )
        self.pid_file = home / "run" / f"{name}.pid"
        self.endpoint = Endpoint(host="127.0.0.1", port=1, server_name=name)
        self.before = self.deploy()

    def pair(self, left: timedelta = timedelta(days=1)) -> tuple[bytes, bytes]:
        """Give a certificate with so much time left and its key, both PEM."""
        key_pem = new_key()
        now = datetime.now(UTC)
        leaf = self.issuer.certify(
            load_pem_private_key(key_pem, None).public_key(),  # type: ignore[arg-type]
            [self.name],
            not_before=now + left - timedelta(days=90),
            not_after=now + left,
        )
        return leaf.public_bytes(Encoding.PEM), key_pem

    def deploy(self, left: timedelta = timedelta(days=1)) -> str:
        """Put a certificate with so much time left where the server reads it, and give its fingerprint."""
        chain_pem, key_pem = self.pair(left)
        self.certificate.parent.mkdir(parents=True, exist_ok=True)
        self.certificate.write_bytes(chain_pem)
        self.key.write_bytes(key_pem)
        self.key.chmod(0o600)
        return leaf_fingerprint(chain_pem)

    @contextmanager
    def served(self) -> Iterator["Site"]:
        """Run the server for the time of the block."""
        run = self.pid_file.parent
        run.mkdir(exist_ok=True)
        port_file = run / f"{self.name}.port"
        command = [sys.executable, "-m", "certforecast.simulation.endpoint"]
        command += ["--certificate", str(self.certificate), "--key", str(self.key)]
        command += ["--pid-file", str(self.pid_file), "--port-file", str(port_file)]
        process = subprocess.Popen([*command, *(["--ignore-hup"] if self.deaf else [])])
        try:
            wait_for(port_file.exists, process)
            port = int(port_file.read_text())
            self.endpoint = Endpoint(host="127.0.0.1", port=port, server_name=self.name)
            yield self
        finally:
            process.terminate()
            process.wait(10)

    def look(self) -> Served:
        return handshake(self.endpoint, roots=self.roots)

    def issued(self) -> int:
        """Count the certificates that the embedded issuer ever signed."""
        return len(list((self.home / "ca" / "issued").glob("[!.]*.pem")))

    def settings(self, **sections: Any) -> Settings:
        issuers = {"ca": {"kind": "embedded", "directory": self.home / "ca"}}
        files = {
            "kind": "files",
            "certificate": f"{self.home}/tls/{{name}}/fullchain.pem",
            "key": f"{self.home}/tls/{{name}}/privkey.pem",
            "pid_file": f"{self.home}/run/{{name}}.pid",
        }
        # Whoever does not hear is not waited for; the others may be slow on a busy machine.
        patience = {"verify_timeout_s": 2.0 if self.deaf else 10.0}
        executor = {**patience, **sections.pop("executor", {})}
        defaults = {"home": self.home / "home", "issuers": issuers, "installers": {"files": files}}
        return Settings(**{**defaults, "executor": executor, **sections})

    def plan(self, *actions: Action) -> Plan:
        """Give a plan signed with the key of the executor's home folder."""
        return plan_of(*actions).signed(self.home / "home")

    def in_place(self) -> str:
        """Give the fingerprint of the certificate that the server's file holds now."""
        try:
            return leaf_fingerprint(self.certificate.read_bytes())
        except (OSError, InstallationError):
            return self.before

    def action(self, **changes: Any) -> Action:
        as_of = datetime.now(UTC)
        kind = changes.get("kind", "renew")
        values = {
            "id": action_id(kind, self.before, as_of),
            "rank": 1,
            "kind": kind,
            "lineage": self.before,
            "name": self.name,
            "fingerprint": self.before if kind == "install" else self.in_place(),
            "names": (self.name,),
            "endpoints": (self.endpoint,),
            "not_after": as_of + timedelta(days=1),
            "probabilities": Probabilities(on_time=0, slipped=0, failed=1, retired=0),
            "expected_loss": 10.0,
            "expected_loss_averted": 9.0,
            "cost": 1.0,
            "issuer": "ca",
            "installer": "files",
            "reasons": ("one day left of 90",),
        }
        return Action(**{**values, **changes})


def plan_of(*actions: Action) -> Plan:
    now = datetime.now(UTC)
    ranked = tuple(action.model_copy(update={"rank": rank}) for rank, action in enumerate(actions, start=1))
    return Plan(
        id=plan_id(now, ranked),
        created_at=now,
        as_of=now,
        expires_at=now + timedelta(hours=1),
        actions=ranked,
    )


class Prober(threading.Thread):
    """Shakes hands every 20 ms as a client that verifies, and keeps what was refused."""

    def __init__(self, endpoint: Endpoint, roots: Path) -> None:
        super().__init__(daemon=True)
        self.endpoint, self.roots = endpoint, roots
        self.looks: list[str] = []
        self.refused: list[Served] = []
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.is_set():
            seen = handshake(self.endpoint, roots=self.roots)
            if seen.chain_ok and seen.fingerprint is not None:
                self.looks.append(seen.fingerprint)
            else:
                self.refused.append(seen)
            self._end.wait(0.02)

    def __enter__(self) -> "Prober":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join(10)


def nginx_section(home: Path, binary: str, config: str = "nginx.conf") -> dict[str, Any]:
    """Settings of an installer for an nginx that lives in a folder."""
    return {
        "kind": "nginx",
        "certificate": f"{home}/tls/{{name}}/fullchain.pem",
        "key": f"{home}/tls/{{name}}/privkey.pem",
        "config": f"{home}/{config}",
        "prefix": str(home),
        "binary": binary,
    }


def wait_for(ready: Any, process: "subprocess.Popen[Any]", seconds: float = START_S) -> None:
    """Wait until a child process is ready."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, f"{process.args} ended with {process.returncode}"
        assert time.monotonic() < deadline, f"{process.args} was not ready in {seconds} s"
        time.sleep(0.02)
