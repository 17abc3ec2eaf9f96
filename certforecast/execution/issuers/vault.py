"""The PKI of HashiCorp Vault or OpenBao: requests are signed by a role."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field

from certforecast.clock import Clock
from certforecast.errors import InputError, IssuanceError, SourceError
from certforecast.execution.issuers import Issuer, Order
from certforecast.execution.issuers.kept import KeptIssuer, KeptOrder, KeptSection, names_of
from certforecast.execution.vault_client import VaultSection, explained, login
from certforecast.history.names import is_ip
from certforecast.history.sources.vault_api import Mount

__all__ = ["VaultIssuer", "VaultIssuerSettings"]

#: Certificates looked through after an order was cut off.
_SEARCHED: Final = 20_000
_ABREAST: Final = 8
#: Vault sets the beginning of a certificate back by 30 s, and clocks differ a little.
_SET_BACK: Final = timedelta(minutes=5)


class VaultIssuerSettings(VaultSection, KeptSection):
    """The PKI of HashiCorp Vault or OpenBao."""

    kind: Literal["vault"]
    mount: str = Field("pki", description="path of the PKI mount")
    role: str = Field(description="that signs requests")
    ttl_hours: float | None = Field(None, gt=0, description="lifetime; default the role's")

    def open(self, clock: Clock) -> Issuer:
        """Give the issuer of this section."""
        return VaultIssuer(self, clock)


class VaultIssuer(KeptIssuer):
    """A role of a PKI mount.

    Vault knows no orders: it signs whenever it is asked. So the request and the moment are written down
    before, and the chain after. A run that was killed between asking and writing looks for what Vault
    issued: a certificate of the request's key, not older than the order. A role with ``no_store``, a token
    that may not list ``certs``, or a mount with more than 20,000 certificates cannot be looked through:
    then a second one is issued, and the first is never used.

    Parameters
    ----------
    settings : VaultIssuerSettings
        Its section.
    clock : callable
        Gives the present.
    """

    def __init__(self, settings: VaultIssuerSettings, clock: Clock) -> None:
        super().__init__(settings)
        self._settings = settings
        self._clock = clock

    def order(self, csr: bytes) -> Order:
        """Name an order, once the token is known to be good; nothing is issued yet.

        Raises
        ------
        IssuanceError
            If the request is not sound, or Vault cannot be reached or refuses us.
        """
        order = self._kept.order(csr)
        client = login(self._settings, IssuanceError)
        with explained(self._settings, IssuanceError):
            client.auth.token.lookup_self()
        return order

    def issue(self, order: Order, csr: bytes) -> bytes:
        """Have the role sign the request, or give what it signed before.

        Raises
        ------
        IssuanceError
            If Vault cannot be reached or refuses.
        """
        kept = self._kept.find(order, csr)
        if (chain := kept.chain) is not None:
            return chain
        client = login(self._settings, IssuanceError)
        begun = kept.begin(self._clock())
        if begun is not None and (found := self._found(client, kept, begun)) is not None:
            return kept.keep(found)
        return kept.keep(self._sign(client, kept.request))

    def _sign(self, client: Any, csr: bytes) -> bytes:
        settings, names = self._settings, names_of(csr)
        # Roles that do not take the names of the request take these.
        wanted = {
            "alt_names": ",".join(name for name in names if not is_ip(name)),
            "ip_sans": ",".join(filter(is_ip, names)),
        }
        if settings.ttl_hours is not None:
            wanted["ttl"] = f"{round(settings.ttl_hours * 3600)}s"
        with explained(settings, IssuanceError):
            answer = client.secrets.pki.sign_certificate(
                settings.role, csr.decode("ascii"), names[0], wanted, mount_point=settings.mount
            )
        data = answer.get("data") if isinstance(answer, Mapping) else None
        if not isinstance(data, dict) or not isinstance(data.get("certificate"), str):
            raise IssuanceError(
                f"Vault at {settings.address} gives no certificate: check mount and role",
                code="badCertificate",
            )
        return _joined(data["certificate"], data.get("ca_chain") or [data.get("issuing_ca") or ""])

    def _found(self, client: Any, kept: KeptOrder, begun: datetime) -> bytes | None:
        """Look for what was issued for an order before it could be written down."""
        request = x509.load_pem_x509_csr(kept.request)
        mount = Mount(client.adapter, self._settings.mount)
        try:
            serials = mount.serials()
            if len(serials) > _SEARCHED:
                return None
            with ThreadPoolExecutor(_ABREAST) as pool:
                leaves = [leaf for leaf in pool.map(lambda each: _leaf(mount, each), serials) if leaf]
        except SourceError:
            return None
        for leaf in leaves:
            fresh = leaf.not_valid_before_utc >= begun - _SET_BACK
            if fresh and leaf.public_key() == request.public_key():
                with explained(self._settings, IssuanceError):
                    path = f"{self._settings.mount}/cert/ca_chain"
                    answer = client.read(path) or {}
                return _joined(
                    leaf.public_bytes(Encoding.PEM).decode("ascii"),
                    [str((answer.get("data") or {}).get("certificate") or "")],
                )
        return None


def _leaf(mount: Mount, serial: str) -> x509.Certificate | None:
    try:
        issued = mount.certificate(serial)
        return x509.load_der_x509_certificate(issued.der) if issued is not None else None
    except SourceError:
        raise
    except (InputError, ValueError):
        return None


def _joined(leaf: str, others: list[str]) -> bytes:
    return "\n".join(part.strip() for part in (leaf, *others) if part).encode("ascii") + b"\n"
