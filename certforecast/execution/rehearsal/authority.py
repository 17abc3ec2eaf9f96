"""An ACME server as rehearsals see it: what does not depend on a certificate's names is asked once a run."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Final, Generic, TypeVar

import requests

from certforecast.clock import Clock, as_utc
from certforecast.errors import CertForecastError, IssuanceError
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings

__all__ = ["Authority", "Directory"]

_PATIENCE_S: Final = 10.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Directory:
    """What a directory says (RFC 8555, section 7.1.1).

    Attributes
    ----------
    caa_identities : tuple of str
        How CAA records name the authority; empty if it does not say.
    wants_external_account : bool
        Whether an account is only made for a customer it knows already.
    profiles : tuple of str
        The profiles of certificates that it offers.
    terms : str or None
        Where its terms of service are.
    ahead : timedelta or None
        Our clock less its own; None if it gives no date.
    """

    caa_identities: tuple[str, ...]
    wants_external_account: bool
    profiles: tuple[str, ...]
    terms: str | None
    ahead: timedelta | None


class Authority:
    """One ACME server.

    Parameters
    ----------
    section : AcmeIssuerSettings
        Its section of the settings.
    clock : callable
        Gives the present.
    """

    def __init__(self, section: AcmeIssuerSettings, clock: Clock) -> None:
        self.section = section
        self._clock = clock
        self._directory = _Once(self._ask_directory)
        self._account = _Once(self._ask_account)

    def directory(self) -> Directory:
        """Give what its directory says.

        Raises
        ------
        IssuanceError
            If it cannot be reached, or gives no directory.
        """
        return self._directory()

    def account(self) -> str | None:
        """Give the address of our account there; None if the first order is yet to make it.

        Raises
        ------
        IssuanceError
            If the key cannot be read, or the server knows or wants no such account.
        """
        return self._account()

    def _ask_directory(self) -> Directory:
        url, trust = self.section.directory_url, self.section.ca_file
        where = f"ACME server {url}"
        before = self._clock()
        try:
            answer = requests.get(url, timeout=_PATIENCE_S, verify=True if trust is None else str(trust))
            answer.raise_for_status()
        except requests.RequestException as error:
            raise IssuanceError(f"{where} cannot be reached: {error}", code="unreachable") from error
        after = self._clock()
        try:
            told = answer.json().get("meta") or {}
            identities = tuple(str(name).lower() for name in told.get("caaIdentities") or ())
            wants = bool(told.get("externalAccountRequired"))
            profiles = tuple(sorted(map(str, told.get("profiles") or ())))
            terms = told.get("termsOfService")
        except (ValueError, AttributeError, TypeError) as error:
            raise IssuanceError(f"{where} gives no directory: check directory_url", code="config") from error
        date = _date(answer.headers.get("Date"))
        ahead = None if date is None else before + (after - before) / 2 - date
        return Directory(identities, wants, profiles, None if terms is None else str(terms), ahead)

    def _ask_account(self) -> str | None:
        from certforecast.execution.issuers.acme.issuer import AcmeIssuer

        return AcmeIssuer(self.section).find_account()


def _date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        # It has whole seconds (RFC 9110, section 5.6.7): half of one is the least error.
        return as_utc(parsedate_to_datetime(text)) + timedelta(seconds=0.5)
    except ValueError:
        return None


class _Once(Generic[T]):
    """Asks once and remembers the answer, be it an error: many rehearsals ask at the same time."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._lock = Lock()
        self._answer: Future[T] | None = None

    def __call__(self) -> T:
        with self._lock:
            if self._answer is None:
                answer: Future[T] = Future()
                try:
                    answer.set_result(self._ask())
                except CertForecastError as error:
                    answer.set_exception(error)
                self._answer = answer
        return self._answer.result()
