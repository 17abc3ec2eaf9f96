"""Asking a web service for history: patient, bounded, and clear about what went wrong."""

from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from certforecast.errors import SourceError
from certforecast.version import __version__

__all__ = ["Service"]

#: Busy or broken for the moment: worth another try.
_TRANSIENT: Final = (429, 500, 502, 503, 504)
#: Seconds that a service may ask to wait before the next try.
_PATIENCE_S: Final = 120
#: What of an answer is repeated in an error.
_EXCERPT: Final = 200


class Service:
    """A web service under one address.

    Parameters
    ----------
    url : str
        Its address; paths are relative to it.
    token : str, optional
        Sent as a bearer token.
    headers : dict of str, optional
        Sent with every request.
    timeout_s : float
        Seconds to connect, and seconds of silence while an answer is read.
    tries : int
        How often a request is sent when the service is busy, broken or out of reach. The waits between
        double from half a second, with jitter; ``Retry-After`` (RFC 9110, section 10.2.3) is obeyed.
    ca_file : path, optional
        PEM certificates of the authorities to trust instead of the system's.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = 30.0,
        tries: int = 5,
        ca_file: Path | str | None = None,
    ) -> None:
        self.url = url if url.endswith("/") else f"{url}/"
        self.timeout_s = timeout_s
        self.session = requests.Session()
        self.session.headers["User-Agent"] = f"certforecast/{__version__}"
        self.session.headers.update(headers or {})
        if token is not None:
            self.session.headers["Authorization"] = f"Bearer {token}"
        if ca_file is not None:
            self.session.verify = str(ca_file)
        retry = Retry(
            total=tries - 1,
            backoff_factor=0.5,
            backoff_jitter=0.5,
            retry_after_max=_PATIENCE_S,
            status_forcelist=_TRANSIENT,
            allowed_methods=None,
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=16))

    def get(self, path: str = "", **parameters: Any) -> requests.Response:
        """Fetch a path with query parameters; those that are None are left out.

        Raises
        ------
        SourceError
            If the service cannot be reached, or answers with anything but success.
        """
        return self.send("GET", path, params=parameters)

    def send(self, method: str, path: str = "", **options: Any) -> requests.Response:
        """Send any request, with the options of :meth:`requests.Session.request`.

        Raises
        ------
        SourceError
            As :meth:`get` does.
        """
        url = urljoin(self.url, path)
        try:
            answer = self.session.request(method, url, timeout=self.timeout_s, **options)
        except requests.RequestException as error:
            raise SourceError(f"{url} cannot be reached: {error}; check the address, or try later") from error
        if answer.ok:
            return answer
        said = " ".join(answer.text[:_EXCERPT].split())
        advice = {
            401: "; check the token",
            403: "; check what the token may read",
            404: "; check the address",
            429: "; it asks for fewer requests: try later",
        }.get(answer.status_code, "; try later" if answer.status_code in _TRANSIENT else "")
        raise SourceError(f"{url} answered {answer.status_code} {answer.reason}: {said}{advice}")

    def json(self, path: str = "", **parameters: Any) -> Any:
        """Fetch a JSON document.

        Raises
        ------
        SourceError
            As :meth:`get` does, and if the answer is not JSON.
        """
        answer = self.get(path, **parameters)
        try:
            return answer.json()
        except (ValueError, RecursionError) as error:
            said = " ".join(answer.text[:_EXCERPT].split())
            raise SourceError(f"{answer.url} answered with something that is not JSON: {said}") from error
