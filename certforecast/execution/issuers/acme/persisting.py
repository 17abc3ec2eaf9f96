"""Asking again: what passes by itself is waited for, within our patience."""

import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final, TypeVar

import requests
from acme import errors, messages  # noqa: TID253
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, stop_before_delay
from urllib3.exceptions import InvalidHeader, ReadTimeoutError
from urllib3.util import Retry

from certforecast.clock import system_clock
from certforecast.errors import IssuanceError
from certforecast.execution.issuers.acme.kinds import kind_of

__all__ = ["BusyError", "persist", "retry_after"]

T = TypeVar("T")

_TRIES: Final = 5
_FIRST_S: Final = 0.5
_LONGEST_S: Final = 15.0
#: urllib3 cuts off what is longer than six hours, unless told otherwise.
_READS: Final = Retry(retry_after_max=10**12)


class BusyError(IssuanceError):
    """The server sends us away for some time.

    Attributes
    ----------
    seconds : float
        For how long.
    """

    def __init__(self, message: str, *, code: str, seconds: float) -> None:
        self.seconds = seconds
        # A date that is far off stands for never, and must be one that can be written.
        until = system_clock() + timedelta(seconds=min(seconds, 3_650 * 86_400))
        super().__init__(
            f"{message}; it asks to try again after {seconds:.0f} s, at {until:%Y-%m-%d %H:%M} UTC", code=code
        )


def persist(
    call: Callable[[], T], *, url: str, patience_s: float, sleep: Callable[[float], None] = time.sleep
) -> T:
    """Make a request again while its problem may pass, as :mod:`.kinds` says.

    Parameters
    ----------
    call : callable
        Makes the request.
    url : str
        Where to, for messages.
    patience_s : float
        No try begins later than so long after the first.
    sleep : callable
        Waits.

    Raises
    ------
    IssuanceError
        If the server said nothing, however often it was asked (``unreachable``). Whatever else the last try
        raised is raised as it is.
    """
    retrying = Retrying(
        retry=retry_if_exception(_passes),
        wait=_pause,
        stop=stop_after_attempt(_TRIES) | stop_before_delay(patience_s),
        sleep=sleep,
        retry_error_callback=partial(_give_up, url),
    )
    return retrying(call)


def _give_up(url: str, state: RetryCallState) -> Any:
    """Raise the last problem; of silence say where it was, and for how long."""
    error = state.outcome.exception() if state.outcome is not None else None
    if (what := _silence(error)) is not None:
        asked = getattr(getattr(error, "request", None), "url", None) or url  # a nonce may be fetched before
        tries = f"{state.attempt_number} {'try' if state.attempt_number == 1 else 'tries'}"
        raise IssuanceError(
            f"{asked}: {what} in {tries} and {state.seconds_since_start or 0.0:.1f} s: is it up, and does a "
            "firewall let us through?",
            code="unreachable",
        ) from error
    assert error is not None  # noqa: S101 - only what failed is given up
    raise error


def _silence(error: BaseException | None) -> str | None:
    """Say what nothing came back to; None if something did."""
    if isinstance(error, requests.ConnectTimeout):
        return "nothing answered a connection"
    cut_off = isinstance(error, requests.ConnectionError) and isinstance(
        next(iter(error.args), None), ReadTimeoutError
    )
    return "no answer, or no end of it," if cut_off or isinstance(error, requests.Timeout) else None


def _passes(error: BaseException) -> bool:
    match error:
        case BusyError():
            return True
        case messages.Error():
            return kind_of(str(error.code)).again == "soon"
        case errors.ClientError():  # an answer without ACME's words
            answer = next((part for part in error.args if isinstance(part, requests.Response)), None)
            return answer is not None and answer.status_code >= requests.codes.server_error
        case requests.exceptions.SSLError():
            return False  # its certificate is not trusted: it will not be in a second
        case requests.ConnectionError() | requests.Timeout() | requests.exceptions.ChunkedEncodingError():
            return True
    return False


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, BusyError):
        return error.seconds
    longest = min(_FIRST_S * 2 ** (state.attempt_number - 1), _LONGEST_S)
    return random.uniform(longest / 2, longest)  # noqa: S311 - so that many clients do not come at once


def retry_after(response: requests.Response) -> float | None:
    """Give the seconds a server asks us to wait (RFC 9110, section 10.2.3), if it does so legibly.

    A date is compared with the server's own clock, which may be another than ours.
    """
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    told, now = _date(value), _date(response.headers.get("Date"))
    if told is not None and now is not None:
        return max((told - now).total_seconds(), 0.0)
    try:
        return _READS.parse_retry_after(value)
    except (InvalidHeader, ValueError, OverflowError):
        return None


def _date(value: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(value) if value is not None and not value.strip().isdigit() else None
    except (ValueError, OverflowError):
        return None
