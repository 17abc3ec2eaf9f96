"""What authorities gave, by order: whoever asks again gets the same, and no second certificate is issued.

::

    DIRECTORY/ORDER/
      request.pem      the request that was sent first; the same order sends no other
      begun            since when the authority may have been asked
      note             what the authority gave instead of a certificate, to ask for it later
      chain.pem        what it gave, leaf first
"""

import re
import secrets
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import Field

from certforecast.atomic import create_file
from certforecast.clock import parse_moment
from certforecast.errors import IssuanceError
from certforecast.execution.issuers import IssuerSection, Order

__all__ = ["Kept", "KeptIssuer", "KeptOrder", "KeptSection", "chain_of", "names_of"]

_ID: Final = re.compile(r"[0-9a-f]{32}")


class KeptSection(IssuerSection):
    """What can be set for every issuer that keeps what its authority gave."""

    directory: Path = Field(description="where what it gave is kept, by order")
    trust_file: Path | None = Field(None, description="trust roots of issued chains; default the system's")


class KeptIssuer:
    """An issuer that keeps what its authority gave.

    Parameters
    ----------
    settings : KeptSection
        Its section.
    """

    def __init__(self, settings: KeptSection) -> None:
        self._kept = Kept(settings.directory)
        self._roots = settings.trust_file

    @property
    def roots(self) -> Path | None:
        """PEM file of the roots that issued chains lead to; None means the system's."""
        return self._roots


class Kept:
    """Orders and what came of them, in a folder.

    Parameters
    ----------
    directory : path
        Made on first use.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def order(self, csr: bytes) -> Order:
        """Give a new order; nothing is written or sent yet.

        Raises
        ------
        IssuanceError
            If the request cannot be read, its signature does not hold or it names nothing.
        """
        names_of(csr)
        return {"order": secrets.token_hex(16)}

    def find(self, order: Order, csr: bytes) -> "KeptOrder":
        """Give what is kept of an order, made by `order` here or in a process before.

        Raises
        ------
        IssuanceError
            If it is no such order, or its folder cannot be written.
        """
        name = order.get("order")
        if not isinstance(name, str) or not _ID.fullmatch(name):
            raise IssuanceError("this is no order of this issuer: make a new plan", code="config")
        folder = self._directory / name
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            create_file(folder / "request.pem", csr, mode=0o600)
        except OSError as error:
            raise IssuanceError(
                f"{folder} cannot be written: {error.strerror}; without it an order could be issued twice, "
                "so none is sent",
                code="permission",
            ) from error
        return KeptOrder(folder)


class KeptOrder:
    """What is kept of one order.

    Parameters
    ----------
    folder : path
        Holds the request already.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def id(self) -> str:
        """The order's name: 32 hex digits."""
        return self._folder.name

    @property
    def request_path(self) -> Path:
        """Where the request is."""
        return self._folder / "request.pem"

    @property
    def request(self) -> bytes:
        """The request to send, PEM."""
        return self.request_path.read_bytes()

    @property
    def chain(self) -> bytes | None:
        """The chain, if the authority has given it."""
        path = self._folder / "chain.pem"
        return path.read_bytes() if path.exists() else None

    def begin(self, now: datetime) -> datetime | None:
        """Note that the authority is about to be asked; give since when it may have been before."""
        path = self._folder / "begun"
        if path.exists():
            return parse_moment(path.read_text(encoding="ascii").strip())
        create_file(path, now.isoformat().encode("ascii") + b"\n", mode=0o600)
        return None

    def note(self, text: str | None = None) -> str | None:
        """Keep what the authority gave to ask for the certificate with, and give what is kept."""
        path = self._folder / "note"
        if text is not None:
            create_file(path, text.encode(), mode=0o600)
        return path.read_text(encoding="utf-8") if path.exists() else None

    def keep(self, chain: bytes) -> bytes:
        """Keep a chain, if it is for the request, and give what is kept: the first stands.

        Raises
        ------
        IssuanceError
            If it is no chain, or is for another key.
        """
        create_file(self._folder / "chain.pem", chain_of(chain, self.request), mode=0o600)
        return (self._folder / "chain.pem").read_bytes()


def names_of(csr: bytes) -> list[str]:
    """Give the names that a request (PEM) is for.

    Raises
    ------
    IssuanceError
        If it cannot be read, its signature does not hold or it names nothing.
    """
    try:
        request = x509.load_pem_x509_csr(csr)
        found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except ValueError as error:
        raise IssuanceError(f"not a signing request in PEM: {error}", code="badCSR") from error
    except x509.ExtensionNotFound as error:
        raise IssuanceError("the signing request names nothing", code="badCSR") from error
    if not request.is_signature_valid:
        raise IssuanceError("the signing request's signature does not hold", code="badCSR")
    return [str(name.value) for name in found]


def chain_of(pem: bytes, csr: bytes) -> bytes:
    """Give the chain out of what an authority gave: the leaf of the request first, no root at the end.

    Raises
    ------
    IssuanceError
        If it holds no certificate, or none for the request.
    """
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise IssuanceError(
            f"the authority gave no certificate in PEM: {error}", code="badCertificate"
        ) from error
    wanted = _public_bytes(x509.load_pem_x509_csr(csr))
    leaves = [certificate for certificate in found if _public_bytes(certificate) == wanted]
    if not leaves:
        raise IssuanceError(
            "the authority gave a certificate for another key than the request's: look at its log",
            code="badCertificate",
        )
    others = [each for each in found if each != leaves[0] and each.subject != each.issuer]
    return b"".join(each.public_bytes(Encoding.PEM) for each in (leaves[0], *dict.fromkeys(others)))


def _public_bytes(holder: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
