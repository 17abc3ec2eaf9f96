"""Speaking ACME: certbot's ``acme`` under a thin layer of ours."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import requests
from acme import client, errors, jws, messages  # noqa: TID253
from cryptography import x509
from josepy.errors import DeserializationError
from josepy.json_util import field
from josepy.jwa import ES256, JWASignature
from josepy.jwk import JWK
from requests.adapters import HTTPAdapter

from certforecast.errors import IssuanceError
from certforecast.execution.issuers.acme.persisting import BusyError, persist, retry_after
from certforecast.execution.issuers.acme.problems import code, raise_invalid, words

__all__ = ["Client", "Network", "Pauses", "connect", "identifiers"]

#: ``acme`` tries a rejected nonce twice. A server that rejects 30 % then fails most orders of ten requests.
#: With 24 tries one that rejects 60 % fails an order in 20 000 (with 12 it would be one in 50).
_NONCE_TRIES: Final = 24
_BUSY: Final = (requests.codes.too_many_requests, requests.codes.service_unavailable)
_NETWORK_S: Final = 20.0
_PATIENCE_S: Final = 60.0
#: Kept open, for as many threads.
_CONNECTIONS: Final = 32
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0


class _NewOrder(messages.NewOrder):
    """An order that says which certificate it replaces (RFC 9773, section 5)."""

    replaces: str | None = field("replaces", omitempty=True)


class _Session(requests.Session):
    """Looks up proxies and trust roots in the environment once a server, and not for every request."""

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[tuple[str | None, Any], Any] = {}

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        if proxies or stream or cert:
            return super().merge_environment_settings(url, proxies, stream, verify, cert)
        key = urlsplit(str(url)).netloc, verify
        if key not in self._found:
            self._found[key] = super().merge_environment_settings(url, proxies, stream, verify, cert)
        return dict(self._found[key])


class Network(client.ClientNetwork):
    """Retries rejected nonces for longer than once, and what passes by itself while we have patience.

    Attributes
    ----------
    patience_s : float
        No request is made again so long after it was made first.
    """

    patience_s: float = _PATIENCE_S

    def get(self, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request that needs no signature."""
        get = super().get
        return persist(lambda: get(url, *args, **kwargs), url=url, patience_s=self.patience_s)

    def post(self, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a signed request."""
        return persist(lambda: self._post_signed(url, *args, **kwargs), url=url, patience_s=self.patience_s)

    def _post_signed(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a signed request, with another nonce for as long as they are rejected."""
        for _ in range(_NONCE_TRIES - 1):
            try:
                return self._post_once(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return self._post_once(*args, **kwargs)

    def _get_nonce(self, url: str, new_nonce_url: str) -> str:
        """Take a nonce; of several threads that see the last one, the others ask for more."""
        while True:
            try:
                return super()._get_nonce(url, new_nonce_url)
            except KeyError:
                continue

    @classmethod
    def _check_response(
        cls, response: requests.Response, content_type: str | None = None
    ) -> requests.Response:
        try:
            return super()._check_response(response, content_type)
        except errors.ConflictError:
            # An account that exists is no error; any other conflict says itself what it is.
            if "Location" not in response.headers and (problem := _problem(response)) is not None:
                raise problem from None
            raise
        except (messages.Error, errors.ClientError) as error:
            pause = retry_after(response)
            if response.status_code not in _BUSY or pause is None:
                raise
            told = error if isinstance(error, messages.Error) else messages.Error.with_code("serverInternal")
            raise BusyError(
                f"{response.url} answered {response.status_code}: {words(told)}",
                code=code(told),
                seconds=pause,
            ) from error


class Client(client.ClientV2):
    """Resources by their address, without the full second that ``acme`` sleeps before its first look."""

    @property
    def key(self) -> JWK:
        """The key that requests are signed with."""
        return cast("JWK", self.net.key)  # `connect` gives one

    def make_account(self, wanted: messages.NewRegistration) -> None:
        """Have an account made for the key, unless it has one."""
        try:
            self.new_account(wanted)
        except errors.ConflictError as found:
            self.net.account = messages.RegistrationResource(body=wanted, uri=found.location)

    def find_account(self) -> messages.RegistrationResource:
        """Find the key's account without making one."""
        nothing = messages.RegistrationResource(body=messages.NewRegistration())
        return self.query_registration(nothing)

    def place(self, csr: bytes, profile: str | None = None, replaces: str | None = None) -> str:
        """Place an order for what a signing request (PEM) names, and give its address."""
        wanted = _NewOrder(identifiers=identifiers(csr), profile=profile, replaces=replaces)
        return str(self._post(self.directory["newOrder"], wanted).headers["Location"])

    @property
    def wants_replaced(self) -> bool:
        """Whether orders may say which certificate they replace."""
        return "renewalInfo" in self.directory.to_partial_json()

    def order(self, url: str, csr: bytes) -> tuple[messages.OrderResource, requests.Response]:
        """Fetch an order, and the answer it came in.

        Raises
        ------
        IssuanceError
            If it lies at another server than the directory names: nothing is sent there.
        """
        if urlsplit(url).netloc not in self._servers:
            raise IssuanceError(f"{url} is no order of this server: make a new plan", code="config")
        response = self._post_as_get(url)
        body = messages.Order.from_json(response.json())
        return messages.OrderResource(body=body, uri=url, csr_pem=csr, authorizations=[]), response

    @property
    def _servers(self) -> set[str]:
        """Hosts and ports of what the directory and the account name."""
        account = self.net.account
        named = [*self.directory.to_partial_json().values(), account.uri if account is not None else None]
        return {urlsplit(url).netloc for url in named if isinstance(url, str)}

    def authorization(self, url: str) -> tuple[messages.AuthorizationResource, requests.Response]:
        """Fetch an authorization, and the answer it came in."""
        response = self._post_as_get(url)
        return self._authzr_from_response(response, uri=url), response

    def chains(self, url: str) -> Iterator[bytes]:
        """Fetch an issued chain, PEM, leaf first; then its alternates, each when it is asked for."""
        response = self._post_as_get(url)
        yield bytes(response.content)
        for alternate in self._get_links(response, "alternate"):
            yield bytes(self._post_as_get(alternate).content)

    def change_key(self, new: JWK) -> None:
        """Give the account another key (RFC 8555, section 7.3.5); the client signs with it from then on."""
        url, account = self.directory["keyChange"], self.net.account
        assert account is not None  # noqa: S101 - it was found by who calls this
        change = {"account": account.uri, "oldKey": self.key.public_key().to_partial_json()}
        self._post(url, jws.JWS.sign(json.dumps(change).encode(), new, ES256, None, url))
        self.net.key = new

    def raise_failed(self, order: messages.OrderResource) -> None:
        """Say why an order failed: by the challenge that did, if one did.

        Raises
        ------
        IssuanceError
            Always.
        """
        for url in order.body.authorizations:
            raise_invalid(self.authorization(url)[0])
        if order.body.error is not None:
            raise order.body.error
        raise IssuanceError(f"order {order.uri} failed, and the server does not say why", code="invalid")


class Pauses:
    """Pauses that grow from 50 ms to 1 s, heed ``Retry-After``, and end."""

    def __init__(self, deadline_s: float) -> None:
        self._seconds = deadline_s
        self.restart()

    def restart(self) -> None:
        """Begin anew: what was done up to now was not the server's."""
        self._deadline = time.monotonic() + self._seconds
        self._next = _FIRST_PAUSE_S

    def wait(self, response: requests.Response) -> None:
        """Pause before the next look, for as long as the last answer asks at least.

        Raises
        ------
        IssuanceError
            If the deadline would pass.
        """
        pause = max(self._next, retry_after(response) or 0.0)
        if time.monotonic() + pause > self._deadline:
            raise IssuanceError(
                f"the order was not done within {self._seconds:g} s; try again", code="timeout"
            )
        time.sleep(pause)
        self._next = min(self._next * 1.5, _LONGEST_PAUSE_S)


def identifiers(csr: bytes) -> list[messages.Identifier]:
    """Give the names of a signing request (PEM), as orders do (RFC 8555, section 7.1.4; RFC 8738)."""
    found = x509.load_pem_x509_csr(csr).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [
        messages.Identifier(
            typ=messages.IDENTIFIER_IP if isinstance(name, x509.IPAddress) else messages.IDENTIFIER_FQDN,
            value=str(name.value),
        )
        for name in found
    ]


def connect(
    directory_url: str,
    key: JWK,
    ca_file: Path | None,
    alg: JWASignature = ES256,
    *,
    timeout_s: float = _NETWORK_S,
    patience_s: float = _PATIENCE_S,
) -> Client:
    """Speak to a server as the owner of a key. Several threads may do so with one client.

    Parameters
    ----------
    ca_file : path or None
        Trust roots for the server's own certificate; None means the system's.
    timeout_s, patience_s : float
        How long it may say nothing; how long a request is tried again.
    """
    net = Network(
        key=key,
        alg=alg,
        verify_ssl=True if ca_file is None else str(ca_file),  # type: ignore[arg-type] # requests takes both
        user_agent="certforecast",
        timeout=timeout_s,  # type: ignore[arg-type] # requests takes fractions
    )
    net.session = _Session()
    net.patience_s = patience_s
    net.session.mount("https://", HTTPAdapter(pool_maxsize=_CONNECTIONS))
    return Client(client.ClientV2.get_directory(directory_url, net), net)


def _problem(response: requests.Response) -> messages.Error | None:
    try:
        return cast("messages.Error", messages.Error.from_json(response.json()))
    except (ValueError, DeserializationError):
        return None
