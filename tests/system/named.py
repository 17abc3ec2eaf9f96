"""Debian's BIND on a free port of loopback: resolver, and primary of zones that take signed updates."""

import base64
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import dns.exception
import dns.message
import dns.opcode
import dns.query
import dns.rdatatype

from tests.system.site import wait_for

__all__ = ["Named", "named"]

KEY_NAME = "renewals.key"
_TOP = "$TTL 60\n@ SOA ns.{zone}. ops.{zone}. 1 3600 600 86400 60\n@ NS ns.{zone}.\nns A 127.0.0.1\n"


class Named:
    """A running named."""

    def __init__(self, home: Path, port: int, secret: str) -> None:
        self.home = home
        self.port = port
        self.secret = secret
        self.address = f"127.0.0.1:{port}"
        self.key_file = home / "tsig.secret"

    def section(self, **changes: object) -> dict[str, object]:
        """Give a table ``dns`` for it."""
        values = {
            "provider": "rfc2136",
            "server": self.address,
            "key_name": KEY_NAME,
            "key_file": self.key_file,
            "resolver": self.address,
            "propagation_timeout_s": 10.0,
        }
        return {**values, **changes}

    def texts(self, name: str) -> list[str]:
        """Give the TXT records of a name, in order."""
        answer = dns.query.udp(dns.message.make_query(name, "TXT"), "127.0.0.1", timeout=5, port=self.port)
        return sorted(
            b"".join(record.strings).decode()
            for rrset in answer.answer
            if rrset.rdtype == dns.rdatatype.TXT
            for record in rrset
        )

    def tell(self, zone: str) -> None:
        """Tell a secondary that its primary has changed (NOTIFY, RFC 1996)."""
        notice = dns.message.make_query(zone, "SOA")
        notice.set_opcode(dns.opcode.NOTIFY)
        dns.query.udp(notice, "127.0.0.1", timeout=5, port=self.port)


@contextmanager
def named(
    home: Path,
    zones: dict[str, str],
    *,
    secret: str | None = None,
    policy: str = "zonesub TXT",
    closed: Sequence[str] = (),
    primary: Named | None = None,
) -> Iterator[Named]:
    """Run named for the time of the block.

    Parameters
    ----------
    zones : dict of str to str
        Records of each zone, as in its file, beside those every zone has.
    policy : str
        What the key may change.
    closed : sequence of str
        Zones that nobody may change.
    primary : Named, optional
        Where the zones are fetched from; then this is a secondary, and asks again when it is told to.
    """
    home.mkdir(parents=True)
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = int(free.getsockname()[1])
    server = Named(home, port, secret or base64.b64encode(secrets.token_bytes(32)).decode())
    server.key_file.write_text(server.secret)
    server.key_file.chmod(0o600)
    parts = [
        f'key "{KEY_NAME}" {{ algorithm hmac-sha256; secret "{server.secret}"; }};',
        f'options {{ directory "{home}"; pid-file "{home}/named.pid"; session-keyfile "{home}/session.key";',
        f"  listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion yes;",
        "  dnssec-validation no; minimal-responses yes; notify no; allow-transfer { any; };",
        "}; controls {};",
    ]
    # There is nothing but these zones: with a root of its own it never asks anybody else.
    (home / "root.zone").write_text(
        "$TTL 60\n@ SOA ns. ops. 1 3600 600 86400 60\n@ NS ns.\nns. A 127.0.0.1\n"
    )
    parts.append('zone "." { type primary; file "root.zone"; };')
    for zone, records in zones.items():
        if primary is not None:
            source = f"type secondary; primaries port {primary.port} {{ 127.0.0.1; }};"
        else:
            (home / f"{zone}.zone").write_text(_TOP.format(zone=zone) + records)
            source = f"type primary; update-policy {{ grant {KEY_NAME} {policy}; }};"
        if zone in closed:
            source = "type primary;"
        parts.append(f'zone "{zone}" {{ {source} file "{zone}.zone"; }};')
    (home / "named.conf").write_text("\n".join(parts) + "\n")
    program = shutil.which("named") or shutil.which("named", path="/usr/sbin:/usr/local/sbin")
    assert program, "named is not installed: run tests/system/packages.sh"
    with ExitStack() as stack:
        log = stack.enter_context((home / "named.log").open("ab"))
        command = [program, "-g", "-n", "1", "-c", str(home / "named.conf")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        stack.callback(_end, process)
        wait_for(lambda: _serves(server, next(iter(zones))), process)
        yield server


def _serves(server: Named, zone: str) -> bool:
    try:
        answer = dns.query.udp(
            dns.message.make_query(zone, "SOA"), "127.0.0.1", timeout=0.5, port=server.port
        )
    except (dns.exception.DNSException, OSError):
        return False
    return bool(answer.answer)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(10)
