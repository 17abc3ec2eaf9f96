"""ACME (RFC 8555), challenges by http-01: certbot's ``acme`` under a thin layer of ours."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

import requests
from acme import challenges, client, errors, messages  # noqa: TID253
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from josepy.jwa import ES256
from josepy.jwk import JWK, JWKEC
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from certforecast.atomic import create_file
from certforecast.errors import IssuanceError
from certforecast.execution.issuers import ChallengeError, Order
from certforecast.execution.issuers.acme.http01 import serve, write_below
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.staging import new_key

__all__ = ["AcmeIssuer", "raise_invalid"]

#: ``acme`` tries a rejected nonce twice. A server that rejects 30 % then fails most orders of ten requests.
#: With 24 tries one that rejects 60 % fails an order in 20 000 (with 12 it would be one in 50).
_NONCE_TRIES: Final = 24
_BUSY: Final = (requests.codes.too_many_requests, requests.codes.service_unavailable)
_NETWORK_S: Final = 20
_DEADLINE_S: Final = 90.0
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0


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
        self._client: _Client | None = None

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
        with self._explained():
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
        with self._explained():
            acme, pauses = self._connected(), _Pauses(self._deadline_s)
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
        with self._explained():
            return self._opened().find_account()

    def forget(self, order: Order) -> None:
        """Give up what was validated for an order, so that the next one is validated anew.

        Servers reuse authorizations for days; a client may deactivate them (RFC 8555, section 7.5.2).

        Raises
        ------
        IssuanceError
            If the server cannot be reached or refuses.
        """
        with self._explained():
            acme = self._connected()
            resource, _ = acme.order(order["url"], b"")
            for url in resource.body.authorizations:
                authorization, _ = acme.authorization(url)
                if authorization.body.status == messages.STATUS_VALID:
                    acme.deactivate_authorization(authorization)

    def _authorize(self, acme: "_Client", urls: Sequence[str], pauses: "_Pauses") -> None:
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

    def _connected(self) -> "_Client":
        if self._client is None:
            self._client = self._opened()
            self._client.sign_in(self._settings.contact)
        return self._client

    def _opened(self) -> "_Client":
        key = self._account_key()
        trust = self._settings.ca_file
        net = _Network(
            key=key,
            alg=ES256,
            verify_ssl=True if trust is None else str(trust),  # type: ignore[arg-type] # requests takes both
            user_agent="certforecast",
            timeout=_NETWORK_S,
        )
        return _Client(client.ClientV2.get_directory(self._settings.directory_url, net), net)

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

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what ``acme`` and requests raise into `IssuanceError`."""
        where = f"ACME server {self._settings.directory_url}"
        try:
            yield
        except messages.Error as error:
            raise IssuanceError(f"{where}: {_words(error)}", code=_code(error)) from error
        except requests.RequestException as error:
            raise IssuanceError(f"{where} cannot be reached: {error}", code="unreachable") from error
        except errors.ClientError as error:
            raise IssuanceError(
                f"{where} answered with no ACME problem: {error}", code="serverInternal"
            ) from error
        except errors.Error as error:
            raise IssuanceError(f"{where}: {error}", code="protocol") from error


class _Network(client.ClientNetwork):
    """Retries rejected nonces for longer than once, and keeps for how long a busy server sends us away."""

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        for _ in range(_NONCE_TRIES - 1):
            try:
                return self._post_once(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return self._post_once(*args, **kwargs)

    @classmethod
    def _check_response(
        cls, response: requests.Response, content_type: str | None = None
    ) -> requests.Response:
        try:
            return super()._check_response(response, content_type)
        except (messages.Error, errors.ClientError) as error:
            pause = _retry_after(response)
            if response.status_code not in _BUSY or pause is None:
                raise
            problem = (
                error if isinstance(error, messages.Error) else messages.Error.with_code("serverInternal")
            )
            raise IssuanceError(
                f"{response.url} answered {response.status_code}: {_words(problem)}; "
                f"it asks to try again after {pause:.0f} s",
                code=_code(problem),
            ) from error


class _Client(client.ClientV2):
    """Resources by their address, without the full second that ``acme`` sleeps before its first look."""

    def sign_in(self, contact: Sequence[str]) -> None:
        """Find the key's account, or have one made."""
        wanted = messages.NewRegistration(contact=tuple(contact), terms_of_service_agreed=True)
        try:
            self.new_account(wanted)
        except errors.ConflictError as found:
            self.net.account = messages.RegistrationResource(body=wanted, uri=found.location)

    def find_account(self) -> str:
        """Find the key's account without making one."""
        nothing = messages.RegistrationResource(body=messages.NewRegistration())
        return str(self.query_registration(nothing).uri)

    def order(self, url: str, csr: bytes) -> tuple[messages.OrderResource, requests.Response]:
        response = self._post_as_get(url)
        body = messages.Order.from_json(response.json())
        return messages.OrderResource(body=body, uri=url, csr_pem=csr, authorizations=[]), response

    def authorization(self, url: str) -> tuple[messages.AuthorizationResource, requests.Response]:
        response = self._post_as_get(url)
        return self._authzr_from_response(response, uri=url), response

    def chain(self, url: str) -> bytes:
        return bytes(self._post_as_get(url).content)

    def raise_failed(self, order: messages.OrderResource) -> None:
        """Say why an order failed: by the challenge that did, if one did."""
        for url in order.body.authorizations:
            raise_invalid(self.authorization(url)[0])
        if order.body.error is not None:
            raise order.body.error
        raise IssuanceError(f"order {order.uri} failed, and the server does not say why", code="invalid")


class _Pauses:
    """Pauses that grow from 50 ms to 1 s, heed ``Retry-After``, and end."""

    def __init__(self, deadline_s: float) -> None:
        self._seconds = deadline_s
        self._deadline = time.monotonic() + deadline_s
        self._next = _FIRST_PAUSE_S

    def wait(self, response: requests.Response) -> None:
        pause = max(self._next, _retry_after(response) or 0.0)
        if time.monotonic() + pause > self._deadline:
            raise IssuanceError(
                f"the order was not done within {self._seconds:g} s; try again", code="timeout"
            )
        time.sleep(pause)
        self._next = min(self._next * 1.5, _LONGEST_PAUSE_S)


def _http01(authorization: messages.AuthorizationResource) -> messages.ChallengeBody:
    for challenge in authorization.body.challenges:
        if isinstance(challenge.chall, challenges.HTTP01):
            return challenge
    raise ChallengeError(
        f"the server offers no http-01 challenge for {authorization.body.identifier.value} "
        "(it never does for wildcards); order this name elsewhere",
        code="unsupported",
    )


def raise_invalid(authorization: messages.AuthorizationResource) -> None:
    """Raise why an authorization failed, if it did.

    Raises
    ------
    ChallengeError
        With the kind of the challenge's problem as its code (RFC 8555, section 6.7).
    """
    if authorization.body.status == messages.STATUS_VALID:
        return
    name = authorization.body.identifier.value
    for challenge in authorization.body.challenges:
        if challenge.error is not None:
            raise ChallengeError(
                f"{name} could not be validated: {_words(challenge.error)}", code=_code(challenge.error)
            )
    if authorization.body.status != messages.STATUS_PENDING:
        raise ChallengeError(
            f"the authorization for {name} is {authorization.body.status.name}", code="invalid"
        )


def _retry_after(response: requests.Response) -> float | None:
    """Give the seconds a server asks us to wait (RFC 9110, section 10.2.3), if it does so legibly."""
    value = response.headers.get("Retry-After")
    try:
        return None if value is None else Retry().parse_retry_after(value)
    except InvalidHeader:
        return None


def _code(error: messages.Error) -> str:
    return str(error.typ).rpartition(":")[2]


def _words(error: messages.Error) -> str:
    return f"{error.detail or error.title or error.description or 'no detail given'} ({_code(error)})"
