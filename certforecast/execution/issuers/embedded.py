"""A certificate authority of our own, for demos and internal names."""

import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import Field

from certforecast.atomic import create_file, write_file
from certforecast.clock import Clock, system_clock
from certforecast.errors import IssuanceError
from certforecast.execution.issuers import Issuer, IssuerSection, Order
from certforecast.execution.staging import general_name, new_key

__all__ = ["EmbeddedIssuer", "EmbeddedIssuerSettings"]

#: Clocks of clients lag a little.
_BACKDATED: Final = timedelta(minutes=5)
_ROOT_YEARS: Final = 10

_NO_USE: Final = dict.fromkeys(
    (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


class EmbeddedIssuerSettings(IssuerSection):
    """A certificate authority of our own, for demos and internal names."""

    kind: Literal["embedded"]
    directory: Path
    validity_days: float = Field(90.0, gt=0)

    def open(self, clock: Clock) -> Issuer:
        """Give the issuer of this section."""
        return EmbeddedIssuer(self.directory, validity_days=self.validity_days, clock=clock)


class EmbeddedIssuer:
    """A P-256 root that signs leaves itself.

    An order is a serial number, and what was issued for it is kept under ``issued/``: whoever asks again
    gets the same certificate.

    Parameters
    ----------
    directory : path
        Holds ``root/`` (made on first use, its key for the owner alone) and ``issued/SERIAL.pem``.
    validity_days : float
        Lifetime of the certificates it issues.
    clock : callable
        Gives the present.
    """

    def __init__(self, directory: Path, *, validity_days: float = 90.0, clock: Clock = system_clock) -> None:
        self.directory = directory
        self.validity = timedelta(days=validity_days)
        self._clock = clock

    @property
    def roots(self) -> Path:
        """PEM file of the root certificate."""
        path = self.directory / "root" / "cert.pem"
        if not path.exists():
            self._make_root()
        return path

    def order(self, csr: bytes) -> Order:
        """Reserve a serial number."""
        del csr
        return {"serial": format(x509.random_serial_number(), "x")}

    def issue(self, order: Order, csr: bytes) -> bytes:
        """Sign a request, once an order.

        Raises
        ------
        IssuanceError
            If the request cannot be read, its signature does not hold or it names nothing.
        """
        path = self._issued(order["serial"])
        if not path.exists():
            try:
                request = x509.load_pem_x509_csr(csr)
                names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            except ValueError as error:
                raise IssuanceError(f"not a signing request in PEM: {error}", code="badCSR") from error
            except x509.ExtensionNotFound as error:
                raise IssuanceError("the signing request names nothing", code="badCSR") from error
            if not request.is_signature_valid:
                raise IssuanceError("the signing request's signature does not hold", code="badCSR")
            written = [str(name.value) for name in names]
            now = self._clock()
            self.certify(
                request.public_key(),
                written,
                not_before=now - _BACKDATED,
                not_after=now - _BACKDATED + self.validity,
                serial=int(order["serial"], 16),
            )
        return path.read_bytes()

    def certify(
        self,
        public_key: CertificatePublicKeyTypes,
        names: Sequence[str],
        *,
        not_before: datetime,
        not_after: datetime,
        serial: int | None = None,
    ) -> x509.Certificate:
        """Sign a leaf of any validity and keep it under ``issued/``."""
        root = x509.load_pem_x509_certificate(self.roots.read_bytes())
        key = self._root_key()
        common = [x509.NameAttribute(NameOID.COMMON_NAME, names[0])] if len(names[0]) <= 64 else []
        builder = (
            x509.CertificateBuilder(
                subject_name=x509.Name(common),
                issuer_name=root.subject,
                public_key=public_key,
                serial_number=x509.random_serial_number() if serial is None else serial,
                not_valid_before=not_before.replace(microsecond=0),
                not_valid_after=not_after.replace(microsecond=0),
            )
            .add_extension(
                x509.SubjectAlternativeName([general_name(name) for name in names]), critical=not common
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**{**_NO_USE, "digital_signature": True}), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
            )
        )
        leaf = builder.sign(key, hashes.SHA256())
        path = self._issued(format(leaf.serial_number, "x"))
        path.parent.mkdir(exist_ok=True)
        create_file(path, leaf.public_bytes(Encoding.PEM))
        return leaf

    def _issued(self, serial: str) -> Path:
        return self.directory / "issued" / f"{int(serial, 16):x}.pem"

    def _root_key(self) -> ec.EllipticCurvePrivateKey:
        key = load_pem_private_key((self.directory / "root" / "key.pem").read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise IssuanceError(
                f"{self.directory}/root/key.pem is not a P-256 key; restore it", code="config"
            )
        return key

    def _make_root(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        pem = new_key()
        key = load_pem_private_key(pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - it was made a line above
        now = self._clock().replace(microsecond=0)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "certforecast embedded CA")])
        public = key.public_key()
        root = (
            x509.CertificateBuilder(
                subject_name=subject,
                issuer_name=subject,
                public_key=public,
                serial_number=x509.random_serial_number(),
                not_valid_before=now - _BACKDATED,
                not_valid_after=now + timedelta(days=365.25 * _ROOT_YEARS),
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.KeyUsage(**{**_NO_USE, "key_cert_sign": True, "crl_sign": True}), critical=True
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(key, hashes.SHA256())
        )
        draft = self.directory / f".root.{secrets.token_hex(4)}"
        draft.mkdir()
        write_file(draft / "key.pem", pem, mode=0o600)
        write_file(draft / "cert.pem", root.public_bytes(Encoding.PEM))
        with suppress(OSError):  # another process was first: its root stands
            draft.rename(self.directory / "root")
        shutil.rmtree(draft, ignore_errors=True)
