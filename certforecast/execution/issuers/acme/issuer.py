"""ACME (RFC 8555), challenges by http-01: orders and what becomes of them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from acme import challenges, messages  # noqa: TID253
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from josepy.jwk import JWK, JWKEC

from certforecast.atomic import create_file
from certforecast.errors import IssuanceError
from certforecast.execution.issuers import ChallengeError, Order
from certforecast.execution.issuers.acme.client import Client, Pauses, connect
from certforecast.execution.issuers.acme.http01 import serve, write_below
from certforecast.execution.issuers.acme.problems import explained, raise_invalid
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.staging import new_key

__all__ = ["AcmeIssuer"]

_DEADLINE_S: Final = 90.0


class AcmeIssuer:
    """An ACME server.

    Parameters
    ----------
    settings : AcmeIssuerSettings
        The account key is made on first use, for its owner alone; its account is found again afterwards.
    deadline_s : float
        How long the server may take for an order.
    """

    def __init__(self, settings: AcmeIssuerSettings, *, deadline_s: float = _DEADLINE_S) -> None:
        self._settings = settings
        self._deadline_s = deadline_s
        self._client: Client | None = None

    @property
    def roots(self) -> Path | None:
        """PEM file of the roots that issued chains lead to; None means the system's."""
        return self._settings.trust_file

    def order(self, csr: bytes) -> Order:
        """Place an order.

        Raises
        ------
        IssuanceError
            If the server cannot be reached or refuses; `code` is the ACME problem's kind.
        """
        with explained(self._settings.directory_url):
            return {"url": self._connected().new_order(csr).uri}

    def issue(self, order: Order, csr: bytes) -> bytes:
        """Answer the challenges, finalize, and fetch the chain: whatever of this is still to be done.

        Raises
        ------
        ChallengeError
            If a name could not be validated.
        IssuanceError
            If the server cannot be reached, refuses, or takes too long.
        """
        with explained(self._settings.directory_url):
            acme, pauses = self._connected(), Pauses(self._deadline_s)
            while True:
                resource, response = acme.order(order["url"], csr)
                match resource.body.status:
                    case messages.STATUS_PENDING:
                        self._authorize(acme, resource.body.authorizations, pauses)
                    case messages.STATUS_READY:
                        acme.begin_finalization(resource)
                    case messages.STATUS_VALID if resource.body.certificate:
                        return acme.chain(resource.body.certificate)
                    case messages.STATUS_INVALID:
                        acme.raise_failed(resource)
                pauses.wait(response)

    def find_account(self) -> str | None:
        """Give the address of the key's account, and make none (RFC 8555, section 7.3.1).

        Returns
        -------
        str or None
            None if there is no key yet: the first order makes one.

        Raises
        ------
        IssuanceError
            If the server cannot be reached, knows no such account (``accountDoesNotExist``), or refuses it.
        """
        if not self._settings.account_key.exists():
            return None
        with explained(self._settings.directory_url):
            return self._opened().find_account()

    def forget(self, order: Order) -> None:
        """Give up what was validated for an order, so that the next one is validated anew.

        Servers reuse authorizations for days; a client may deactivate them (RFC 8555, section 7.5.2).

        Raises
        ------
        IssuanceError
            If the server cannot be reached or refuses.
        """
        with explained(self._settings.directory_url):
            acme = self._connected()
            resource, _ = acme.order(order["url"], b"")
            for url in resource.body.authorizations:
                authorization, _ = acme.authorization(url)
                if authorization.body.status == messages.STATUS_VALID:
                    acme.deactivate_authorization(authorization)

    def _authorize(self, acme: Client, urls: Sequence[str], pauses: Pauses) -> None:
        """Have every name of an order validated."""
        pending = {}
        for url in urls:
            authorization, _ = acme.authorization(url)
            if authorization.body.status == messages.STATUS_PENDING:
                pending[url] = _http01(authorization)
        key = acme.net.key
        with self._publish({c.chall: c.chall.validation(key) for c in pending.values()}):
            for challenge in pending.values():
                if challenge.status == messages.STATUS_PENDING:
                    acme.answer_challenge(challenge, challenge.chall.response(key))
            for url in pending:
                while True:
                    authorization, response = acme.authorization(url)
                    if authorization.body.status != messages.STATUS_PENDING:
                        break
                    pauses.wait(response)
                raise_invalid(authorization)

    def _publish(self, answers: dict[challenges.HTTP01, str]) -> AbstractContextManager[None]:
        if self._settings.webroot is not None:
            return write_below(self._settings.webroot, answers)
        return serve(self._settings.http_port, answers)

    def _connected(self) -> Client:
        if self._client is None:
            self._client = self._opened()
            self._client.sign_in(self._settings.contact)
        return self._client

    def _opened(self) -> Client:
        settings = self._settings
        return connect(settings.directory_url, self._account_key(), settings.ca_file)

    def _account_key(self) -> JWK:
        path = self._settings.account_key
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            create_file(path, new_key(), mode=0o600)
        try:
            return JWKEC(key=load_pem_private_key(path.read_bytes(), None))
        except (ValueError, TypeError, OSError) as error:
            raise IssuanceError(
                f"account key {path} cannot be read as a PEM elliptic-curve key: restore it, or delete it to "
                "have a new account made",
                code="config",
            ) from error


def _http01(authorization: messages.AuthorizationResource) -> messages.ChallengeBody:
    for challenge in authorization.body.challenges:
        if isinstance(challenge.chall, challenges.HTTP01):
            return challenge
    raise ChallengeError(
        f"the server offers no http-01 challenge for {authorization.body.identifier.value} "
        "(it never does for wildcards); order this name elsewhere",
        code="unsupported",
    )
