"""Where an action's private key waits until it is in service: one folder, for its owner alone."""

import ipaddress
import shutil
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from certforecast.atomic import write_file
from certforecast.errors import ExecutionError

__all__ = ["Staging", "general_name", "new_key", "signing_request"]


def new_key() -> bytes:
    """Make a P-256 private key, as PKCS#8 PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def general_name(name: str) -> x509.GeneralName:
    """Give a host name or IP address as X.509 writes it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def signing_request(key: ec.EllipticCurvePrivateKey, names: Sequence[str]) -> bytes:
    """Make a signing request for `names`, as PEM."""
    # Common names hold at most 64 characters (RFC 5280, ub-common-name); the names that count are below.
    common = [x509.NameAttribute(NameOID.COMMON_NAME, names[0])] if len(names[0]) <= 64 else []
    builder = x509.CertificateSigningRequestBuilder(x509.Name(common)).add_extension(
        x509.SubjectAlternativeName([general_name(name) for name in names]), critical=False
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


class Staging:
    """The staging folder of one action.

    The key is made once and found again by every later step, so that a run that was killed goes on with the
    same key, and no key ever passes through the executor's database.

    Parameters
    ----------
    folder : path
        Made with mode 0700 on first use.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = folder / "privkey.pem"
        self._chain = folder / "fullchain.pem"

    def prepare(self) -> None:
        """Make the folder and the key, unless they are there."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._key.exists():
            write_file(self._key, new_key(), mode=0o600)

    @property
    def key(self) -> bytes:
        """The private key, PEM."""
        return self._read(self._key)

    @property
    def chain(self) -> bytes:
        """The chain as it was staged, PEM, leaf first."""
        return self._read(self._chain)

    def stage(self, chain: bytes) -> None:
        """Put the issued chain beside its key."""
        write_file(self._chain, chain, mode=0o600)

    def csr(self, names: Sequence[str]) -> bytes:
        """Give a signing request for `names` with the staged key, PEM."""
        key = load_pem_private_key(self.key, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ExecutionError(f"{self._key} is not the key that was staged; delete it and make a new plan")
        return signing_request(key, names)

    def clear(self) -> None:
        """Delete the folder and the key in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise ExecutionError(
                f"{path} is gone, so this action cannot go on; make a new plan with 'certforecast plan'",
                code="key_lost",
            ) from error
