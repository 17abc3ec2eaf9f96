"""Debian's pebble and its DNS server, on free ports of loopback."""

import itertools
import json
import os
import shutil
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import trustme

from tests.system.site import wait_for

__all__ = ["Pebble", "free_ports", "pebble"]


class Pebble:
    """A running pebble; every name resolves to 127.0.0.1, where http-01 is looked for at `http_port`."""

    def __init__(self, home: Path, ports: dict[str, int], reuse: int = 0) -> None:
        self.home = home
        self.ports = ports
        self.reuse = reuse
        self._accounts = itertools.count()
        self.ca_file = home / "pebble-tls.pem"
        self.trust_file = home / "pebble-root.pem"
        self.directory_url = f"https://127.0.0.1:{ports['acme']}/dir"
        self.http_port = ports["http"]
        self.tls_port = ports["tls"]
        self.dns_address = f"127.0.0.1:{ports['dns']}"

    def section(self, **changes: Any) -> dict[str, Any]:
        """Give a section of the settings for it, with an account of its own unless validations are reused.

        Told to reuse none, pebble takes one validation in a hundred for done all the same, of its account.
        """
        account = "0" if self.reuse else str(next(self._accounts))
        values = {
            "kind": "acme",
            "directory_url": self.directory_url,
            "account_key": self.home / "accounts" / account / "key.pem",
            "contact": ["mailto:ops@site.test"],
            "http_port": self.http_port,
            "tls_port": self.tls_port,
            "ca_file": self.ca_file,
            "trust_file": self.trust_file,
        }
        return {**values, **changes}

    def dns(self, command: str, **body: Any) -> None:
        """Have the DNS server answer otherwise, as with ``dns("set-servfail", host="a.test")``."""
        url = f"http://127.0.0.1:{self.ports['control']}/{command}"
        request = urllib.request.Request(url, json.dumps(body).encode(), method="POST")
        urllib.request.urlopen(request, timeout=5).close()

    def root(self, number: int = 0) -> bytes:
        """Give a root certificate, PEM."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        url = f"https://127.0.0.1:{self.ports['manage']}/roots/{number}"
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:
            return bytes(answer.read())

    def revoked(self, serial: int) -> int | None:
        """Give the reason why a certificate is revoked, by its serial number; None if it is not."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        url = f"https://127.0.0.1:{self.ports['manage']}/cert-status-by-serial/{serial:x}"
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:
            told = json.load(answer)
            return int(told.get("Reason", 0)) if told["Status"] == "Revoked" else None

    def issued(self) -> int:
        """Count the certificates it issued, from its log."""
        return (self.home / "pebble.log").read_text().count("Issued certificate serial")


@contextmanager
def pebble(
    home: Path,
    *,
    nonce_reject: int = 5,
    blocked: tuple[str, ...] = (),
    reuse: int = 0,
    resolver: str | None = None,
    alternates: int = 0,
    eab: dict[str, str] | None = None,
) -> Iterator[Pebble]:
    """Run pebble for the time of the block.

    Parameters
    ----------
    nonce_reject : int
        Percentage of good nonces that are refused; 0 for clients that ask again once only.
    blocked : tuple of str
        Domains no certificate is issued for.
    reuse : int
        Percentage of names whose validation is reused by later orders of the same account.
    resolver : str, optional
        Another DNS server that pebble asks, and not its own.
    alternates : int
        Roots beside the first, each with a chain of its own.
    eab : dict of str to str, optional
        MAC keys by their identifier; without one that is bound by such a key, no account is made.
    """
    home.mkdir(parents=True, exist_ok=True)
    ports = dict(zip(("acme", "manage", "http", "tls", "dns", "control"), free_ports(6), strict=True))
    server = Pebble(home, ports, reuse)
    ca = trustme.CA()
    ca.cert_pem.write_to_path(server.ca_file)
    own = ca.issue_cert("127.0.0.1", "localhost")
    own.cert_chain_pems[0].write_to_path(home / "tls.pem")
    own.private_key_pem.write_to_path(home / "tls.key")
    (home / "pebble.json").write_text(json.dumps({"pebble": _config(server, blocked, eab)}))
    local = "127.0.0.1"
    dns = [_program("pebble-challtestsrv"), "-dns01", f"{local}:{ports['dns']}"]
    dns += ["-management", f"{local}:{ports['control']}", "-defaultIPv4", local, "-defaultIPv6", ""]
    dns += ["-http01", "", "-https01", "", "-tlsalpn01", ""]
    acme = [_program("pebble"), "-config", str(home / "pebble.json")]
    acme += ["-dnsserver", resolver or server.dns_address]
    environment = os.environ | {
        "PEBBLE_VA_NOSLEEP": "1",
        "PEBBLE_WFE_NONCEREJECT": str(nonce_reject),
        "PEBBLE_AUTHZREUSE": str(reuse),
        "PEBBLE_ALTERNATE_ROOTS": str(alternates),
    }
    with ExitStack() as stack:
        for command, port in ((dns, ports["control"]), (acme, ports["manage"])):
            log = stack.enter_context((home / "pebble.log").open("ab"))
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            stack.callback(_end, process)
            wait_for(lambda port=port: _answers(port), process)
        server.trust_file.write_bytes(server.root())
        yield server


def _config(server: Pebble, blocked: tuple[str, ...], eab: dict[str, str] | None) -> dict[str, Any]:
    return {
        "listenAddress": f"127.0.0.1:{server.ports['acme']}",
        "managementListenAddress": f"127.0.0.1:{server.ports['manage']}",
        "certificate": str(server.home / "tls.pem"),
        "privateKey": str(server.home / "tls.key"),
        "httpPort": server.ports["http"],
        "tlsPort": server.ports["tls"],
        "ocspResponderURL": "",
        "externalAccountBindingRequired": eab is not None,
        "externalAccountMACKeys": eab or {},
        "domainBlocklist": list(blocked),
        "certificateValidityPeriod": 90 * 86400,
    }


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is not installed: run tests/system/packages.sh"
    return found


def free_ports(count: int) -> list[int]:
    """Give ports of loopback that nobody listens on, all different."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(listener.getsockname()[1]) for listener in listeners]


def _answers(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(10)
