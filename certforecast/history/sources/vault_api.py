"""The PKI interface of HashiCorp Vault and OpenBao, through hvac.

Paths and answers as in "PKI secrets engine (API)" of both: ``LIST certs``, ``LIST certs/revoked``,
``GET cert/SERIAL``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from cryptography import x509

from certforecast.errors import InputError, SourceError
from certforecast.history.sources.http import Service
from certforecast.history.x509 import split_pem

__all__ = ["ForbiddenError", "Issued", "Mount", "connect"]

_MOUNT: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
_SERIAL: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){0,63}")


class ForbiddenError(SourceError):
    """The token may not do this."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate as a mount keeps it.

    Attributes
    ----------
    der : bytes
        The certificate.
    revoked_at : datetime or None
        When it was revoked, if it was.
    """

    der: bytes
    revoked_at: datetime | None

    @property
    def authority(self) -> bool:
        """Whether it is a CA's, such as the mount's own, which may carry a server's name in Vault."""
        try:
            extensions = x509.load_der_x509_certificate(self.der).extensions
            return extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
            return False


def connect(address: str, token: str, namespace: str | None, ca_file: Path | None) -> Any:
    """Make the adapter of hvac for a server; nothing is sent yet.

    Raises
    ------
    SourceError
        If the address is none.
    """
    import hvac

    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SourceError(f"{address!r} is no address; give one such as https://vault.example.org:8200")
    service = Service(address, ca_file=ca_file)
    # Lists are asked for as GET with ?list=true, which passes every proxy.
    return hvac.Client(
        address.rstrip("/"),
        token,
        session=service.session,
        namespace=namespace,
        timeout=service.timeout_s,
        strict_http=True,
    ).adapter


class Mount:
    """A PKI mount of a server.

    Parameters
    ----------
    adapter : object
        As `connect` gives it; safe to use from several threads.
    path : str
        Of the mount.

    Raises
    ------
    SourceError
        If it can be no path. So do all methods, if the server cannot be reached, refuses or answers
        with something else than it should; `ForbiddenError` if the token may not ask.
    """

    def __init__(self, adapter: Any, path: str) -> None:
        self.path = path.strip("/")
        if not _MOUNT.fullmatch(self.path):
            raise SourceError(f"{path!r} is no path of a mount; give one such as pki or pki/internal")
        self._adapter = adapter

    def serials(self) -> list[str]:
        """List the serial numbers of all certificates, as ``aa:bb``; also what should be one and is not."""
        found = self._list("certs")
        if found is None:
            raise SourceError(f"mount {self.path} lists no certificates; give the path of a PKI mount")
        return found

    def revoked(self) -> list[str]:
        """List the serial numbers of the revoked certificates; none if the server is too old to tell."""
        return self._list("certs/revoked") or []

    def certificate(self, serial: str) -> Issued | None:
        """Fetch a certificate; None if it is gone.

        Raises
        ------
        InputError
            If what is kept is no certificate.
        """
        if not _SERIAL.fullmatch(serial):
            raise InputError("serial number is not in hexadecimal, as in 3f:0a")
        data, _ = self._ask("get", f"cert/{serial}")
        if data is None:
            return None
        pem, revoked = data.get("certificate"), data.get("revocation_time")
        _, der = next(
            split_pem(pem.encode("utf-8", "replace")) if isinstance(pem, str) else iter(()), (0, None)
        )
        if not isinstance(der, bytes):
            raise der or InputError("server gives no certificate for the serial number")
        return Issued(der, _moment(revoked))

    def _list(self, what: str) -> list[str] | None:
        """List keys; None if there is no such path, nothing if the path is empty."""
        data, errors = self._ask("list", what)
        if data is None:
            return None if errors else []
        keys = data.get("keys")
        if not isinstance(keys, list):
            raise SourceError(f"mount {self.path} answers with something else than a list of {what}")
        return [str(key).lower().replace("-", ":") for key in keys]

    def _ask(self, method: str, what: str) -> tuple[dict[str, Any] | None, list[str]]:
        """Give the data of an answer; if nothing is there, None and what the server says of it."""
        from hvac import exceptions

        try:
            answer = getattr(self._adapter, method)(f"/v1/{self.path}/{what}")
        except exceptions.InvalidPath as error:
            return None, error.errors or []
        except exceptions.Forbidden as error:
            raise ForbiddenError(f"{error}; check the token and what its policies allow") from error
        except (exceptions.VaultError, requests.RequestException, RecursionError) as error:
            raise SourceError(
                f"mount {self.path} cannot be read: {error}; check the address, or try later"
            ) from error
        data = answer.get("data") if isinstance(answer, Mapping) else None
        if not isinstance(data, dict):
            raise SourceError(f"mount {self.path} does not answer as Vault does; check the address")
        return data, []


def _moment(seconds: Any) -> datetime | None:
    """Read seconds since 1970; Vault writes 0 for never."""
    if not seconds:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OSError, OverflowError, TypeError, ValueError) as error:
        raise InputError(f"revocation_time {str(seconds)[:40]!r} is no time in seconds") from error
