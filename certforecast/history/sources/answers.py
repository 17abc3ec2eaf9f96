"""Whole JSON answers of services that, when busy, give something else."""

import json
import time
from typing import Any, Final

import requests

from certforecast.errors import SourceError
from certforecast.history.sources.http import Service

__all__ = ["json_answer"]

#: The largest answer that is read, in bytes.
LIMIT: Final = 128 << 20
#: The longest that one answer may take to arrive, in seconds.
PATIENCE_S: Final = 600.0

_CHUNK: Final = 1 << 16
_EXCERPT: Final = 200


def json_answer(
    service: Service, path: str, parameters: dict[str, Any], *, tries: int = 4, pause_s: float = 0.5
) -> Any:
    """Fetch a JSON document; ask again if the answer breaks off or is something else, such as a web page.

    :class:`~certforecast.history.sources.http.Service` has its own patience with services that say that
    they are busy; this is for those that do not say so.

    Parameters
    ----------
    service : Service
        Whom to ask.
    path : str
        Relative to the service's address.
    parameters : dict
        Of the query; a list repeats the parameter, None leaves it out.
    tries : int
        How often to ask.
    pause_s : float
        Seconds before the second try; they double with each.

    Raises
    ------
    SourceError
        If the service cannot be reached or refuses, no try brings JSON, or the answer is too large or slow.
    """
    problem = ""
    for attempt in range(tries):
        if attempt:
            time.sleep(pause_s * 2 ** (attempt - 1))
        body = b""
        try:
            body = _body(service, path, parameters)
            return json.loads(body)
        except SourceError:
            raise
        except requests.RequestException as error:
            problem = f"breaks off: {error}"
        except (ValueError, RecursionError):
            said = " ".join(body[:_EXCERPT].decode("utf-8", "replace").split())
            problem = f"is not JSON: {said!r}"
    raise SourceError(f"the answer of {service.url}{path} {problem}; it may be busy: try later")


def _body(service: Service, path: str, parameters: dict[str, Any]) -> bytes:
    body = bytearray()
    late = time.monotonic() + PATIENCE_S
    with service.send("GET", path, params=parameters, stream=True) as answer:
        for chunk in answer.iter_content(_CHUNK):
            body += chunk
            if len(body) > LIMIT:
                raise SourceError(f"{answer.url} answers with more than {LIMIT >> 20} MiB; ask for less")
            if time.monotonic() > late:
                raise SourceError(f"{answer.url} takes longer than {PATIENCE_S:.0f} s to answer; try later")
    return bytes(body)
