"""What an issuer may say about when to renew, and be told of what is renewed (RFC 9773)."""

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from cryptography import x509

from certforecast.execution.issuers import Order

__all__ = ["Replacing", "Suggesting", "Suggestion", "certid", "certid_of"]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An issuer's answer about one certificate.

    Attributes
    ----------
    start, end : datetime or None
        The window in which it should be renewed; None if there is no valid one.
    url : str or None
        Where the window is explained.
    retry_after_s : float
        The issuer is not asked again before.
    problem : str or None
        Why there is no window.
    """

    start: datetime | None
    end: datetime | None
    url: str | None
    retry_after_s: float
    problem: str | None = None


@runtime_checkable
class Suggesting(Protocol):
    """An issuer that says when its certificates should be renewed."""

    def suggestion(self, certid: str) -> Suggestion:
        """Ask about a certificate. Whatever goes wrong is an answer too."""
        ...


@runtime_checkable
class Replacing(Protocol):
    """An issuer that wants to know which certificate an order replaces."""

    def order_replacing(self, csr: bytes, certid: str) -> Order:
        """Place an order as :meth:`~certforecast.execution.issuers.Issuer.order` does.

        An issuer that does not accept what is replaced gets the order without it.
        """
        ...


def certid(key_identifier: bytes, serial: int) -> str:
    """Name a certificate as RFC 9773, section 4.1 does.

    Parameters
    ----------
    key_identifier : bytes
        Of the authority key identifier.
    serial : int
    """
    # The serial as the DER of an INTEGER has it: with a zero byte before a leading bit that is set.
    number = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return ".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=").decode("ascii") for part in (key_identifier, number)
    )


def certid_of(der: bytes) -> str | None:
    """Name a certificate; None if it does not say which key signed it, or cannot be read."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except (ValueError, x509.ExtensionNotFound):
        return None
    if found.key_identifier is None:
        return None
    return certid(found.key_identifier, certificate.serial_number)
