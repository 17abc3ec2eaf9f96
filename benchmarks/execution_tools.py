"""The tools that benchmarks/execution.py measures, each with sites of its own in an nginx of its own."""

import json
import os
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from certforecast.execution import Executor
from certforecast.execution.issuers.embedded import EmbeddedIssuer
from certforecast.execution.staging import new_key
from certforecast.execution.verification import handshake
from certforecast.history import History
from certforecast.history.x509 import fingerprint
from certforecast.planning.plan import Action, Endpoint, Plan, Probabilities, action_id, plan_id
from certforecast.settings import Settings
from tests.system.pebble import Pebble

EMAIL = "ops@bench.test"
LEFT = timedelta(days=5)


class Tool(ABC):
    """Sites with a certificate that is about to expire, served by nginx, and a way to renew them all."""

    name = ""

    def __init__(self, folder: Path, server: Pebble, webroot: Path, count: int) -> None:
        self.folder, self.server, self.webroot = folder, server, webroot
        self.names = [f"{self.name.replace(' ', '-')}-{number:03}.test" for number in range(count)]
        self.authority = EmbeddedIssuer(folder / "old-ca")
        self.before = {name: self.deploy(name) for name in self.names}
        self.port = free_port()
        self.config = folder / "nginx.conf"

    @abstractmethod
    def files(self, name: str) -> tuple[Path, Path]:
        """Say where nginx reads a site's chain and key."""

    @abstractmethod
    def prepare(self) -> None:
        """Make what the tool needs to have before; not measured."""

    @abstractmethod
    def renew(self) -> None:
        """Renew every site, and have nginx serve it."""

    def deploy(self, name: str) -> str:
        """Put a certificate with a few days left where nginx reads it, and give its fingerprint."""
        chain, key = self.files(name)
        pem, now = new_key(), datetime.now(UTC)
        leaf = self.authority.certify(
            load_pem_private_key(pem, None).public_key(),  # type: ignore[arg-type]
            [name],
            not_before=now + LEFT - timedelta(days=90),
            not_after=now + LEFT,
        )
        for path, content in ((chain, leaf.public_bytes(Encoding.PEM)), (key, pem)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return fingerprint(leaf.public_bytes(Encoding.DER))

    def serve(self) -> "subprocess.Popen[bytes]":
        """Start nginx."""
        sites = "\n".join(
            f"server {{ listen 127.0.0.1:{self.port} ssl; server_name {name};"
            f" ssl_certificate {chain}; ssl_certificate_key {key}; return 204; }}"
            for name in self.names
            for chain, key in [self.files(name)]
        )
        return nginx(self.folder, self.config, f"server_names_hash_bucket_size 128;\n{sites}")

    def reload(self) -> list[str]:
        """Give the command that has nginx load what is new."""
        return ["nginx", "-c", str(self.config), "-p", str(self.folder), "-s", "reload"]

    def environment(self) -> dict[str, str]:
        """Have programs trust the ACME server."""
        trust = str(self.server.ca_file)
        return os.environ | {"REQUESTS_CA_BUNDLE": trust, "LEGO_CA_CERTIFICATES": trust}

    def missing(self) -> list[str]:
        """List the sites that do not serve a new certificate of the ACME server."""

        def late(name: str) -> bool:
            endpoint = Endpoint(host="127.0.0.1", port=self.port, server_name=name)
            seen = handshake(endpoint, roots=self.server.trust_file)
            return not seen.chain_ok or seen.fingerprint == self.before[name]

        deadline = time.monotonic() + 20
        left = self.names
        with ThreadPoolExecutor(8) as threads:
            while True:
                left = [name for name, is_late in zip(left, threads.map(late, left), strict=True) if is_late]
                if not left or time.monotonic() > deadline:
                    return left
                time.sleep(0.2)


class Ours(Tool):
    """certforecast: renewed, installed, proven by three handshakes each, and recorded."""

    name = "certforecast"
    workers = 16

    def files(self, name: str) -> tuple[Path, Path]:
        """Say where nginx reads a site's chain and key."""
        return self.folder / "tls" / name / "fullchain.pem", self.folder / "tls" / name / "privkey.pem"

    def prepare(self) -> None:
        """Make what it needs to have before."""
        both = self.folder / "roots.pem"
        both.write_bytes(self.authority.roots.read_bytes() + self.server.trust_file.read_bytes())
        files = f"{self.folder}/tls/{{name}}"
        self.settings = Settings(
            home=self.folder / "home",
            issuers={"acme": self.server.section(webroot=self.webroot, trust_file=both)},
            installers={
                "nginx": {
                    "kind": "nginx",
                    "certificate": f"{files}/fullchain.pem",
                    "key": f"{files}/privkey.pem",
                    "config": str(self.config),
                    "prefix": str(self.folder),
                }
            },
            executor={"workers": self.workers},
        )
        now = datetime.now(UTC)
        actions = tuple(self._action(name, rank, now) for rank, name in enumerate(self.names, start=1))
        plan = Plan(
            id=plan_id(now, actions),
            created_at=now,
            as_of=now,
            expires_at=now + timedelta(hours=1),
            actions=actions,
        )
        self.plan = plan.signed(self.settings.home)

    def _action(self, name: str, rank: int, now: datetime) -> Action:
        return Action(
            id=action_id("renew", self.before[name], now),
            rank=rank,
            kind="renew",
            lineage=self.before[name],
            name=name,
            fingerprint=self.before[name],
            names=(name,),
            endpoints=(Endpoint(host="127.0.0.1", port=self.port, server_name=name),),
            not_after=now + LEFT,
            probabilities=Probabilities(on_time=0, slipped=0, failed=1, retired=0),
            expected_loss=1.0,
            expected_loss_averted=1.0,
            cost=0.1,
            issuer="acme",
            installer="nginx",
            reasons=("five days left of 90",),
        )

    def renew(self) -> None:
        """Renew every site."""
        with History(self.settings.store_path) as history:
            results = Executor(self.settings, history).run(self.plan, execute=True)
        failed = [f"{result.name}: {result.detail}" for result in results if result.status != "verified"]
        if failed:
            raise SystemExit(f"{len(failed)} of ours failed: {failed[:3]}")


class Certbot(Tool):
    """``certbot renew`` of Debian, webroot, with a deploy hook that reloads nginx."""

    name = "certbot"

    def files(self, name: str) -> tuple[Path, Path]:
        """Say where nginx reads a site's chain and key."""
        return self._live(name) / "fullchain.pem", self._live(name) / "privkey.pem"

    def _live(self, name: str) -> Path:
        return self.folder / "conf" / "live" / name

    def _command(self, *words: str) -> list[str]:
        folders = [
            f"--{kind}-dir={self.folder / kind.replace('config', 'conf')}"
            for kind in ("config", "work", "logs")
        ]
        return ["/usr/bin/certbot", *words, *folders, "--non-interactive"]

    def prepare(self) -> None:
        """Make what it needs to have before."""
        register = self._command(
            "register", "--server", self.server.directory_url, "--agree-tos", "-m", EMAIL
        )
        run(register, self.environment())
        (account,) = (self.folder / "conf" / "accounts").glob("*/*/*/meta.json")
        for name in self.names:
            chain, key = (path.read_bytes() for path in self.files(name))
            shutil.rmtree(self._live(name))
            self._live(name).mkdir()
            archive = self.folder / "conf" / "archive" / name
            archive.mkdir(parents=True)
            for kind, content in (("cert", chain), ("chain", chain), ("fullchain", chain), ("privkey", key)):
                (archive / f"{kind}1.pem").write_bytes(content)
                (self._live(name) / f"{kind}.pem").symlink_to(f"../../archive/{name}/{kind}1.pem")
            lines = ["version = 2.1.0", f"archive_dir = {archive}"]
            lines += [
                f"{kind} = {self._live(name)}/{kind}.pem"
                for kind in ("cert", "privkey", "chain", "fullchain")
            ]
            lines += ["[renewalparams]", f"account = {account.parent.name}", "authenticator = webroot"]
            lines += [f"webroot_path = {self.webroot},", f"server = {self.server.directory_url}"]
            lines += ["key_type = ecdsa", "[[webroot_map]]", f"{name} = {self.webroot}"]
            conf = self.folder / "conf" / "renewal" / f"{name}.conf"
            conf.parent.mkdir(exist_ok=True)
            conf.write_text("\n".join(lines) + "\n")

    def renew(self) -> None:
        """Renew every site."""
        hook = " ".join(self.reload())
        run(self._command("renew", "--no-random-sleep-on-renew", "--deploy-hook", hook), self.environment())


class Lego(Tool):
    """``lego renew`` of Debian, a process a site, webroot, with a hook that reloads nginx."""

    name = "lego"
    at_once = 1

    def files(self, name: str) -> tuple[Path, Path]:
        """Say where nginx reads a site's chain and key."""
        folder = self.folder / "lego" / "certificates"
        return folder / f"{name}.crt", folder / f"{name}.key"

    def _command(self, name: str, *words: str) -> list[str]:
        shared = ["--server", self.server.directory_url, "--email", EMAIL, "--accept-tos"]
        shared += ["--path", str(self.folder / "lego"), "--http", "--http.webroot", str(self.webroot)]
        return ["lego", *shared, "--domains", name, *words]

    def prepare(self) -> None:
        """Make what it needs to have before."""
        run(self._command("lego-account.test", "run"), self.environment())
        for name in self.names:
            chain, _ = self.files(name)
            about = {"domain": name, "certUrl": "https://x.test/1", "certStableUrl": "https://x.test/1"}
            chain.with_suffix(".json").write_text(json.dumps(about))

    def renew(self) -> None:
        """Renew every site."""

        # A reload for one may find a pair that another lego is writing: then the hook tries again.
        hook, command = self.folder / "reload.sh", " ".join(self.reload())
        hook.write_text(f"#!/bin/sh\nfor _ in 1 2 3 4 5; do {command} 2>/dev/null && exit; sleep 0.2; done\n")
        hook.chmod(0o755)

        def one(name: str) -> None:
            words = ("renew", "--days", "60", "--no-random-sleep", "--renew-hook", str(hook))
            run(self._command(name, *words), self.environment())

        with ThreadPoolExecutor(self.at_once) as threads:
            list(threads.map(one, self.names))


class ManyLegos(Lego):
    """As many legos at once as we have workers."""

    name = "lego at once"
    at_once = Ours.workers


def challenges(folder: Path, webroot: Path, port: int) -> "subprocess.Popen[bytes]":
    """Serve the web root where the ACME server looks for answers."""
    return nginx(folder, folder / "nginx.conf", f"server {{ listen 127.0.0.1:{port}; root {webroot}; }}")


def nginx(folder: Path, config: Path, sites: str) -> "subprocess.Popen[bytes]":
    """Start an nginx of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    temps = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config.write_text(
        f"daemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nworker_processes 1;\n"
        f"events {{ worker_connections 512; }}\nhttp {{\naccess_log off;\n{temps}{sites}\n}}\n"
    )
    process = subprocess.Popen(["nginx", "-c", str(config), "-p", str(folder)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not (folder / "nginx.pid").exists() or not (folder / "nginx.pid").read_text().strip():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"nginx did not start: see {folder}/error.log")
        time.sleep(0.05)
    return process


def run(command: Sequence[str], environment: dict[str, str]) -> None:
    """Run a program to its end; what it says is shown if it fails."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3600, check=False)
    if done.returncode:
        raise SystemExit(
            f"{command[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )


def free_port() -> int:
    """Give a port of loopback that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def settings_shown() -> dict[str, Any]:
    """Give what a reader must know of how it was measured."""
    told = subprocess.run(["/usr/bin/certbot", "--version"], capture_output=True, text=True, check=True)
    lego = subprocess.run(["lego", "--version"], capture_output=True, text=True, check=True)
    return {"certbot": told.stdout.split()[-1], "lego": lego.stdout.split()[2], "workers": Ours.workers}
