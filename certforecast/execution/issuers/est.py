"""Enrolment over Secure Transport (RFC 7030), as many CAs for devices and intranets offer it."""

import base64
import binascii
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates
from pydantic import Field, model_validator

from certforecast.clock import Clock
from certforecast.errors import IssuanceError, SourceError
from certforecast.execution.issuers import Issuer, Order
from certforecast.execution.issuers.kept import KeptIssuer, KeptSection
from certforecast.history.sources.tokens import read_token

if TYPE_CHECKING:
    from requests import Response

__all__ = ["EstIssuer", "EstIssuerSettings"]

_TIMEOUT_S: Final = 30.0
#: A server that wants a person's approval first says 202; so long we wait for it.
_PATIENCE_S: Final = 60.0
_PAUSE_S: Final = 5.0
#: Characters of what a server says that an error quotes.
_SAID: Final = 200


class EstIssuerSettings(KeptSection):
    """A server for Enrolment over Secure Transport (RFC 7030)."""

    kind: Literal["est"]
    url: str = Field(
        description="such as https://est.example.org, with /.well-known/est/LABEL if it has labels"
    )
    operation: Literal["simpleenroll", "simplereenroll"] = "simpleenroll"
    user: str | None = Field(None, description="for HTTP authentication ...")
    password_file: Path | None = Field(None, description="... with the password in this file")
    client_certificate: Path | None = Field(None, description="for TLS authentication, with its chain ...")
    client_key: Path | None = Field(None, description="... and its key")
    ca_file: Path | None = Field(None, description="trust roots for the server itself; default the system's")

    @model_validator(mode="after")
    def _whole_identity(self) -> Self:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("give user and password_file, or neither")
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("give client_certificate and client_key, or neither")
        if not self.url.startswith("https://"):
            raise ValueError(f"{self.url} is not https: EST is for no other (RFC 7030, section 3.3)")
        return self

    def open(self, clock: Clock) -> Issuer:
        """Give the issuer of this section."""
        return EstIssuer(self, clock)


class EstIssuer(KeptIssuer):
    """An EST server.

    The same order sends the same request, and what it gave is written down before it is given on. The
    protocol knows no orders: a run that is killed after the server issued and before that is written down
    asks again, and a server that does not know the request for the same issues a second certificate.

    Parameters
    ----------
    settings : EstIssuerSettings
        Its section.
    clock : callable
        Gives the present.
    """

    def __init__(self, settings: EstIssuerSettings, clock: Clock) -> None:
        super().__init__(settings)
        self._settings = settings
        self._clock = clock
        base = settings.url.rstrip("/")
        self._base = base if "/.well-known/est" in base else f"{base}/.well-known/est"

    def order(self, csr: bytes) -> Order:
        """Name an order, once the server has given its CA certificates; nothing is issued yet.

        Raises
        ------
        IssuanceError
            If the request is not sound, or the server cannot be asked.
        """
        order = self._kept.order(csr)
        self._authorities()
        return order

    def issue(self, order: Order, csr: bytes) -> bytes:
        """Have the request enrolled, or give what came of it before.

        Raises
        ------
        IssuanceError
            If the server cannot be asked, refuses, or wants an approval that does not come in a minute.
        """
        kept = self._kept.find(order, csr)
        if (chain := kept.chain) is not None:
            return chain
        return kept.keep(self._enrol(kept.request) + self._authorities())

    def _enrol(self, csr: bytes) -> bytes:
        body = base64.encodebytes(x509.load_pem_x509_csr(csr).public_bytes(Encoding.DER))
        headers = {"Content-Type": "application/pkcs10", "Content-Transfer-Encoding": "base64"}
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            answer = self._ask("POST", self._settings.operation, body, headers)
            if answer.status_code != 202:
                return _certificates(answer)
            pause = self._pause(answer)
            if time.monotonic() + pause > deadline:
                raise IssuanceError(
                    f"{self._base} has not approved the request, and wants to be asked again after "
                    f"{pause:.0f} s: have it approved, and act again",
                    code="pending",
                )
            time.sleep(pause)

    def _authorities(self) -> bytes:
        return _certificates(self._ask("GET", "cacerts"))

    def _ask(
        self, method: str, what: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> "Response":
        import requests

        settings = self._settings
        pair = (str(settings.client_certificate), str(settings.client_key))
        try:
            password = read_token(settings.password_file) if settings.password_file else None
            answer = requests.request(
                method,
                f"{self._base}/{what}",
                data=body,
                headers=headers,
                auth=(settings.user, password) if settings.user and password else None,
                cert=pair if settings.client_certificate else None,
                verify=True if settings.ca_file is None else str(settings.ca_file),
                timeout=_TIMEOUT_S,
                allow_redirects=False,  # a request with a password goes where it was meant to go
            )
        except SourceError as error:
            raise IssuanceError(str(error), code="config") from error
        except (requests.RequestException, OSError) as error:
            raise IssuanceError(f"{self._base} cannot be asked: {error}", code="unreachable") from error
        if answer.status_code in (200, 202):
            return answer
        said = " ".join(answer.text.split())[:_SAID]
        code = {401: "unauthorized", 403: "unauthorized", 400: "rejected", 404: "config"}
        raise IssuanceError(
            f"{self._base}/{what} refuses: {answer.status_code} {said or answer.reason}",
            code=code.get(answer.status_code, "unreachable"),
        )

    def _pause(self, answer: "Response") -> float:
        told = answer.headers.get("Retry-After", "")
        if told.isdigit():
            return float(told)
        try:
            return max((parsedate_to_datetime(told) - self._clock()).total_seconds(), 0.0)
        except (ValueError, TypeError):
            return _PAUSE_S


def _certificates(answer: "Response") -> bytes:
    """Read a ``certs-only`` message (RFC 7030, section 4.2.3)."""
    try:
        found = load_der_pkcs7_certificates(base64.b64decode(b"".join(answer.content.split()), validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm) as error:
        raise IssuanceError(
            f"{answer.url} gives no certificates in PKCS#7, base64: is it an EST server?",
            code="badCertificate",
        ) from error
    return b"".join(each.public_bytes(Encoding.PEM) for each in found)
