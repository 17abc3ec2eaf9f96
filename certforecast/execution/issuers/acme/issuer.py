"""ACME (RFC 8555): orders, and what becomes of them."""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from acme import messages  # noqa: TID253
from cryptography import x509

from certforecast.errors import IssuanceError
from certforecast.execution.issuers import Order
from certforecast.execution.issuers.acme.account import Account
from certforecast.execution.issuers.acme.answers import Answer, Solver, pick, refuse_names
from certforecast.execution.issuers.acme.ari import RenewalInfo
from certforecast.execution.issuers.acme.chains import choose
from certforecast.execution.issuers.acme.client import Client, Pauses, identifiers
from certforecast.execution.issuers.acme.dns01 import Dns01Solver
from certforecast.execution.issuers.acme.http01 import Http01Solver
from certforecast.execution.issuers.acme.problems import code, explained, raise_invalid, words
from certforecast.execution.issuers.acme.revoking import Reason, owner, revoke
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.issuers.acme.tlsalpn01 import TlsAlpn01Solver
from certforecast.execution.issuers.suggestions import Suggestion

__all__ = ["AcmeIssuer"]

_LOG: Final = logging.getLogger(__name__)

#: How a server says that it does not accept what is replaced: by another order, of another account, or not
#: known to it at all. The renewal matters more.
_NOT_REPLACED: Final = ("alreadyReplaced", "malformed", "unauthorized")


class AcmeIssuer:
    """An ACME server. Several threads may use one issuer at once.

    Parameters
    ----------
    settings : AcmeIssuerSettings
        The account key is made on first use, for its owner alone; its account is found again afterwards.
    deadline_s : float, optional
        How long the server may take for an order. Default as in the settings.

    Attributes
    ----------
    account : Account
        Our account there.
    """

    def __init__(self, settings: AcmeIssuerSettings, *, deadline_s: float | None = None) -> None:
        self._settings = settings
        self._deadline_s = settings.deadline_s if deadline_s is None else deadline_s
        self.account = Account(settings)
        self._renewal_info = RenewalInfo(settings)

    @property
    def roots(self) -> Path | None:
        """PEM file of the roots that issued chains lead to; None means the system's."""
        return self._settings.trust_file

    def order(self, csr: bytes) -> Order:
        """Place an order.

        Raises
        ------
        ChallengeError
            If a name is never validated by the challenge of the settings.
        IssuanceError
            If the server cannot be reached or refuses; `code` is the ACME problem's kind.
        """
        return self._order(csr, None)

    def order_replacing(self, csr: bytes, certid: str) -> Order:
        """Place an order that says which certificate it replaces, if the server wants to know.

        Raises
        ------
        ChallengeError, IssuanceError
            As `order`.
        """
        return self._order(csr, certid)

    def suggestion(self, certid: str) -> Suggestion:
        """Ask when a certificate should be renewed; whatever goes wrong is an answer too."""
        return self._renewal_info.ask(certid)

    def _order(self, csr: bytes, replaces: str | None) -> Order:
        with self._explained():
            try:
                return {"url": self._place(csr, replaces)}
            except messages.Error as error:
                if error.code != "accountDoesNotExist":
                    raise
            self.account.forget()  # the server has lost it; it is made anew, once
            return {"url": self._place(csr, replaces)}

    def _place(self, csr: bytes, replaces: str | None) -> str:
        client = self.account.client()
        refuse_names((one.value for one in identifiers(csr)), self._settings.challenge)
        self._refuse_profile(client)
        if replaces is not None and client.wants_replaced:
            try:
                return client.place(csr, self._settings.profile, replaces)
            except messages.Error as error:
                if code(error) not in _NOT_REPLACED:
                    raise
                _LOG.info("ordered without saying what is replaced: %s", words(error))
        return client.place(csr, self._settings.profile)

    def issue(self, order: Order, csr: bytes) -> bytes:
        """Answer the challenges, finalize, and fetch the chain: whatever of this is still to be done.

        Raises
        ------
        ChallengeError
            If a name could not be validated.
        IssuanceError
            If the server cannot be reached, refuses, or takes too long.
        """
        with self._explained():
            acme, pauses = self.account.client(), Pauses(self._deadline_s)
            while True:
                resource, response = acme.order(order["url"], csr)
                match resource.body.status:
                    case messages.STATUS_PENDING:
                        self._authorize(acme, resource.body.authorizations, pauses)
                    case messages.STATUS_READY:
                        self._finalize(acme, resource)
                    case messages.STATUS_VALID if resource.body.certificate:
                        return choose(acme.chains(resource.body.certificate), self._settings.preferred_chain)
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
        found = self.account.state()
        return None if found is None else found.address

    def forget(self, order: Order) -> None:
        """Give up what was validated for an order, so that the next one is validated anew.

        Servers reuse authorizations for days; a client may deactivate them (RFC 8555, section 7.5.2).

        Raises
        ------
        IssuanceError
            If the server cannot be reached or refuses.
        """
        with self._explained():
            acme = self.account.client()
            resource, _ = acme.order(order["url"], b"")
            for url in resource.body.authorizations:
                authorization, _ = acme.authorization(url)
                if authorization.body.status == messages.STATUS_VALID:
                    acme.deactivate_authorization(authorization)

    def revoke(
        self, certificate_pem: bytes, reason: Reason = Reason.unspecified, key_pem: bytes | None = None
    ) -> bool:
        """Revoke a certificate (PEM; of a chain, the first).

        Parameters
        ----------
        key_pem : bytes, optional
            Its private key, which alone entitles to it; default: our account's.

        Returns
        -------
        bool
            False if it was revoked already.

        Raises
        ------
        IssuanceError
            If the server cannot be reached or refuses.
        """
        try:
            certificate = x509.load_pem_x509_certificates(certificate_pem)[0]
        except ValueError as error:
            raise IssuanceError(f"not a certificate in PEM: {error}", code="config") from error
        if key_pem is not None:
            client = owner(self._settings, certificate, key_pem)
        else:
            with self._explained():
                client = self.account.client()
        return revoke(client, self._settings.directory_url, certificate, reason)

    def _authorize(self, acme: Client, urls: Sequence[str], pauses: Pauses) -> None:
        """Have every name of an order validated."""
        solver, key, pending = self._solver(), acme.key, {}
        for url in urls:
            authorization, _ = acme.authorization(url)
            if authorization.body.status == messages.STATUS_PENDING:
                challenge = pick(authorization, solver.kind)
                pending[url] = challenge, Answer(authorization.body.identifier.value, challenge.chall, key)
        with solver.show([answer for _, answer in pending.values()]):
            pauses.restart()
            for url, (challenge, _) in pending.items():
                if challenge.status == messages.STATUS_PENDING:
                    self._answer(acme, url, challenge)
            for url in pending:
                while True:
                    authorization, response = acme.authorization(url)
                    if authorization.body.status != messages.STATUS_PENDING:
                        break
                    pauses.wait(response)
                raise_invalid(authorization)

    def _answer(self, acme: Client, url: str, challenge: messages.ChallengeBody) -> None:
        """Say that a challenge can be looked at. One that was said so before, and unheard, tells a look."""
        try:
            acme.answer_challenge(challenge, challenge.chall.response(acme.key))
        except messages.Error:
            authorization, _ = acme.authorization(url)
            states = [one.status for one in authorization.body.challenges if one.uri == challenge.uri]
            if messages.STATUS_PENDING in states:
                raise

    def _finalize(self, acme: Client, order: messages.OrderResource) -> None:
        """Have the certificate issued. An order no longer ready has lost an answer: a look at it tells."""
        try:
            acme.begin_finalization(order)
        except messages.Error as error:
            if error.code != "orderNotReady":
                raise

    def _solver(self) -> Solver:
        settings = self._settings
        if settings.dns is not None:
            return Dns01Solver(settings.dns)
        if settings.challenge == "tls-alpn-01":
            return TlsAlpn01Solver(settings.tls_port)
        return Http01Solver(settings.webroot, settings.http_port)

    def _refuse_profile(self, client: Client) -> None:
        wanted, offered = self._settings.profile, client.directory.meta.profiles or {}
        if wanted is not None and wanted not in offered:
            raise IssuanceError(
                f"ACME server {self._settings.directory_url} does not offer the profile {wanted!r}, but "
                f"{', '.join(sorted(offered)) or 'none at all'}: name one of these, or none",
                code="invalidProfile",
            )

    def _explained(self) -> AbstractContextManager[None]:
        return explained(self._settings.directory_url)
