"""Asking a server when a certificate should be renewed (ACME Renewal Information, RFC 9773)."""

import threading
from datetime import datetime
from typing import Any, Final

import requests
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from certforecast.execution.issuers.acme.persisting import retry_after
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.issuers.suggestions import Suggestion

__all__ = ["RenewalInfo", "clamped"]

#: RFC 9773, section 4.3.2: shorter and longer values are taken for these.
_SHORTEST_S: Final = 60.0
_LONGEST_S: Final = 86_400.0
#: Section 4.3.3: where the server says nothing, or something went wrong.
_DEFAULT_S: Final = 6 * 3_600.0
#: Temporary errors are tried again a few times, after pauses that grow.
_TRIES: Final = Retry(
    total=3,
    backoff_factor=0.3,
    backoff_jitter=0.2,
    backoff_max=5.0,
    status_forcelist=(500, 502, 503, 504),
    allowed_methods=("GET",),
    raise_on_status=False,
    respect_retry_after_header=False,
)


class _Window(BaseModel):
    model_config = ConfigDict(extra="ignore")

    start: AwareDatetime
    end: AwareDatetime


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")

    window: _Window = Field(alias="suggestedWindow")
    url: str | None = Field(None, alias="explanationURL")


class RenewalInfo:
    """What a server says about when to renew; it takes no account. Several threads may ask at once.

    Parameters
    ----------
    settings : AcmeIssuerSettings
    """

    def __init__(self, settings: AcmeIssuerSettings) -> None:
        self._settings = settings
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "certforecast"
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=_TRIES, pool_maxsize=16))
        self._lock = threading.Lock()
        self._base: str | None = None

    def ask(self, certid: str) -> Suggestion:
        """Ask for the window of a certificate.

        Returns
        -------
        Suggestion
            Without a window where the server offers none, none that is valid, or could not be asked; then it
            is asked again when the next question would come anyway (RFC 9773, section 4.3.3).
        """
        try:
            base = self._address()
            if base is None:
                return _none("its directory has no renewalInfo")
            answer = self._get(f"{base.rstrip('/')}/{certid}")
            if not answer.ok:
                return _none(f"it answered {answer.status_code}", retry_after(answer))
            told = _Answer.model_validate(answer.json())
        except requests.JSONDecodeError:
            return _none("its answer is no JSON")
        except requests.RequestException as error:
            return _none(f"it cannot be reached: {error}")
        except ValidationError as error:
            return _none(f"its answer is none that RFC 9773 knows: {error.errors()[0]['msg']}")
        start, end = told.window.start, told.window.end
        if end <= start:  # section 4.2: as if there were none
            return _none(
                f"its window ends before it begins ({_iso(start)} to {_iso(end)})", retry_after(answer)
            )
        return Suggestion(start, end, _shown(told.url), clamped(retry_after(answer)))

    def _address(self) -> str | None:
        with self._lock:
            if self._base is None:
                answer = self._get(self._settings.directory_url)
                answer.raise_for_status()
                directory: Any = answer.json()
                found = directory.get("renewalInfo") if isinstance(directory, dict) else None
                self._base = found if isinstance(found, str) else None
            return self._base

    def _get(self, url: str) -> requests.Response:
        # Not as the session's default: the environment (REQUESTS_CA_BUNDLE) would win over that.
        trust = True if self._settings.ca_file is None else str(self._settings.ca_file)
        return self._session.get(url, timeout=self._settings.timeout_s, verify=trust)


def clamped(seconds: float | None) -> float:
    """Give after how many seconds to ask again: from a minute to a day, six hours where nothing is said."""
    return _DEFAULT_S if seconds is None else min(max(seconds, _SHORTEST_S), _LONGEST_S)


def _none(problem: str, seconds: float | None = None) -> Suggestion:
    return Suggestion(None, None, None, clamped(seconds), problem)


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _shown(url: str | None) -> str | None:
    """Give an address that people will be shown: of the web, on one line and of a bearable length."""
    if url is None or not url.startswith(("https://", "http://")) or len(url) > 500 or not url.isprintable():
        return None
    return url
