"""The account with an ACME server: its key, finding it, making it, changing its key, giving it up."""

import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from acme import messages  # noqa: TID253
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from josepy.errors import DeserializationError
from josepy.jwk import JWK, JWKEC

from certforecast.atomic import create_file
from certforecast.errors import IssuanceError
from certforecast.execution.issuers.acme.client import Client, connect
from certforecast.execution.issuers.acme.problems import explained
from certforecast.execution.issuers.acme.secrets import read_secret
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.staging import new_key

__all__ = ["Account", "AccountState"]


@dataclass(frozen=True, slots=True)
class AccountState:
    """What a server says of an account.

    Attributes
    ----------
    address : str
        By which the server knows it.
    status : str
        ``valid``, ``deactivated`` or ``revoked``.
    contact : tuple of str
        Whom the server writes to.
    key_file : path
        Where its key is.
    """

    address: str
    status: str
    contact: tuple[str, ...]
    key_file: Path


class Account:
    """An account, which several threads may use at once.

    A change of its key is begun by writing the new one beside the old one, as ``NAME.next``. Whoever finds it
    there asks the server which of the two it knows, so a change that was killed is lost at no moment. A new
    key that the server does not know yet is never deleted: another process may be about to tell it.

    Parameters
    ----------
    settings : AcmeIssuerSettings
        The key is made on first use, for its owner alone; its account is found again afterwards.
    """

    def __init__(self, settings: AcmeIssuerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._client: Client | None = None

    def client(self) -> Client:
        """Speak as the account, which is made if there is none.

        Raises
        ------
        IssuanceError
            If the key or a secret cannot be read, or the server gives no account.
        """
        with self._lock:
            if self._client is None:
                client = self._settled()
                self._sign_in(client)
                self._client = client
            return self._client

    def state(self) -> AccountState | None:
        """Find the account, and make none (RFC 8555, section 7.3.1).

        Returns
        -------
        AccountState or None
            None if there is no key yet: the first order makes one.

        Raises
        ------
        IssuanceError
            If the server knows no such account (``accountDoesNotExist``), or refuses it.
        """
        if not self._settings.account_key.exists():
            return None
        with explained(self._settings.directory_url):
            found = self._settled().find_account()
        return AccountState(
            address=str(found.uri),
            status=str(found.body.status or "valid"),
            contact=tuple(found.body.contact),
            key_file=self._settings.account_key,
        )

    def roll_over(self) -> None:
        """Give the account a new key; a change that was begun before is ended.

        Raises
        ------
        IssuanceError
            If there is no account, or the server refuses.
        """
        current = self._settings.account_key
        if not current.exists():
            raise IssuanceError(
                f"there is no account key {current} to change: the first order makes one", code="config"
            )
        with explained(self._settings.directory_url), self._lock:
            self._client = None
            begun = self._next.exists()
            client = self._settled()
            if begun and not self._next.exists():
                return  # the server had the new key already
            client.find_account()
            create_file(self._next, new_key(), mode=0o600)
            client.change_key(_read(self._next))
            self._take_next()

    def deactivate(self) -> None:
        """Give the account up for good (RFC 8555, section 7.3.6); its key stays where it is.

        Raises
        ------
        IssuanceError
            If there is no account, or the server refuses.
        """
        with explained(self._settings.directory_url), self._lock:
            client = self._settled()
            client.deactivate_registration(client.find_account())
            self._client = None

    @property
    def _next(self) -> Path:
        key = self._settings.account_key
        return key.with_name(f"{key.name}.next")

    def _settled(self) -> Client:
        """Speak with the key that the server knows, and put it where it belongs."""
        if self._next.exists():
            client = self._connected(self._next)
            try:
                client.find_account()
            except messages.Error as error:
                if error.code != "accountDoesNotExist":
                    raise
            else:
                self._take_next()
                return client
        path = self._settings.account_key
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            create_file(path, new_key(), mode=0o600)
        return self._connected(path)

    def _take_next(self) -> None:
        with suppress(FileNotFoundError):  # another process was faster
            self._next.replace(self._settings.account_key)

    def _connected(self, key: Path) -> Client:
        settings = self._settings
        return connect(
            settings.directory_url,
            _read(key),
            settings.ca_file,
            timeout_s=settings.timeout_s,
            patience_s=settings.patience_s,
        )

    def forget(self) -> None:
        """Sign in anew before the next request, as when the server has lost the account."""
        with self._lock:
            self._client = None

    def _sign_in(self, client: Client) -> None:
        if client.net.account is not None:  # found when the key was
            return
        binding = None
        if self._settings.eab is not None:
            try:  # these credentials are often good for once, or for days, and only new accounts need them
                client.find_account()
            except messages.Error as error:
                if error.code != "accountDoesNotExist":
                    raise
                binding = self._binding(client)
            else:
                return
        client.make_account(
            messages.NewRegistration.from_data(
                contact=tuple(self._settings.contact),
                terms_of_service_agreed=True,
                external_account_binding=binding,
            )
        )

    def _binding(self, client: Client) -> dict[str, object]:
        settings = self._settings.eab
        assert settings is not None  # noqa: S101 - the caller has looked
        secret = read_secret(settings.hmac_file, settings.hmac_env, "MAC key of the external account")
        try:
            return messages.ExternalAccountBinding.from_data(
                client.key.public_key(), settings.kid, secret, client.directory
            )
        except (ValueError, TypeError, DeserializationError):
            raise IssuanceError(
                f"the MAC key of the external account {settings.kid} is not base64url: put it there just as "
                "the CA gave it",
                code="config",
            ) from None


def _read(path: Path) -> JWK:
    try:
        return JWKEC(key=load_pem_private_key(path.read_bytes(), None))
    except (ValueError, TypeError, OSError) as error:
        raise IssuanceError(
            f"account key {path} cannot be read as a PEM elliptic-curve key: restore it, or delete it to "
            "have a new account made",
            code="config",
        ) from error
