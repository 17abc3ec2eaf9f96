"""acme2certifier, a real ACME server that speaks ARI, on a free port of loopback.

It is GPL-3 and lives in an environment of its own (``make test`` makes it from acme2certifier.txt).
Challenges are not validated: it looks for them on port 80 only.
"""

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.system.pebble import free_ports
from tests.system.site import wait_for

__all__ = ["Acme2Certifier", "acme2certifier"]

_APP = Path(__file__).with_name("acme2certifier_app.py")


class Acme2Certifier:
    """A running acme2certifier; what it issued is kept over a restart.

    Attributes
    ----------
    port : int
    trust_file : path
        Its root.
    """

    def __init__(self, home: Path, port: int) -> None:
        self.home, self.port = home, port
        self.trust_file = home / "root.pem"
        self._orders = home / "orders.jsonl"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def directory_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/directory"

    def section(self, **changes: Any) -> dict[str, Any]:
        """Give a section of the settings for it."""
        values = {
            "kind": "acme",
            "directory_url": self.directory_url,
            "account_key": self.home / "account" / "key.pem",
            "contact": ["mailto:ops@site.test"],
            "http_port": free_ports(1)[0],
            "trust_file": self.trust_file,
        }
        return {**values, **changes}

    def orders(self) -> list[dict[str, Any]]:
        """Give the payloads of the orders it got."""
        return [json.loads(line) for line in self._orders.read_text().splitlines()]

    def restart(self, *, early: bool = False, threshold: float = 60.0, retry_after: int = 86400) -> None:
        """Start it with other windows.

        Parameters
        ----------
        early : bool
            Have it ask for all certificates to be renewed at once.
        threshold : float
            Percentage of the lifetime at which windows begin; they end with it.
        retry_after : int
            Seconds until windows should be asked for again.
        """
        self.stop()
        text = _SETTINGS.format(home=self.home, early=early, threshold=threshold, retry_after=retry_after)
        (self.home / "acme_srv.cfg").write_text(text)
        python = Path(os.environ.get("ACME2CERTIFIER", f"{sys.prefix}/acme2certifier")) / "bin" / "python"
        assert python.exists(), f"{python} is not there: run make test, which makes its environment"
        environment = {
            "PATH": os.environ["PATH"],
            "ACME_SRV_CONFIGFILE": str(self.home / "acme_srv.cfg"),
            "ACME2CERTIFIER_I_KNOW_THE_RISK": "1",
        }
        with (self.home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(python), "-P", str(_APP), str(self.port), str(self._orders)],
                env=environment,
                cwd=self.home,
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers, self._process, 60)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(self.directory_url, timeout=5) as answer:
            return bool(answer.status == 200)
        return False


@contextmanager
def acme2certifier(home: Path, **windows: Any) -> Iterator[Acme2Certifier]:
    """Run acme2certifier for the time of the block; `windows` as for :meth:`Acme2Certifier.restart`."""
    (home / "certs").mkdir(parents=True)
    server = Acme2Certifier(home, free_ports(1)[0])
    server._orders.touch()
    _make_ca(home)
    try:
        server.restart(**windows)
        yield server
    finally:
        server.stop()


def _make_ca(home: Path) -> None:
    """Make the root it issues with, and the revocation list without which it does not start."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "acme2certifier test root")])
    now = datetime.now(UTC).replace(microsecond=0)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    root = (
        x509.CertificateBuilder(
            issuer_name=name,
            subject_name=name,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(days=1),
            not_valid_after=now + timedelta(days=3650),
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                **usage,
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    revoked = x509.CertificateRevocationListBuilder(name, now, now + timedelta(days=30))
    (home / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    (home / "root.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    (home / "root.crl").write_bytes(revoked.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))


_SETTINGS = """
[DEFAULT]
debug: False

[CAhandler]
handler_module: acme2certifier.cahandlers.openssl_ca_handler
issuing_ca_key: {home}/root.key
issuing_ca_cert: {home}/root.pem
issuing_ca_crl: {home}/root.crl
cert_validity_days: 90
cert_save_path: {home}/certs

[DBhandler]
handler: wsgi
dbfile: {home}/acme.db

[Challenge]
challenge_validation_disable: True

[Renewalinfo]
renewal_force: {early}
renewalthreshold_pctg: {threshold}
retry_after_timeout: {retry_after}
"""
